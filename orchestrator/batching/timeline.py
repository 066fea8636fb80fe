"""The plan of a job for people: what each device did and will do, and how close to the bound that is."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from orchestrator.batching.bounds import Family, lower_bound_s, overlapped_bound_s
from orchestrator.batching.devices import EQUAL, Device
from orchestrator.batching.exact import exact_plan
from orchestrator.batching.kinds import Kinds
from orchestrator.batching.left import all_needs, finish_s, in_order, load_plan
from orchestrator.batching.neighbours import Neighbours
from orchestrator.batching.packing import Packing, Slot, pack
from orchestrator.batching.rates import Rates
from orchestrator.batching.reported import LoopOf, ReportedDevice, devices_of
from orchestrator.domain.assignments import EngineBacklog, JobProgress, JobState
from orchestrator.domain.devices import DeviceReport, EngineLoad, LoadKind, Rate

UNNAMED = "device"


class Stay(NamedTuple):
    """An engine on a device, in seconds since the job was submitted: loading from `load_from_s`,
    serving from `serve_from_s`, until `until_s`. `is_past`: it has been loaded (as `kind` says);
    else it is foreseen."""

    device: str
    engine_id: str
    load_from_s: float
    serve_from_s: float
    until_s: float
    is_past: bool
    kind: LoadKind | None = None


class JobPlan(NamedTuple):
    """Loads and seconds of a job, done and left. Waiting work of other jobs counts: jobs share loads.

    `lower_bound_s`: seconds from now that no schedule can beat in which a device loads or works; of a job
    that has ended, seconds that its whole run could not have beaten. `overlapped_bound_s`: the same of
    schedules in which a device loads one engine while it works for another. `ratio`, `overlapped_ratio`: its
    run over these bounds, None before it has ended or where it needed no load; hidden loads make the first
    less than 1.
    `is_optimal`: proven by CP-SAT to be the shortest there is without hidden loads.
    """

    job_id: str
    state: JobState
    loads_done: int
    loads_left: int
    seconds_done: float
    seconds_left: float
    lower_bound_s: float
    overlapped_bound_s: float
    ratio: float | None
    overlapped_ratio: float | None
    is_optimal: bool
    stays: tuple[Stay, ...]


class PlanInput(NamedTuple):
    """Knowledge of the store, at the time `now_s` of its clock. `loop_of`: a report's owner -> the loop that
    it belongs to."""

    progress: JobProgress
    backlog: Sequence[EngineBacklog]
    devices: Sequence[DeviceReport]
    loads: Sequence[EngineLoad]
    rates: Mapping[tuple[str, str], Rate]
    now_s: float
    loop_of: LoopOf = str


def job_plan(given: PlanInput, *, later: frozenset[str] = frozenset(), exact: bool = False) -> JobPlan:
    """The plan of a running job from the waiting work, or the record of one that has ended.

    Raises:
        ConfigError: `exact` without OR-Tools.
    """
    if given.progress.state.is_over:
        return _record(given)
    kinds = Kinds(given.rates)
    reported = devices_of(given.devices, loop_of=given.loop_of)
    counted = next((device.name for device in reported if device.name in kinds.names), None)
    rates = Rates.over_devices(given.rates) if counted is None else kinds.rates(counted)
    rates = rates.extended({*later, *(item.engine_id for item in given.backlog)})
    devices, slots = slots_of(reported, given.loads, rates, kinds, counted=counted)
    neighbours = Neighbours(memory_gib=_memory_gib(given.rates))
    needs = all_needs(given.backlog, later=later, rates=rates, neighbours=neighbours)
    solved = exact_plan(needs, slots) if exact else None
    packing = solved.packing if solved else pack(needs, slots)
    left = load_plan(packing, needs, slots, later=later)
    elapsed_s = given.now_s - given.progress.created_at
    future = _foreseen(packing, devices, slots, from_s=elapsed_s, later=later)
    return JobPlan(
        job_id=given.progress.job.id,
        state=given.progress.state,
        loads_done=len(given.loads),
        loads_left=left.loads_left,
        seconds_done=elapsed_s,
        seconds_left=finish_s(packing, slots),
        lower_bound_s=max(left.lower_bound_s, solved.bound_s) if solved else left.lower_bound_s,
        overlapped_bound_s=left.overlapped_bound_s,
        ratio=None,
        overlapped_ratio=None,
        is_optimal=solved is not None and solved.is_optimal,
        stays=(*_stays(given, until_s=given.now_s), *future),
    )


def slots_of(
    reported: Sequence[ReportedDevice],
    past: Sequence[EngineLoad],
    rates: Rates,
    kinds: Kinds,
    *,
    counted: str | None,
) -> tuple[list[str], list[Slot]]:
    """Devices by name and what they have. Where none reports itself: those that loaded
    for the job, or one.

    Args:
        counted: the device whose seconds `rates` are; None = nothing was measured on any that is there.
    """
    if reported:
        return [_name(device.name, device.reports[0].host) for device in reported], [
            _slot(device, rates, _device_of(device, kinds, counted=counted)) for device in reported
        ]
    last = {load.owner: load for load in past}
    if not last:
        return [UNNAMED], [Slot()]
    loads = [last[owner] for owner in sorted(last)]
    return [x.device for x in loads], [Slot(x.engine_id if x.left_at is None else None) for x in loads]


def _record(given: PlanInput) -> JobPlan:
    progress = given.progress
    ended_s = progress.finished_at if progress.finished_at is not None else given.now_s
    took_s = ended_s - progress.created_at
    stays = _stays(given, until_s=ended_s)
    families, n_devices = _families(stays), max(1, len({load.owner for load in given.loads}))
    bound = lower_bound_s(families, n_devices=n_devices)
    overlapped = overlapped_bound_s(families, n_devices=n_devices)
    is_whole = progress.state is JobState.DONE
    return JobPlan(
        job_id=progress.job.id,
        state=progress.state,
        loads_done=len(given.loads),
        loads_left=0,
        seconds_done=took_s,
        seconds_left=0.0,
        lower_bound_s=bound,
        overlapped_bound_s=overlapped,
        ratio=took_s / bound if bound > 0 and is_whole else None,
        overlapped_ratio=took_s / overlapped if overlapped > 0 and is_whole else None,
        is_optimal=False,
        stays=stays,
    )


def _families(stays: Iterable[Stay]) -> list[Family]:
    """Measured: the mean load of each engine, and all the seconds in which it had a device."""
    loads: dict[str, list[float]] = {}
    work: dict[str, float] = {}
    for stay in stays:
        loads.setdefault(stay.engine_id, []).append(stay.serve_from_s - stay.load_from_s)
        work[stay.engine_id] = work.get(stay.engine_id, 0.0) + stay.until_s - stay.serve_from_s
    return [Family(load_s, work[engine_id]) for engine_id, load_s in _means(loads).items()]


def _stays(given: PlanInput, *, until_s: float) -> tuple[Stay, ...]:
    """Loads of the job and how long each was followed by its engine's work, up to `until_s`."""
    zero = given.progress.created_at
    ends = _ends(given.loads)
    return tuple(
        Stay(
            load.device,
            load.engine_id,
            load_from_s=load.started_at - zero,
            serve_from_s=load.started_at + load.seconds - zero,
            until_s=max(load.started_at + load.seconds, min(end, until_s)) - zero,
            is_past=True,
            kind=load.kind,
        )
        for load, end in zip(given.loads, ends, strict=True)
    )


