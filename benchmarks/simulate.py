"""The scheduler against its lower bound, on a simulated clock: `python -m benchmarks.simulate`.

The decisions are the production ones (`choose_engine`, `shard_size`); what is simulated is the clock,
the devices and the books. Devices know of each other what running ones make of reports, and choose by
`choose_ahead` what to load while they work (docs/decisions/0052).

A run has 16 engines and 10,000 queries, each sent to 3 distinct engines by Zipf's law and answered by
vote (no model call after the experts). Loads take 15 to 60 s, calls of one engine take
equally long, and all work is twice all loads. Devices claim shards of at most 5 s, announce
what they load, share what they measured after each shard, and look at the books every second while
there is nothing for them; all of these times, and those below, are the product's defaults.

    right         rates measured before; 1, 4, 8 and 64 devices
    wrong         no rates measured, lengths mis-estimated by 0.3 to 3 per engine; loads are known
    unequal       a quarter of the devices is large (work twice as fast, loads 1.5 times, 80 GiB), a quarter
                  medium (1, 1, 48 GiB), half small (0.5, 0.7, 20 GiB); an engine takes 6 to 24 GiB. Costs
                  are measured by kind of device; in unequal_wrong how fast the kinds work is not known either
    hiding        devices load the next engine while they work, neither slows the other, memory holds two
    deaths        right, and one device in eight dies at a random moment of the run, on a host of its own,
                  so that nobody can look whether its process lives: it counts as alive until its last
                  report is LIVE_S old, and its shard comes back at the first sweep after its lease ended
                  (of the beat or of any device, each at times of its own)
    efficiency_4  T1 / (4 T4), T the makespan with right estimates
    oldest_wait_over_bound_s
                  two hours of batches and interactive queries on 4 devices: seconds by which an engine
                  waited longer than max_wait_s + the running load or shard + loads and shards of starved
                  engines ahead + its own load; the worst

Ratios are makespan / the largest lower bound for the true lengths and for the device-seconds that there
were, means over the seeds; of hiding and hiding_wrong the bound is that of schedules that hide loads. It is
found by `batching.priced`, in seconds; the ratio to the bound that plans of jobs tell (`batching.bounds`) is
said beside it. Deaths know only the second. The last line is one JSON object with these keys. `--first-seed`
chooses other seeds than those that decisions were made on (0 to 4).
"""

import heapq
import math
import random
import statistics
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser, progress
from orchestrator.batching import (
    DEFAULT_TOKENS_PER_S,
    Device,
    EngineChoice,
    Family,
    Kinds,
    Neighbour,
    Neighbours,
    bound_by_area_s,
    choose_ahead,
    choose_engine,
    is_time,
    lower_bound_s,
    overlapped_bound_s,
    shard_size,
)
from orchestrator.batching.priced import priced_bound_s
from orchestrator.domain.assignments import BATCH, INTERACTIVE, EngineBacklog
from orchestrator.domain.devices import LIVE_S, Rate
from orchestrator.settings.schema import SchedulerSettings
from workers.device.pace import DEFAULT_PACE

N_ENGINES = 16
N_QUERIES = 10_000
EXPERTS_PER_QUERY = 3
LOAD_S = (15.0, 60.0)
SPEED = (0.5, 2.0)
WORK_OVER_LOADS = 2.0
MIS_ESTIMATED = (0.3, 3.0)
DEFAULTS = SchedulerSettings()
GIB_PER_LOAD_S = 0.4
DEATH_SHARE = 1 / 8
DEVICES = (1, 4, 8, 64)

MIXED_DEVICES = 4
MIXED_HOURS = 2
MIXED_MAX_WAIT_S = 1000.0
BATCH_EVERY_S, BATCH_QUERIES = 60.0, 900
INTERACTIVE_EVERY_S = 120.0


class Engine(NamedTuple):
    """True costs on a device of speed 1: seconds of a load and of one call; what it takes of memory."""

    id: str
    load_s: float
    call_s: float

    @property
    def memory_gib(self) -> float:
        """What takes long to load is large."""
        return GIB_PER_LOAD_S * self.load_s


