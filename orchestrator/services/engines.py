"""Engines of a pool as their devices report them: for people, and for who routes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.devices import LIVE_S, DeviceReport
from orchestrator.domain.engines import EngineState, engine_states
from orchestrator.ports.jobs import DeviceReader


class EngineBoard:
    """Reads the states of engines from the books.

    Args:
        engine_ids: those of the pool, which may change.
        loop_of: a report's owner -> the loop that it belongs to.
    """

    def __init__(
        self, devices: DeviceReader, *, engine_ids: Collection[str], loop_of: Callable[[str], str]
    ) -> None:
        self._devices = devices
        self._engine_ids = engine_ids
        self.loop_of = loop_of

    def states(self, *, among: Iterable[str] | None = None) -> Mapping[str, EngineState]:
        """States by engine id: of the pool's, or of these.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        engine_ids = self._engine_ids if among is None else among
        return self._states(engine_ids, self._devices.devices(LIVE_S))

    def devices(self) -> list[DeviceReport]:
        """Devices that were heard of lately, and what each of their places holds.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        return self._devices.devices(LIVE_S)

    def unwell(self, *, among: Iterable[str] | None = None) -> list[EngineState]:
        """Engines that cool down or are down."""
        return [state for state in self.states(among=among).values() if not state.is_well]

    def look(self, config_hash: str) -> "Look":
        """Engines of the pool that are not well, and who runs with another configuration than this one.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        devices = self._devices.devices(LIVE_S)
        states = self._states(self._engine_ids, devices)
        strangers: dict[str, DeviceReport] = {}
        for report in devices:
            if report.config_hash not in (None, "", config_hash):
                strangers.setdefault(self.loop_of(report.owner), report)
        return Look(
            tuple(state for state in states.values() if not state.is_well),
            tuple(strangers[loop] for loop in sorted(strangers)),
        )

    def _states(
        self, engine_ids: Iterable[str], devices: Sequence[DeviceReport]
    ) -> Mapping[str, EngineState]:
        faults = self._devices.faults(LIVE_S)
        return engine_states(engine_ids, devices=devices, faults=faults, loop_of=self.loop_of)


class Look(NamedTuple):
    """One look at the books: engines that cool down or are down, and processes that run with another
    configuration, each once."""

    unwell: tuple[EngineState, ...] = ()
    strangers: tuple[DeviceReport, ...] = ()
