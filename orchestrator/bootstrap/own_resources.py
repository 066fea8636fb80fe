"""Muster's own resources, wired: pages of lists, pauses of experts, runs of profiling."""

import time
from collections.abc import Callable

from orchestrator.domain.experts import Pool
from orchestrator.ports.pages import PageReader
from orchestrator.services.experts import Experts
from orchestrator.services.pauses import PauseDesk, PauseWatch
from orchestrator.services.profile_runs import ProfileDesk
from orchestrator.services.profiling import Profiling
from orchestrator.store import Database, SqlPages, SqlPauseStore, SqlProfileRuns
from skills.profiler import check_labelled


class OwnResources:
    """Resources of Muster that no other API has.

    Attributes:
        pages: of lists. pauses: of experts; `paused` says to those who route and serve who is paused.
    """

    def __init__(self, database: Database, *, pool: Callable[[], Pool]) -> None:
        self._database = database
        store = SqlPauseStore(database)
        self.pages: PageReader = SqlPages(database)
        self.pauses = PauseDesk(store, pool=pool)
        self.paused = PauseWatch(store, pool=pool, clock=time.monotonic)

    def profiles(self, profiling: Profiling, experts: Experts) -> ProfileDesk:
        """Profiling over REST."""
        return ProfileDesk(
            SqlProfileRuns(self._database),
            profiling=profiling,
            experts=experts,
            check=check_labelled,
            now_s=time.time,
            clock=time.monotonic,
        )
