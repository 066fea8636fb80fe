"""Engines that cannot be served now, and why."""

from collections import Counter
from typing import NamedTuple

from orchestrator.errors import EngineCrashedError
from orchestrator.ports.clock import Clock
from workers.device.pace import Pace


class Fault(NamedTuple):
    """Reason not to load an engine before `until`.

    `is_final`: its waiting work fails with this; otherwise another device may still serve it.
    """

    until: float
    code: str
    error: str
    is_final: bool


class Faults:
    """Failed loads and repeated crashes, by engine; each keeps its engine away for a while."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self._clock = clock
        self._pace = pace
        self._found: dict[str, Fault] = {}
        self._n_crashes: Counter[str] = Counter()

    def of(self, engine_id: str) -> Fault | None:
        fault = self._found.get(engine_id)
        return fault if fault is not None and fault.until > self._clock() else None

    def load_failed(self, engine_id: str, error: Exception, *, is_alone: bool) -> None:
        """Failures to load: another device may succeed; unless this device is alone, it fails for good
        at the second try only."""
        again = engine_id in self._found
        text = str(error) or type(error).__name__
        self._set(engine_id, "engine_load_failed", text, is_final=is_alone or again)

    def crashed(self, engine_id: str, error: EngineCrashedError) -> None:
        self._n_crashes[engine_id] += 1
        n = self._n_crashes[engine_id]
        if n >= self._pace.max_crashes:
            self._set(engine_id, error.code, f"{error} It crashed {n} times in a row.", is_final=True)

    def worked(self, engine_id: str) -> None:
        """It generated something: crashes before that do not count as in a row."""
        self._n_crashes.pop(engine_id, None)
        self._found.pop(engine_id, None)

    def _set(self, engine_id: str, code: str, error: str, *, is_final: bool) -> None:
        until = self._clock() + self._pace.cool_down_s
        self._found[engine_id] = Fault(until, code, error, is_final)
        self._n_crashes.pop(engine_id, None)