class Kind(NamedTuple):
    """A kind of device: work and loads per second, relative to speed 1, and memory."""

    name: str
    speed: float = 1.0
    load_speed: float = 1.0
    memory_gib: float = math.inf


STANDARD = Kind("standard")
KINDS = (Kind("large", 2.0, 1.5, 80.0), Kind("medium", 1.0, 1.0, 48.0), *[Kind("small", 0.5, 0.7, 20.0)] * 2)
"""Of four devices. A small one does not hold the largest engines, nor most pairs of the others."""


class Site(NamedTuple):
    """Devices of a run by their kinds; `hides`: they load the next engine while they work."""

    kinds: Sequence[Kind]
    hides: bool = False

    @property
    def devices(self) -> list[Device]:
        """What they are to the bounds."""
        return [Device(k.speed, k.load_speed, k.memory_gib) for k in self.kinds]

    def bound_s(self, workload: "Workload") -> float:
        """Seconds that no schedule can beat here, the largest bound that is known."""
        return priced_bound_s(workload.families, devices=self.devices, hides=self.hides)

    def quick_bound_s(self, workload: "Workload") -> float:
        """The same as plans of jobs tell it."""
        bound = overlapped_bound_s if self.hides else lower_bound_s
        return bound(workload.families, devices=self.devices)


class Call(NamedTuple):
    engine_id: str
    created_s: float = 0.0
    priority: int = BATCH


class Workload(NamedTuple):
    engines: Mapping[str, Engine]
    calls: Sequence[Call]

    @property
    def families(self) -> list[Family]:
        n_calls = Counter(call.engine_id for call in self.calls)
        return [
            Family(e.load_s, e.call_s * n_calls[e.id], e.memory_gib)
            for e in self.engines.values()
            if n_calls[e.id]
        ]


class Estimates(NamedTuple):
    """Estimated over true length by engine, and whether rates were measured before the run."""

    length: Mapping[str, float]
    measured: bool


class Liveness(NamedTuple):
    """How the others find out that a device died; seconds. See docs/decisions/0013.

    Reports fall on multiples of their interval, renewals follow the claim. Each process that sweeps does so
    every `sweep_s`, from a time of its own (`sweeps_from_s`).
    """

    report_s: float = DEFAULT_PACE.report_s
    live_s: float = LIVE_S
    lease_s: float = DEFAULTS.lease_s
    sweep_s: float = DEFAULTS.sweep_s
    sweeps_from_s: tuple[float, ...] = (0.0,)

    def seen_until(self, dies_s: float) -> float:
        """Until when a device counts as alive; inf for one that never dies."""
        return _last(dies_s, every_s=self.report_s) + self.live_s

    def returned_at(self, *, claimed_s: float, dies_s: float) -> float:
        """When what it claimed last is in the queue again."""
        renewed_s = claimed_s + _last(dies_s - claimed_s, every_s=DEFAULT_PACE.renewal_s(self.lease_s))
        ends_s = renewed_s + self.lease_s
        return min(
            math.ceil((ends_s - since) / self.sweep_s) * self.sweep_s + since for since in self.sweeps_from_s
        )


AT_DEFAULTS = Liveness()


def _last(now: float, *, every_s: float) -> float:
    return now if now == math.inf else now // every_s * every_s


class Result(NamedTuple):
    """`n_starved`: loads because of the starvation bound; `over_bound_s`: by how much it was missed."""

    makespan_s: float
    n_loads: int
    n_starved: int
    over_bound_s: float


@dataclass
class Worker:
    """What a device is up to; `busy_until_s` is when it looks for work next. `ahead_id`: what it loads, or
    has loaded, beside its engine."""

    kind: Kind = STANDARD
    dies_s: float = math.inf
    engine_id: str | None = None
    loading_since_s: float | None = None
    ahead_id: str | None = None
    ahead_since_s: float = 0.0
    seated_s: float = 0.0
    busy_until_s: float = 0.0
    shard: list[Call] = field(default_factory=list)


