"""Engines as they are at the moment: ready, loading, or kept away by a fault."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from orchestrator.domain.devices import REMOTE, DeviceReport
from orchestrator.domain.values import Value

Blame = Literal["prompt", "engine", "unclear", "setup"]
"""Fault of a call that yielded nothing: of its `prompt`, which fails; of its `engine`, which a wait may heal
(nobody there, too busy); of the `setup`, which somebody must mend (a refused key); or `unclear` (no answer in
time, an error inside a server): of the prompt, if the engine answers others meanwhile."""

Condition = Literal["ready", "loading", "cooling", "down"]


class EngineState(Value):
    """An engine at one moment.

    `ready`: serves, or is loaded when there is work. `loading`: by some device. `cooling`: a wait may heal
    `why`; its work waits, and it is tried again in `next_try_s` seconds (0 = now). `down`: no wait can, only
    what `heal` says. `since_s`: for how many seconds it has been so, where that is known.

    `is_resident`: some device holds it; `is_asleep`: none does, and one wakes it. `memory_gib`: what it was
    measured to hold there.
    """

    engine_id: str
    state: Condition = "ready"
    code: str | None = None
    why: str | None = None
    heal: str | None = None
    since_s: float | None = None
    next_try_s: float | None = None
    is_resident: bool = False
    is_asleep: bool = False
    memory_gib: float | None = None

    @property
    def is_well(self) -> bool:
        """True if no fault keeps it away."""
        return self.state in ("ready", "loading")


NOBODY_SERVES = "It stands in the pool file of no worker that lives."
START_ONE = "Start a worker with the pool file that names it, or put it back into theirs."


def serving_loops(
    engine_id: str, devices: Iterable[DeviceReport], *, loop_of: Callable[[str], str]
) -> frozenset[str]:
    """Loops of live devices that may serve an engine: those whose configuration has it, or is not known."""
    return frozenset(
        loop_of(report.owner)
        for report in devices
        if report.device != REMOTE and (report.serves is None or engine_id in report.serves)
    )


def engine_states(
    engine_ids: Iterable[str],
    *,
    devices: Sequence[DeviceReport],
    faults: Sequence[DeviceReport],
    loop_of: Callable[[str], str],
) -> Mapping[str, EngineState]:
    """States of engines, from what live devices hold and the faults they tell; by id.

    One that some live device may still serve is as ready as that one.
    """
    by_engine: dict[str, list[DeviceReport]] = {}
    for fault in faults:
        by_engine.setdefault(fault.engine_id or "", []).append(fault)
    return {
        engine_id: _state(engine_id, devices, by_engine.get(engine_id, []), loop_of)
        for engine_id in engine_ids
    }


def _state(
    engine_id: str,
    devices: Sequence[DeviceReport],
    faults: Sequence[DeviceReport],
    loop_of: Callable[[str], str],
) -> EngineState:
    loops = serving_loops(engine_id, devices, loop_of=loop_of)
    of_live = [fault for fault in faults if loop_of(fault.owner) in loops]
    faulty = {loop_of(fault.owner) for fault in of_live}
    held = [r for r in devices if r.engine_id == engine_id and loop_of(r.owner) not in faulty]
    if held:
        return _held(engine_id, held)
    if devices and not loops:
        if faults:  # some have it, and say why they do not serve it
            return _faulty(engine_id, faults)
        return EngineState(
            engine_id=engine_id, state="down", code="expert_unavailable", why=NOBODY_SERVES, heal=START_ONE
        )
    if not loops or faulty != loops:
        is_asleep = any(r.memory is not None and engine_id in r.memory.asleep for r in devices)
        return EngineState(engine_id=engine_id, is_asleep=is_asleep)
    return _faulty(engine_id, of_live)


def _held(engine_id: str, held: Sequence[DeviceReport]) -> EngineState:
    resident = [report for report in held if report.state == "resident"]
    since_s = max(report.state_s for report in resident or held)
    sizes = [r.memory.held_gib for r in resident if r.memory is not None and r.memory.held_gib is not None]
    return EngineState(
        engine_id=engine_id,
        state="ready" if resident else "loading",
        since_s=round(since_s, 1),
        is_resident=bool(resident),
        memory_gib=max(sizes, default=None),
    )


def _faulty(engine_id: str, faults: Sequence[DeviceReport]) -> EngineState:
    """That of the loop which tries again first; down where all are."""
    cooling = [fault for fault in faults if fault.state == "cooling"]
    first = min(cooling or faults, key=lambda fault: (fault.next_try_s or 0.0, fault.owner))
    return EngineState(
        engine_id=engine_id,
        state="cooling" if cooling else "down",
        code=first.code,
        why=first.why,
        heal=first.heal,
        since_s=round(min(fault.state_s for fault in faults), 1),
        next_try_s=None if first.next_try_s is None else round(first.next_try_s, 1),
    )
