"""The fleet, wired: what this process tells of itself, and what it knows of the others."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from orchestrator.domain.experts import Pool
from orchestrator.domain.fleet import EngineHere, ProcessReport, ProcessRole, Withheld, process_of
from orchestrator.ports.jobs import DeviceReader
from orchestrator.runtime.live import Live
from orchestrator.runtime.versions import versions_here
from orchestrator.services.fleet import FleetDesk
from orchestrator.services.fleet_reports import FleetReports
from orchestrator.settings.schema import Settings
from orchestrator.store import Database, SqlFleetStore
from orchestrator.store.migrations import HEAD
from workers.backends.vllm.backend import ENVIRONMENT, PYTHON_VARIABLE
from workers.leases.owners import loop_of, new_owner, this_machine


class Fleet:
    """This process among those of its stack.

    Args:
        pool: the live one.

    Attributes:
        desk: looks at all of them.
    """

    def __init__(
        self,
        database: Database,
        devices: DeviceReader,
        *,
        settings: Settings,
        pool: Pool,
    ) -> None:
        self.store = SqlFleetStore(database)
        self._settings = settings
        self._pool = pool
        self._reports: FleetReports | None = None
        engines = Live(lambda: pool.engines)
        self.desk = FleetDesk(self.store, devices, engine_ids=engines.keys(), loop_of=loop_of)

    def withheld(self) -> Mapping[str, Withheld]:
        """Engines of the pool that this process does not serve, and why."""
        return {}

    def join(self, role: ProcessRole, *, config_hash: str, device: str | None = None) -> None:
        """Tell the others from now on that this process lives; idempotent.

        Args:
            device: that it owns; where one process does all, its own.
        """
        if not self._settings.is_stack:
            device = self._settings.muster.device
        if self._reports is None:
            blank = ProcessReport(
                process=process_of(new_owner()),
                role=role,
                host=socket.gethostname(),
                machine=str(this_machine()),
                device=device,
                versions=versions_here(_vllm_python()),
                config_hash=config_hash,
                revision=HEAD,
                source="file",
            )
            self._reports = FleetReports(self.store, lambda: blank.replaced(engines=self._engines()))
            self._reports.start()

    def leave(self) -> None:
        """Say good-bye; idempotent."""
        if self._reports is not None:
            self._reports.stop()

    def _engines(self) -> tuple[EngineHere, ...]:
        withheld = self.withheld()
        return tuple(
            _engine_here(engine_id, spec.definition, withheld.get(engine_id))
            for engine_id, spec in self._pool.engines.items()
        )


def _engine_here(engine_id: str, definition: str, withheld: Withheld | None) -> EngineHere:
    why, heal = (None, None) if withheld is None else (withheld.why, withheld.heal)
    return EngineHere(engine_id=engine_id, definition=definition, why=why, heal=heal)


def _vllm_python() -> Path | None:
    """Interpreter that vLLM has for itself, where there is one."""
    named = os.environ.get(PYTHON_VARIABLE)
    path = Path(named) if named else ENVIRONMENT
    return path.absolute() if path.exists() else None