class Queue:
    """Waiting calls of one engine, interactive ones first."""

    def __init__(self) -> None:
        self._by_priority: dict[int, deque[Call]] = {INTERACTIVE: deque(), BATCH: deque()}

    def __len__(self) -> int:
        return sum(len(calls) for calls in self._by_priority.values())

    def add(self, call: Call) -> None:
        self._by_priority[call.priority].append(call)

    def take(self, limit: int) -> list[Call]:
        """Up to `limit` calls of the highest priority there is."""
        calls = self._by_priority[self.top_priority]
        return [calls.popleft() for _ in range(min(limit, len(calls)))]

    @property
    def top_priority(self) -> int:
        return max((p for p, calls in self._by_priority.items() if calls), default=BATCH)

    @property
    def oldest_s(self) -> float:
        return min(calls[0].created_s for calls in self._by_priority.values() if calls)


class Simulation:
    """Devices that drain a workload, event by event, each decision by the functions of `batching`."""

    def __init__(
        self,
        workload: Workload,
        *,
        site: Site,
        estimates: Estimates,
        deaths: Sequence[float] = (),
        liveness: Liveness = AT_DEFAULTS,
        max_wait_s: float = math.inf,
    ) -> None:
        """`deaths`: when each device dies; inf = it does not, as none does where nothing is said."""
        self._engines = workload.engines
        self._site = site
        dies_s = deaths or [math.inf] * len(site.kinds)
        self._devices = [Worker(kind, dies_s=dies) for kind, dies in zip(site.kinds, dies_s, strict=True)]
        self._liveness = liveness
        self._max_wait_s = max_wait_s
        self._tokens = {e.id: self._true_rate(e, estimates) * e.call_s for e in self._engines.values()}
        self._true_rates = {e.id: self._true_rate(e, estimates) for e in self._engines.values()}
        self._memory_gib = {e.id: e.memory_gib for e in self._engines.values()}
        self._measured = {
            (e.id, kind.name): Rate(
                e.load_s / kind.load_speed,
                self._true_rates[e.id] * kind.speed if estimates.measured else None,
            )
            for e in self._engines.values()
            for kind in site.kinds
        }
        self._kinds = Kinds(self._measured)
        self._queues = {engine_id: Queue() for engine_id in self._engines}
        self._left_s: dict[str, float] = {}
        self._due_s: dict[str, float] = {}
        self._n_left = len(workload.calls)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._n_events = self._n_loads = self._n_starved = 0
        self._over_bound_s = -math.inf
        for created_s, calls in groupby(workload.calls, key=lambda call: call.created_s):
            self._at(created_s, partial(self._arrive, list(calls)))
        for device in self._devices:
            self._at(0.0, partial(self._free, device))

    @staticmethod
    def _true_rate(engine: Engine, estimates: Estimates) -> float:
        """Estimated tokens that it serves per second: at this rate the estimate is right."""
        return DEFAULT_TOKENS_PER_S * estimates.length[engine.id]

    def run(self) -> Result:
        now = 0.0
        while self._n_left:
            now, _, event = heapq.heappop(self._events)
            self._note_starved(now)
            event(now)
        return Result(now, self._n_loads, self._n_starved, self._over_bound_s)

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        self._n_events += 1
        heapq.heappush(self._events, (when, self._n_events, event))

    def _arrive(self, calls: Iterable[Call], _now: float) -> None:
        for call in calls:
            self._queues[call.engine_id].add(call)

    # ── a device ──────────────────────────────────────────────────────────────────────────────────

    def _free(self, device: Worker, now: float) -> None:
        """It looks for work, and again later when there is none for it."""
        if now >= device.dies_s:
            return
        choice = choose_engine(
            self._backlog(device, now),
            resident=device.engine_id,
            max_wait_s=self._max_wait_s,
            resident_s=now - device.seated_s,
            rates=self._kinds.rates(device.kind.name),
            n_devices=len(self._seen(now)),
            n_engines=len(self._queues),
            neighbours=self._neighbours(device, now),
        )
        if choice is None:
            self._busy(device, now + DEFAULT_PACE.look_s, self._free)
        elif choice.engine_id == device.engine_id:
            self._claim(device, now)
        else:
            self._change(device, choice, now)

    def _change(self, device: Worker, choice: EngineChoice, now: float) -> None:
        """Load another engine, or wait for what is left of its load ahead."""
        began_s = now
        if choice.engine_id == device.ahead_id:
            began_s = device.ahead_since_s
        else:
            self._n_loads += 1
            self._check_memory(device, choice.engine_id)
        self._n_starved += choice.reason.startswith("waited")
        if device.engine_id is not None:
            self._left_s[device.engine_id] = now
        device.engine_id, device.loading_since_s, device.ahead_id = choice.engine_id, began_s, None
        self._busy(device, max(now, began_s + self._load_s(device, choice.engine_id)), self._seated)
        device.busy_until_s += DEFAULTS.shard_s

    def _look_ahead(self, device: Worker, now: float) -> None:
        """Begin to load the next engine while the resident one works off its last shards."""
        resident = device.engine_id
        if not self._site.hides or device.ahead_id is not None or resident is None:
            return
        rates = self._kinds.rates(device.kind.name)
        choice = choose_ahead(
            self._backlog(device, now),
            resident=resident,
            max_wait_s=self._max_wait_s,
            rates=rates,
            n_devices=len(self._seen(now)),
            n_engines=len(self._queues),
            neighbours=self._neighbours(device, now),
        )
        n_serving = sum(d.engine_id == resident for d in self._seen(now))
        waiting = len(self._queues[resident]) / max(1, n_serving) + len(device.shard)
        left_s = rates.seconds(resident, self._tokens[resident] * waiting)
        if choice is not None and is_time(left_s, rates.load(choice.engine_id)):
            self._n_loads += 1
            self._check_memory(device, choice.engine_id, resident)
            device.ahead_id, device.ahead_since_s = choice.engine_id, now

    def _check_memory(self, device: Worker, *engine_ids: str) -> None:
        """A decision that no device could carry out is a fault of the decision."""
        if sum(self._memory_gib[engine_id] for engine_id in engine_ids) > device.kind.memory_gib:
            raise AssertionError(f"{' and '.join(engine_ids)} do not fit a {device.kind.name} device.")

    def _load_s(self, device: Worker, engine_id: str) -> float:
        return self._engines[engine_id].load_s / device.kind.load_speed

    def _seated(self, device: Worker, now: float) -> None:
        if now < device.dies_s:
            device.loading_since_s, device.seated_s = None, now
            self._claim(device, now)

    def _claim(self, device: Worker, now: float) -> None:
        engine = self._engines[device.engine_id or ""]
        queue = self._queues[engine.id]
        if not queue:
            self._free(device, now)
            return
        self._over_bound_s = max(self._over_bound_s, now - self._due_s.pop(engine.id, math.inf))
        limit = shard_size(
            per_s=device.kind.speed / engine.call_s if self._is_measured(device) else None,
            target_s=DEFAULTS.shard_s,
            low=DEFAULT_PACE.min_shard,
            high=len(queue) + DEFAULT_PACE.min_shard,
            n_waiting=len(queue),
            n_devices=sum(d.engine_id == engine.id for d in self._seen(now)),
        )
        device.shard = queue.take(limit)
        self._look_ahead(device, now)
        done_s = now + engine.call_s / device.kind.speed * len(device.shard)
        if done_s >= device.dies_s:
            back_s = self._liveness.returned_at(claimed_s=now, dies_s=device.dies_s)
            self._at(back_s, partial(self._arrive, device.shard))
        else:
            self._busy(device, done_s, self._done)

    def _done(self, device: Worker, now: float) -> None:
        if not self._is_measured(device):
            key = (device.engine_id or "", device.kind.name)
            speed = self._true_rates[key[0]] * device.kind.speed
            self._measured[key] = self._measured[key]._replace(tokens_per_s=speed)
            self._kinds = Kinds(self._measured)
        self._n_left -= len(device.shard)
        device.shard = []
        self._free(device, now)

    def _is_measured(self, device: Worker) -> bool:
        return self._measured[device.engine_id or "", device.kind.name].tokens_per_s is not None

    def _busy(self, device: Worker, until_s: float, then: Callable[[Worker, float], None]) -> None:
        device.busy_until_s = until_s
        self._at(until_s, partial(then, device))

    # ── the books ─────────────────────────────────────────────────────────────────────────────────

    def _seen(self, now: float) -> list[Worker]:
        return [d for d in self._devices if now < self._liveness.seen_until(d.dies_s)]

    def _neighbours(self, device: Worker, now: float) -> Neighbours:
        """What this device knows of the others."""
        others = tuple(self._neighbour(device, d, now) for d in self._seen(now) if d is not device)
        return Neighbours(
            Device(memory_gib=device.kind.memory_gib),
            others,
            self._memory_gib,
            hides=self._site.hides,
            ahead_id=device.ahead_id,
            ahead_s=now - device.ahead_since_s,
        )

    def _neighbour(self, device: Worker, other: Worker, now: float) -> Neighbour:
        seen = self._kinds.device(other.kind.name, seen_from=device.kind.name)
        since = other.loading_since_s
        return Neighbour(
            seen._replace(memory_gib=other.kind.memory_gib),
            other.engine_id,
            None if since is None else now - since,
            other.ahead_id,
            now - other.ahead_since_s,
        )

    def _backlog(self, device: Worker, now: float) -> list[EngineBacklog]:
        """What the store tells this device."""
        there: dict[str | None, list[Worker]] = {}
        for other in self._seen(now):
            for engine_id in {other.engine_id, other.ahead_id} if other is not device else ():
                there.setdefault(engine_id, []).append(other)
        return [
            self._row(engine_id, queue, there.get(engine_id, []), now)
            for engine_id, queue in self._queues.items()
            if queue
        ]

    def _row(self, engine_id: str, queue: Queue, there: Sequence[Worker], now: float) -> EngineBacklog:
        n_leased = sum(len(d.shard) for d in there if d.engine_id == engine_id)
        loading = [d.loading_since_s if d.engine_id == engine_id else d.ahead_since_s for d in there]
        return EngineBacklog(
            engine_id=engine_id,
            n_waiting=len(queue),
            est_tokens=round(self._tokens[engine_id] * len(queue)),
            oldest_wait_s=now - queue.oldest_s,
            top_priority=queue.top_priority,
            n_devices_elsewhere=len(there),
            n_leased=n_leased,
            leased_tokens=round(self._tokens[engine_id] * n_leased),
            loading_s=tuple(now - since for since in loading if since is not None),
            unserved_s=now - self._left_s.get(engine_id, -math.inf),
        )

    def _note_starved(self, now: float) -> None:
        """Until when each engine that began to starve since the last event must be served."""
        if self._max_wait_s == math.inf:
            return
        served = {engine_id for d in self._devices for engine_id in (d.engine_id, d.ahead_id)}
        since = {
            engine_id: max(queue.oldest_s, self._left_s.get(engine_id, -math.inf))
            for engine_id, queue in self._queues.items()
            if queue and engine_id not in served
        }
        starved = sorted((s, e) for e, s in since.items() if now - s > self._max_wait_s)
        first_free_s = min(device.busy_until_s for device in self._devices)
        due_s = max(first_free_s, now)
        for _, engine_id in starved:
            due_s += self._engines[engine_id].load_s
            self._due_s.setdefault(engine_id, due_s)
            due_s += DEFAULTS.shard_s


