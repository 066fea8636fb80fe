"""A device loop, made from its parts."""

from collections.abc import Callable, Collection, Container, Mapping
from functools import partial
from typing import NamedTuple

from orchestrator.domain.devices import REMOTE
from orchestrator.domain.experts import EngineSpec, Pool
from orchestrator.domain.metrics import READ_AHEAD
from orchestrator.ports.clock import Clock
from orchestrator.ports.composing import CompositionFactory, LaterEngines
from orchestrator.ports.device_stores import DeviceStores
from orchestrator.ports.engines import Backend
from orchestrator.ports.jobs import Lessee
from orchestrator.ports.telemetry import NO_METER, Meter
from orchestrator.runtime.live import Live
from orchestrator.settings.schema import SchedulerSettings
from workers.backends.registry import REMOTE_BACKENDS
from workers.device.berth import CPU, Berth
from workers.device.books import Books, PausedEngines
from workers.device.call_traces import CallTraces
from workers.device.carried import CarriedQuestions, Handover, lessee_of
from workers.device.faults import WithheldEngines
from workers.device.feeding import Feeder
from workers.device.kit import Kit, make_kit
from workers.device.lane import Lane
from workers.device.lane_maker import LaneMaker
from workers.device.loading import BackendShelf, Loader
from workers.device.loop import DeviceLoop, LoopParts
from workers.device.measured import Measurements
from workers.device.memory import Memory
from workers.device.own_gpu import numbers_of
from workers.device.pace import DEFAULT_PACE, Pace
from workers.device.page_cache import ReadAhead, advice_is_obeyed
from workers.device.remote_lanes import RemoteLanes
from workers.device.seats import DeviceSeats
from workers.device.sleepers import Sleepers
from workers.engine_host.nvml import gpu_free_gib, has_gpus
from workers.leases.advancing import Advancer
from workers.leases.carrying import Carrier
from workers.leases.owners import berth_of
from workers.leases.resting import patience_of
from workers.leases.stage_traces import StageTraces
from workers.leases.sweeper import Sweeper
from workers.pieces import Writers


class DeviceSetup(NamedTuple):
    """Settings and surroundings of a device: what its loop is made from.

    Attributes:
        backends: backend by name (`EngineSpec.backend`).
        later_engines: engines that later stages of a job may need; they are loaded last.
        compositions: takes queries through them; None = others do, and none is built here.
        device: its name, for the record of loads.
        remote: backends whose engines need no device.
        config_hash: of the configuration that all this comes from.
        meter: counts loads and calls.
        traces, stage_traces: tell of calls and stages; None = nobody listens.
        paused: see `Books`.
        withheld: engines of the pool that this process does not serve, and why.
    """

    stores: DeviceStores
    backends: Callable[[str], Backend]
    pool: Pool
    later_engines: LaterEngines
    compositions: CompositionFactory | None
    settings: SchedulerSettings
    device: str
    remote: Container[str] = REMOTE_BACKENDS
    config_hash: str = ""
    meter: Meter = NO_METER
    traces: CallTraces | None = None
    stage_traces: StageTraces | None = None
    paused: PausedEngines = dict
    withheld: WithheldEngines = dict


