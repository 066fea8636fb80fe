"""Engines of a pool as their devices report them: for people, and for who routes."""

from collections.abc import Callable, Iterable, Mapping

from orchestrator.domain.devices import LIVE_S, DeviceReport
from orchestrator.domain.engines import EngineState, engine_states
from orchestrator.ports.jobs import DeviceReader


class EngineBoard:
    """Reads the states of engines from the books.

    Args:
        engine_ids: those of the pool.
        loop_of: a report's owner -> the loop that it belongs to.
    """

    def __init__(
        self, devices: DeviceReader, *, engine_ids: Iterable[str], loop_of: Callable[[str], str]
    ) -> None:
        self._devices = devices
        self._engine_ids = tuple(engine_ids)
        self._loop_of = loop_of

    def states(self, *, among: Iterable[str] | None = None) -> Mapping[str, EngineState]:
        """States by engine id: of the pool's, or of these.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        return engine_states(
            self._engine_ids if among is None else among,
            devices=self._devices.devices(LIVE_S),
            faults=self._devices.faults(LIVE_S),
            loop_of=self._loop_of,
        )

    def unwell(self, *, among: Iterable[str] | None = None) -> list[EngineState]:
        """Engines that cool down or are down."""
        return [state for state in self.states(among=among).values() if not state.is_well]

    def strangers(self, config_hash: str) -> list[DeviceReport]:
        """Live processes that run with another configuration than this one; each once."""
        found: dict[str, DeviceReport] = {}
        for report in self._devices.devices(LIVE_S):
            if report.config_hash not in (None, "", config_hash):
                found.setdefault(self._loop_of(report.owner), report)
        return [found[loop] for loop in sorted(found)]