def _ends(loads: Sequence[EngineLoad]) -> list[float]:
    """When each load's engine left: as recorded, else when its owner loaded the next one."""
    ends = []
    for ix, load in enumerate(loads):
        following = (x.started_at for x in loads[ix + 1 :] if x.owner == load.owner)
        ends.append(load.left_at if load.left_at is not None else next(following, float("inf")))
    return ends


def _foreseen(
    packing: Packing,
    devices: Sequence[str],
    slots: Sequence[Slot],
    *,
    from_s: float,
    later: frozenset[str],
) -> list[Stay]:
    stays = []
    for device, slot, stints in zip(devices, slots, packing.stints, strict=True):
        at = from_s + slot.ready_s
        for engine_id, load_s, work_s in in_order(stints, later):
            stays.append(Stay(device, engine_id, at, at + load_s, at + load_s + work_s, is_past=False))
            at += load_s + work_s
    return stays


def _slot(reported: ReportedDevice, rates: Rates, device: Device) -> Slot:
    residents, loading = reported.residents, reported.loading
    slot = Slot(residents[0] if residents else None, device=device, beside=tuple(residents[1:]))
    if loading is None or loading.engine_id is None:
        return slot
    engine_id = loading.engine_id
    left_s = max(0.0, device.load_s(engine_id, rates.load(engine_id)) - loading.state_s)
    if residents:
        return slot._replace(ahead_id=engine_id, ahead_s=left_s)
    return slot._replace(engine_id=engine_id, ready_s=left_s, is_loading=True)


def _device_of(reported: ReportedDevice, kinds: Kinds, *, counted: str | None) -> Device:
    """A device by what its engines were measured to cost, and by the memory that it has for one."""
    device = EQUAL if counted is None else kinds.device(reported.name, seen_from=counted)
    memory_gib = reported.memory_gib
    return device if memory_gib is None else device._replace(memory_gib=memory_gib)


def _memory_gib(measured: Mapping[tuple[str, str], Rate]) -> dict[str, float]:
    """The most that each engine was seen to take, on any device."""
    most: dict[str, float] = {}
    for (engine_id, _), rate in measured.items():
        if rate.memory_gib is not None:
            most[engine_id] = max(most.get(engine_id, 0.0), rate.memory_gib)
    return most


def _name(device: str, host: str) -> str:
    return f"{host}/{device}" if host else device


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {key: fmean(found) for key, found in values.items()}