# ── workloads ─────────────────────────────────────────────────────────────────────────────────────


def batch_workload(rng: random.Random) -> Workload:
    """10,000 queries at once."""
    ids, weights = _ranked()
    calls = [Call(engine_id) for _ in range(N_QUERIES) for engine_id in recruits(rng, ids, weights)]
    return Workload(engines_for(rng, ids, calls), calls)


def mixed_workload(rng: random.Random) -> Workload:
    """A stream of small batches with interactive queries between them."""
    ids, weights = _ranked()
    calls = []
    for every_s, n, priority in (
        (BATCH_EVERY_S, BATCH_QUERIES, BATCH),
        (INTERACTIVE_EVERY_S, 1, INTERACTIVE),
    ):
        at = rng.expovariate(1 / every_s)
        while at < 3600 * MIXED_HOURS:
            calls += [Call(e, at, priority) for _ in range(n) for e in recruits(rng, ids, weights)]
            at += rng.expovariate(1 / every_s)
    reference = [Call(engine_id) for _ in range(N_QUERIES) for engine_id in recruits(rng, ids, weights)]
    return Workload(engines_for(rng, ids, reference), calls)


def _ranked() -> tuple[list[str], list[float]]:
    return [f"engine-{ix:02}" for ix in range(N_ENGINES)], [1 / (ix + 1) for ix in range(N_ENGINES)]


