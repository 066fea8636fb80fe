"""Muster's own resources, wired: pages of lists, pauses of experts, runs of profiling, what was answered."""

import time
from collections.abc import Callable, Collection, Set

from orchestrator.domain.experts import Pool
from orchestrator.ports.jobs import DeviceReader, WorkReader
from orchestrator.ports.memory import MemoryReader
from orchestrator.ports.pages import PageReader
from orchestrator.services.conditions import EngineWatch
from orchestrator.services.engines import EngineBoard
from orchestrator.services.experts import Experts
from orchestrator.services.pauses import PauseDesk, PauseWatch
from orchestrator.services.profile_runs import ProfileDesk
from orchestrator.services.profiling import Profiling
from orchestrator.store import Database, SqlMemory, SqlPages, SqlPauseStore, SqlProfileRuns
from skills.profiler import check_profile
from workers.leases.owners import loop_of


class OwnResources:
    """Resources of Muster that no other API has.

    Attributes:
        pages: of lists. pauses: of experts; `paused` says to those who route and serve who is paused.
        memory: questions that were answered.
    """

    def __init__(self, database: Database, *, pool: Callable[[], Pool]) -> None:
        self._database = database
        self._pool = pool
        store = SqlPauseStore(database)
        self.memory: MemoryReader = SqlMemory(database)
        self.pages: PageReader = SqlPages(database)
        self.pauses = PauseDesk(store, pool=pool)
        self.paused = PauseWatch(store, pool=pool, clock=time.monotonic)

    def conditions(self, work: WorkReader, engine_ids: Set[str]) -> EngineWatch:
        """Engines of the pool at the moment, and who is paused, for those who route."""
        return EngineWatch(
            work,
            engine_ids=engine_ids,
            loop_of=loop_of,
            clock=time.monotonic,
            paused=self.paused.experts,
        )

    def board(self, devices: DeviceReader, engine_ids: Collection[str]) -> EngineBoard:
        """Engines of the pool at the moment, for people."""
        return EngineBoard(devices, engine_ids=engine_ids, loop_of=loop_of, paused=self.paused.engines)

    def profiles(self, profiling: Profiling, experts: Experts) -> ProfileDesk:
        """Profiling over REST."""
        return ProfileDesk(
            SqlProfileRuns(self._database),
            profiling=profiling,
            experts=experts,
            check=lambda questions, scoring: check_profile(self._pool(), questions, scoring),
            now_s=time.time,
            clock=time.monotonic,
        )
