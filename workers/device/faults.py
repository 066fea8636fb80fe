"""Engines that cannot be served now, and why: their work waits, and the others are told."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from orchestrator.domain.devices import DeviceReport
from orchestrator.domain.engines import Blame
from orchestrator.domain.fleet import Withheld
from orchestrator.errors import EngineLoadError, ExpertUnavailableError, IncompatibleModelsError, MusterError
from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import DeviceStore
from orchestrator.tables import reason_of
from workers.device.pace import Pace
from workers.leases.owners import berth_of

LONGEST_REST_S = 3600.0
"""Longest pause that an engine may ask for."""

REMEMBERED = 10_000
"""Assignments that failed once, per engine: see `Faults.is_own_fault`."""


WithheldEngines = Callable[[], Mapping[str, Withheld]]
"""Engines that a process does not serve although its pool has them, and why."""


class Fault(NamedTuple):
    """Reason not to serve an engine before `until`; times by the loop's clock.

    `is_lasting`: no wait heals it. `n`: pauses in a row. `is_tried`: the engine is being tried again.
    """

    code: str
    why: str
    heal: str | None
    since: float
    until: float
    is_lasting: bool
    n: int
    is_tried: bool = False


class Trouble(NamedTuple):
    """Trouble with an engine, as its lane or its load saw it."""

    code: str
    why: str
    heal: str | None = None
    rest_s: float = 0.0
    is_lasting: bool = False


class Faults:
    """Failed loads, crashes and outages, by engine; each keeps its engine away for a pause, which grows until
    it works again.

    Args:
        owner: of the loop, under which its faults are told.
        withheld: engines that are told of likewise.
    """

    def __init__(
        self,
        devices: DeviceStore,
        *,
        owner: str,
        clock: Clock,
        pace: Pace,
        withheld: WithheldEngines = dict,
    ) -> None:
        self._withheld = withheld
        self._devices = devices
        self._owner = owner
        self._clock = clock
        self._pace = pace
        self._found: dict[str, Fault] = {}
        self._worked_at: dict[str, float] = {}
        self._failed_at: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self._told: dict[str, Fault] = {}
        self._told_at = -math.inf

    def of(self, engine_id: str) -> Fault | None:
        """The fault that keeps an engine away now; None = nothing does."""
        fault = self._found.get(engine_id)
        return fault if fault is not None and fault.until > self._clock() else None

    def since_it_worked(self, engine_id: str) -> Fault | None:
        """The last fault of an engine that has not worked since, also when it is due to be tried again; None
        = none."""
        return self._found.get(engine_id)

    # ── what happens ──────────────────────────────────────────────────────────────────────────────

    def load_failed(self, engine_id: str, error: Exception) -> None:
        """A load failed: the engine is left alone as after other faults, for longest where no wait heals
        it."""
        is_lasting = isinstance(error, EngineLoadError | IncompatibleModelsError) and error.is_lasting
        heal = error.remedy if isinstance(error, MusterError) else None
        why = str(error) if isinstance(error, MusterError) else reason_of(error)
        self.met(engine_id, Trouble(EngineLoadError.code, why, heal, is_lasting=is_lasting))

    def met(self, engine_id: str, trouble: Trouble) -> None:
        """An engine could not do its work: it is left alone, each time for twice as long."""
        now, last = self._clock(), self._found.get(engine_id)
        n = 1 if last is None else last.n + 1
        since = now if last is None or last.is_lasting is not trouble.is_lasting else last.since
        pause_s = self._pace.cool_down_s if trouble.is_lasting else self._pace.pause_s(n)
        self._found[engine_id] = Fault(
            code=trouble.code,
            why=trouble.why,
            heal=trouble.heal,
            since=since,
            until=now + max(pause_s, min(trouble.rest_s, LONGEST_REST_S)),
            is_lasting=trouble.is_lasting,
            n=n,
        )

    def crashed_alone(self, engine_id: str, trouble: Trouble) -> None:
        """An engine died under one prompt that was suspected already: that says little about the engine."""
        last = self._found.get(engine_id)
        if last is None:
            self.met(engine_id, trouble)
        else:
            self._found[engine_id] = last._replace(until=self._clock() + self._pace.pause_s(1))

    def tried(self, engine_id: str) -> None:
        """It is loaded again: what that is worth shows at its next fault, or when it has worked."""
        if engine_id in self._found:
            self._found[engine_id] = self._found[engine_id]._replace(is_tried=True)

    def worked(self, engine_id: str) -> None:
        """It answered: whatever was wrong is over."""
        self._worked_at[engine_id] = self._clock()
        self._found.pop(engine_id, None)

    def is_own_fault(self, engine_id: str, assignment_id: int, blame: Blame, *, began_at: float) -> bool:
        """True if a failed call says something about its prompt: where that is unclear, the engine must have
        answered others since it failed for the first time, or since it began.

        Args:
            began_at: seconds by the loop's clock.
        """
        if blame != "unclear":
            return blame == "prompt"
        failed_at = self._failed_at[engine_id]
        since = failed_at.setdefault(assignment_id, began_at)
        if len(failed_at) > REMEMBERED:
            del failed_at[next(iter(failed_at))]
        return self._worked_at.get(engine_id, -math.inf) > since

    def withheld(self, engine_id: str) -> Fault | None:
        """The reason why this process does not serve an engine of its pool at all; None = it does."""
        found = self._withheld().get(engine_id)
        return None if found is None else _fault_of(found)

    # ── what the others are told ──────────────────────────────────────────────────────────────────

    def tell(self, device: str) -> None:
        """Report what changed, and that the rest still holds.

        Raises:
            StoreUnavailableError: tell it again later.
        """
        kept_away = {**self._found, **{e: _fault_of(w) for e, w in self._withheld().items()}}
        for engine_id in [e for e in self._told if e not in kept_away]:
            self._devices.forget_device(self._place(engine_id))
            del self._told[engine_id]
        for engine_id, fault in kept_away.items():
            if self._told.get(engine_id) != fault:
                self._devices.report_device(self._report(engine_id, fault, device))
                self._told[engine_id] = fault
        now = self._clock()
        if self._told and now - self._told_at >= self._pace.report_s:
            self._devices.touch_devices([self._place(engine_id) for engine_id in self._told])
            self._told_at = now

    def sign_off(self) -> None:
        """Nobody counts on this loop any more, nor on what it met.

        Raises:
            StoreUnavailableError: what was told grows old.
        """
        told, self._told = self._told, {}
        for engine_id in told:
            self._devices.forget_device(self._place(engine_id))

    def _place(self, engine_id: str) -> str:
        return berth_of(self._owner, f"fault {engine_id}")

    def _report(self, engine_id: str, fault: Fault, device: str) -> DeviceReport:
        return DeviceReport(
            owner=self._place(engine_id),
            device=device,
            engine_id=engine_id,
            state="down" if fault.is_lasting else "cooling",
            code=fault.code,
            why=fault.why,
            heal=fault.heal,
            next_try_s=None if math.isinf(fault.until) else max(0.0, fault.until - self._clock()),
        )


def _fault_of(withheld: Withheld) -> Fault:
    """An engine that is withheld, as a fault that no pause heals."""
    return Fault(
        code=ExpertUnavailableError.code,
        why=withheld.why,
        heal=withheld.heal,
        since=0.0,
        until=math.inf,
        is_lasting=withheld.is_lasting,
        n=0,
    )