def recruits(rng: random.Random, ids: Sequence[str], weights: Sequence[float]) -> list[str]:
    """Distinct engines by weight: those with the largest u^(1/w) (Efraimidis and Spirakis 2006)."""
    keys = {engine_id: rng.random() ** (1 / w) for engine_id, w in zip(ids, weights, strict=True)}
    return heapq.nlargest(EXPERTS_PER_QUERY, ids, key=keys.__getitem__)


def engines_for(rng: random.Random, ids: Sequence[str], calls: Sequence[Call]) -> dict[str, Engine]:
    """Engines of random speed, scaled so that these calls take twice as long as one load of each."""
    loads = {engine_id: rng.uniform(*LOAD_S) for engine_id in ids}
    slowness = {engine_id: rng.uniform(*SPEED) for engine_id in ids}
    scale = WORK_OVER_LOADS * sum(loads.values()) / sum(slowness[call.engine_id] for call in calls)
    return {e: Engine(e, loads[e], slowness[e] * scale) for e in ids}


def right_estimates(workload: Workload) -> Estimates:
    return Estimates(dict.fromkeys(workload.engines, 1.0), measured=True)


def wrong_estimates(rng: random.Random, workload: Workload) -> Estimates:
    """Spread evenly in the logarithm."""
    low, high = (math.log(x) for x in MIS_ESTIMATED)
    return Estimates({e: math.exp(rng.uniform(low, high)) for e in workload.engines}, measured=False)