def make_device_loop(
    setup: DeviceSetup,
    *,
    owner: str,
    clock: Clock,
    pace: Pace = DEFAULT_PACE,
    writers: Writers | None = None,
    on_committed: Callable[[], None] | None = None,
) -> DeviceLoop:
    """The loop of a device.

    Args:
        owner: under which it holds leases; unique among all loops.
        clock: monotonic seconds; leases run on database time, not on it.
        writers: who is told of the text of unfinished responses.
        on_committed: called after responses were committed, at most every `Pace.ring_s` while there is
            work.
    """
    pool, device = setup.pool, setup.device
    known = Live(lambda: _without(pool.known_engines, setup.withheld()))
    kit = make_kit(
        setup.stores,
        owner=owner,
        clock=clock,
        pace=pace,
        settings=setup.settings,
        config_hash=setup.config_hash,
        serves=lambda: tuple(known),
        meter=setup.meter,
        traces=setup.traces,
        withheld=setup.withheld,
    )
    remote = frozenset(e.id for e in pool.engines.values() if e.backend in setup.remote)
    books = Books(
        kit, engines=known.keys(), remote=remote, later_engines=setup.later_engines, paused=setup.paused
    )
    feeder, measured = Feeder(kit, books), Measurements(device)
    shelf = BackendShelf(setup.backends)

    def on_gpus() -> float | None:
        return gpu_free_gib(device, numbers_of(known.values()))

    memory = Memory(
        measured,
        limit_gib=setup.settings.memory_gib,
        max_resident=setup.settings.max_resident,
        gpu_free_gib=on_gpus if device != CPU and has_gpus() else None,
    )
    sleepers = Sleepers(measured, clock=clock)
    reader = None
    if setup.settings.read_ahead and advice_is_obeyed():
        reader = ReadAhead(on_read=lambda engine_id, n: setup.meter.count(READ_AHEAD, engine_id, n=n))
    loader = Loader(shelf, pool, clock=clock, name=device, sleepers=sleepers, reader=reader)
    make_lane = LaneMaker(kit, pool, remote=remote, waiting=books.waiting, writers=writers)
    berth = partial(Berth, kit, make_lane=make_lane)

    def place(number: int) -> Berth:
        name = berth_of(owner, str(number)) if number else owner
        return berth(name, loader=loader, device=device, measured=measured)

    def remote_berth(engine_id: str) -> Berth:
        own = Loader(shelf, pool, clock=clock, name=engine_id)
        return berth(berth_of(owner, engine_id), loader=own, device=REMOTE, measured=None)

    seats = DeviceSeats(
        kit,
        place,
        pool=pool,
        loader=loader,
        books=books,
        feeder=feeder,
        measured=measured,
        memory=memory,
    )
    remotes = RemoteLanes(kit, remote_berth, books=books, feeder=feeder)

    def lanes() -> list[Lane]:
        return [*seats.lanes, *remotes.lanes]

    lessee = partial(lessee_of, lanes, owner=owner, lease_s=setup.settings.lease_s)
    carrier = _carrier(setup, lessee)
    advancer = _advancer(setup, pace, clock, carrier)
    parts = LoopParts(
        kit=kit,
        books=books,
        feeder=feeder,
        seats=seats,
        remotes=remotes,
        shelf=shelf,
        loader=loader,
        measured=measured,
        sweeper=_sweeper(kit, harmless=remote),
        advancer=advancer,
        questions=None
        if carrier is None or advancer is None
        else CarriedQuestions(carrier, advancer, ledger=kit.ledger, lanes=lanes),
        handover=Handover(),
        engine_ids=tuple(pool.engines),
        remote=remote,
        device=device,
    )
    return DeviceLoop(parts, on_committed=on_committed)


def _without(engines: Mapping[str, EngineSpec], withheld: Container[str]) -> Mapping[str, EngineSpec]:
    return {engine_id: spec for engine_id, spec in engines.items() if engine_id not in withheld}


def _sweeper(kit: Kit, *, harmless: Collection[str]) -> Sweeper:
    return Sweeper(
        leases=kit.stores.leases,
        devices=kit.stores.devices,
        clock=kit.clock,
        grace_s=kit.settings.lease_s,
        max_attempts=kit.settings.max_attempts,
        harmless=harmless,
    )


def _carrier(setup: DeviceSetup, lessee: Callable[[], Lessee]) -> Carrier | None:
    """None = the steps of questions are taken elsewhere, or the stores do not carry any."""
    store = setup.stores.questions
    if store is None or setup.compositions is None:
        return None
    return Carrier(store, Live(lambda: setup.pool.engine_of), lessee=lessee)


def _advancer(setup: DeviceSetup, pace: Pace, clock: Clock, carrier: Carrier | None) -> Advancer | None:
    if setup.compositions is None:
        return None
    return Advancer(
        jobs=setup.stores.jobs,
        steps=setup.stores.steps,
        compositions=setup.compositions,
        engine_of=Live(lambda: setup.pool.engine_of),
        exclusive_s=0.0,
        config_hash=setup.config_hash,
        patience=patience_of(setup.settings)._replace(first_pause_s=pace.step_pause_s),
        clock=clock,
        traces=setup.stage_traces,
        begin=None if carrier is None else carrier.begin,
    )
