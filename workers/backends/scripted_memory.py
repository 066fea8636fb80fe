"""Memory that a scripted engine says it takes, and its sleep."""

import time
from collections.abc import Callable

from pydantic import Field

from orchestrator.errors import BackendError, EngineCrashedError
from orchestrator.ports.engines import EngineMemory
from workers.backends.options import Options


class ScriptedMemory(Options):
    """`options.memory` of a scripted engine.

    Args:
        gib: what it takes of its device; None = it does not say.
        grown_gib: what it takes once it has worked, where that is more.
        sleep_levels: levels at which it can sleep.
        sleep_s, wake_s: how long falling asleep and waking take.
        asleep_gib: what it keeps of its device asleep.
        fail_sleep, fail_wake: it does not, with this reason; `crash_asleep`: it dies in its sleep.
    """

    gib: float | None = Field(default=None, ge=0)
    grown_gib: float = Field(default=0.0, ge=0)
    sleep_levels: tuple[int, ...] = ()
    sleep_s: float = Field(default=0.0, ge=0)
    wake_s: float = Field(default=0.0, ge=0)
    asleep_gib: float = Field(default=0.0, ge=0)
    fail_sleep: str | None = None
    fail_wake: str | None = None
    crash_asleep: bool = False


class Bed:
    """Sleep of one scripted engine.

    Attributes:
        is_asleep: it takes no requests then.
    """

    def __init__(
        self, engine_id: str, memory: ScriptedMemory, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._engine_id = engine_id
        self._memory = memory
        self._sleep = sleep
        self.is_asleep = False

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels at which it can sleep; () = none."""
        return self._memory.sleep_levels

    def weigh(self, *, has_worked: bool) -> EngineMemory | None:
        """Memory as scripted; None = the script says none. Args: has_worked: it may have grown since its
        load."""
        gib = self._memory.gib
        if gib is None:
            return None
        peak_gib = max(gib, self._memory.grown_gib) if has_worked else gib
        return EngineMemory(self._memory.asleep_gib if self.is_asleep else peak_gib, peak_gib)

    def lie_down(self, level: int, *, n_running: int) -> None:
        """Fall asleep, in the script's time.

        Raises:
            BackendError: requests run, a level that it does not offer, or `fail_sleep`.
        """
        if level not in self._memory.sleep_levels:
            raise BackendError(f"engine '{self._engine_id}': no sleep of level {level}.", param="level")
        if n_running:
            raise BackendError(f"{n_running} requests are running.", remedy="Let them end first.")
        self._sleep(self._memory.sleep_s)
        if self._memory.fail_sleep is not None:
            raise BackendError(f"engine '{self._engine_id}': {self._memory.fail_sleep}.")
        self.is_asleep = True

    def get_up(self) -> None:
        """Wake, in the script's time; nothing happens where it is awake.

        Raises:
            BackendError: `fail_wake`.
            EngineCrashedError: `crash_asleep`.
        """
        if not self.is_asleep:
            return
        self._sleep(self._memory.wake_s)
        if self._memory.crash_asleep:
            raise EngineCrashedError(f"engine '{self._engine_id}' died in its sleep, as its script asks.")
        if self._memory.fail_wake is not None:
            raise BackendError(f"engine '{self._engine_id}': {self._memory.fail_wake}.")
        self.is_asleep = False