# ── figures ───────────────────────────────────────────────────────────────────────────────────────


class Run(NamedTuple):
    """`ratio`: makespan over the largest bound that is known; `quick_ratio`: over that which plans tell."""

    makespan_s: float
    ratio: float
    quick_ratio: float
    n_loads: int


def equal(n_devices: int) -> Site:
    """Devices of speed 1 that load or work."""
    return Site([STANDARD] * n_devices)


def unequal(n_devices: int) -> Site:
    """A quarter large devices, a quarter medium ones, half small ones."""
    return Site([KINDS[ix % len(KINDS)] for ix in range(n_devices)])


def hiding(n_devices: int) -> Site:
    """Devices of speed 1 that load the next engine while they work."""
    return Site([STANDARD] * n_devices, hides=True)


def right(seed: int, n_devices: int, *, site: Callable[[int], Site] = equal) -> Run:
    workload = batch_workload(random.Random(seed))
    return _run(workload, site(n_devices), right_estimates(workload))


def wrong(seed: int, n_devices: int, *, site: Callable[[int], Site] = equal) -> Run:
    rng = random.Random(seed)
    workload = batch_workload(rng)
    return _run(workload, site(n_devices), wrong_estimates(rng, workload))


def _run(workload: Workload, site: Site, estimates: Estimates) -> Run:
    result = Simulation(workload, site=site, estimates=estimates).run()
    bounds_s = site.bound_s(workload), site.quick_bound_s(workload)
    return Run(result.makespan_s, *(result.makespan_s / bound_s for bound_s in bounds_s), result.n_loads)


