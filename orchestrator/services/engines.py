"""Engines of a pool as their devices report them: for people, and for who routes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.devices import LIVE_S, DeviceReport
from orchestrator.domain.engines import EngineState, engine_states
from orchestrator.errors import ExpertUnavailableError
from orchestrator.ports.jobs import DeviceReader


class EngineBoard:
    """Reads the states of engines from the books.

    Args:
        engine_ids: those of the pool, which may change.
        loop_of: a report's owner -> the loop that it belongs to.
        paused: engines all of whose experts are paused, and for how many seconds.
    """

    def __init__(
        self,
        devices: DeviceReader,
        *,
        engine_ids: Collection[str],
        loop_of: Callable[[str], str],
        paused: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._paused = paused
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

    def kept_away(self, *, among: Collection[str]) -> list[EngineState]:
        """Engines among these that cool down, are down or paused; with none, all that are paused: it may be
        that nobody can be recruited."""
        paused = {e: for_s for e, for_s in self._paused().items() if not among or e in among}
        unwell = [state for state in self.unwell(among=among) if state.engine_id not in paused]
        return [*unwell, *(_as_paused(engine_id, for_s) for engine_id, for_s in sorted(paused.items()))]

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


def _as_paused(engine_id: str, for_s: float) -> EngineState:
    return EngineState(
        engine_id=engine_id,
        state="down",
        code=ExpertUnavailableError.code,
        why="its experts are paused",
        heal="Resume one of them.",
        since_s=for_s,
    )


class Look(NamedTuple):
    """One look at the books: engines that cool down or are down, and processes that run with another
    configuration, each once."""

    unwell: tuple[EngineState, ...] = ()
    strangers: tuple[DeviceReport, ...] = ()