def deaths(seed: int, n_devices: int, *, liveness: Liveness = AT_DEFAULTS) -> Run:
    rng = random.Random(seed)
    workload = batch_workload(rng)
    alive = lower_bound_s(workload.families, n_devices=n_devices)
    n_dying = max(1, round(DEATH_SHARE * n_devices))
    sweepers = random.Random(seed)
    since = tuple(sweepers.uniform(0, liveness.sweep_s) for _ in range(1 + n_devices - n_dying))
    liveness = liveness._replace(sweeps_from_s=since)
    dies_s = [rng.uniform(0, alive) for _ in range(n_dying)] + [math.inf] * (n_devices - n_dying)
    estimates, site = right_estimates(workload), equal(n_devices)
    result = Simulation(workload, site=site, deaths=dies_s, estimates=estimates, liveness=liveness).run()
    bound = bound_by_area_s(
        workload.families,
        area_s=lambda seconds: sum(min(seconds, dies) for dies in dies_s),
        at_least=alive,
    )
    ratio = result.makespan_s / bound
    return Run(result.makespan_s, ratio, ratio, result.n_loads)


def mixed(seed: int) -> Result:
    workload = mixed_workload(random.Random(seed))
    estimates, site = right_estimates(workload), equal(MIXED_DEVICES)
    return Simulation(workload, site=site, estimates=estimates, max_wait_s=MIXED_MAX_WAIT_S).run()


def means(
    name: str, run: Callable[[int, int], Run], devices: Sequence[int], *, seeds: Sequence[int]
) -> dict[str, float]:
    """Mean ratio by number of devices, said on the way with the worst."""
    found = {}
    for n_devices in devices:
        runs = [run(seed, n_devices) for seed in seeds]
        ratios = [r.ratio for r in runs]
        loads = statistics.mean(r.n_loads for r in runs)
        quick = statistics.mean(r.quick_ratio for r in runs)
        found[str(n_devices)] = round(statistics.mean(ratios), 4)
        progress(
            f"{name:20} {n_devices:2} devices: mean {statistics.mean(ratios):.3f}, "
            f"worst {max(ratios):.3f}, {loads:.1f} loads; over the quick bound {quick:.3f}"
        )
    return found


def efficiency_4(seeds: Sequence[int]) -> float:
    return statistics.mean(right(seed, 1).makespan_s / (4 * right(seed, 4).makespan_s) for seed in seeds)


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs per figure (default 5)")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args(argv)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    several = [n for n in DEVICES if n > 1]
    rows: dict[str, tuple[Callable[[int, int], Run], Sequence[int]]] = {
        "right": (right, DEVICES),
        "wrong": (wrong, DEVICES),
        "deaths": (deaths, several),
        "unequal": (partial(right, site=unequal), several),
        "unequal_wrong": (partial(wrong, site=unequal), several),
        "hiding": (partial(right, site=hiding), DEVICES),
        "hiding_wrong": (partial(wrong, site=hiding), DEVICES),
    }
    figures: dict[str, object] = {
        name: means(name, run, devices, seeds=seeds) for name, (run, devices) in rows.items()
    }
    figures["efficiency_4"] = round(efficiency_4(seeds), 4)
    waits = [mixed(seed) for seed in seeds]
    n_starved = sum(wait.n_starved for wait in waits)
    progress(f"mixed load: {sum(wait.n_loads for wait in waits)} loads, {n_starved} of them by starvation")
    figures["oldest_wait_over_bound_s"] = round(max(wait.over_bound_s for wait in waits), 3)
    finish(figures)


if __name__ == "__main__":
    main()
