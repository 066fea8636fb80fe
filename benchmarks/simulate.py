"""The scheduler against its lower bound, on a simulated clock: `python -m benchmarks.simulate`.

The decisions are the production ones (`choose_engine`, `shard_size`); what is simulated is the clock,
the devices and the books. A run has 16 engines and 10,000 queries, each sent to 3 distinct engines by
Zipf's law and answered by vote (no model call after the experts). Loads take 15 to 60 s, calls of one
engine take equally long, and all work is twice all loads. Devices claim shards of at most 5 s, announce
what they load, share what they measured after each shard, and look at the books every second while
there is nothing for them; all of these times, and those below, are the product's defaults.

    right         rates measured before; 1, 4, 8 and 64 devices
    wrong         nothing measured, lengths mis-estimated by 0.3 to 3 per engine
    deaths        right, and one device in eight dies at a random moment of the run, on a host of its own,
                  so that nobody can look whether its process lives: it counts as alive until its last
                  report is LIVE_S old, and its shard comes back at the first sweep after its lease ended
    efficiency_4  T1 / (4 T4), T the makespan with right estimates
    oldest_wait_over_bound_s
                  two hours of batches and interactive queries on 4 devices: seconds by which an engine
                  waited longer than max_wait_s + the running load or shard + loads and shards of starved
                  engines ahead + its own load; the worst

Ratios are makespan / the largest lower bound for the true lengths and for the device-seconds that there
were, means over the seeds. The last line is one JSON object with these keys.
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
    EngineChoice,
    Family,
    Rates,
    bound_by_area_s,
    choose_engine,
    lower_bound_s,
    shard_size,
)
from orchestrator.domain.assignments import BATCH, INTERACTIVE, EngineBacklog
from orchestrator.domain.devices import LIVE_S
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
DEATH_SHARE = 1 / 8
DEVICES = (1, 4, 8, 64)

MIXED_DEVICES = 4
MIXED_HOURS = 2
MIXED_MAX_WAIT_S = 1000.0
BATCH_EVERY_S, BATCH_QUERIES = 60.0, 900
INTERACTIVE_EVERY_S = 120.0


class Engine(NamedTuple):
    """True costs: seconds of a load and of one call."""

    id: str
    load_s: float
    call_s: float


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
        return [Family(e.load_s, e.call_s * n_calls[e.id]) for e in self.engines.values() if n_calls[e.id]]


class Estimates(NamedTuple):
    """Estimated over true length by engine, and whether rates were measured before the run."""

    length: Mapping[str, float]
    measured: bool


class Liveness(NamedTuple):
    """How the others find out that a device died; seconds. See docs/decisions/0013.

    Reports and sweeps fall on multiples of their intervals, renewals follow the claim. Only one process
    sweeps: with several, each at times of its own, sweeps come sooner.
    """

    report_s: float = DEFAULT_PACE.report_s
    live_s: float = LIVE_S
    lease_s: float = DEFAULTS.lease_s
    sweep_s: float = DEFAULTS.sweep_s

    def seen_until(self, dies_s: float) -> float:
        """Until when a device counts as alive; inf for one that never dies."""
        return _last(dies_s, every_s=self.report_s) + self.live_s

    def returned_at(self, *, claimed_s: float, dies_s: float) -> float:
        """When what it claimed last is in the queue again."""
        renewed_s = claimed_s + _last(dies_s - claimed_s, every_s=DEFAULT_PACE.renewal_s(self.lease_s))
        return math.ceil((renewed_s + self.lease_s) / self.sweep_s) * self.sweep_s


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
class Device:
    """What a device is up to; `busy_until_s` is when it looks for work next."""

    dies_s: float = math.inf
    engine_id: str | None = None
    loading_since_s: float | None = None
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
    """Devices that drain a workload, event by event, each decision by the production functions."""

    def __init__(
        self,
        workload: Workload,
        *,
        deaths: Sequence[float],
        estimates: Estimates,
        liveness: Liveness = AT_DEFAULTS,
        max_wait_s: float = math.inf,
    ) -> None:
        """`deaths`: when each device dies; inf = it does not."""
        self._engines = workload.engines
        self._devices = [Device(dies_s=dies_s) for dies_s in deaths]
        self._liveness = liveness
        self._max_wait_s = max_wait_s
        self._tokens = {e.id: self._true_rate(e, estimates) * e.call_s for e in self._engines.values()}
        self._true_rates = {e.id: self._true_rate(e, estimates) for e in self._engines.values()}
        self._load_s = {e.id: e.load_s for e in self._engines.values()}
        self._measured = dict(self._true_rates) if estimates.measured else {}
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

    def _free(self, device: Device, now: float) -> None:
        """It looks for work, and again later when there is none for it."""
        if now >= device.dies_s:
            return
        choice = choose_engine(
            self._backlog(device, now),
            resident=device.engine_id,
            max_wait_s=self._max_wait_s,
            resident_s=now - device.seated_s,
            rates=Rates(self._load_s, self._measured),
            n_devices=len(self._seen(now)),
            n_engines=len(self._queues),
        )
        if choice is None:
            self._busy(device, now + DEFAULT_PACE.look_s, self._free)
        elif choice.engine_id == device.engine_id:
            self._claim(device, now)
        else:
            self._load(device, choice, now)

    def _load(self, device: Device, choice: EngineChoice, now: float) -> None:
        self._n_loads += 1
        self._n_starved += choice.reason.startswith("waited")
        if device.engine_id is not None:
            self._left_s[device.engine_id] = now
        device.engine_id, device.loading_since_s = choice.engine_id, now
        self._busy(device, now + self._engines[choice.engine_id].load_s, self._seated)
        device.busy_until_s += DEFAULTS.shard_s

    def _seated(self, device: Device, now: float) -> None:
        if now < device.dies_s:
            device.loading_since_s, device.seated_s = None, now
            self._claim(device, now)

    def _claim(self, device: Device, now: float) -> None:
        engine = self._engines[device.engine_id or ""]
        queue = self._queues[engine.id]
        if not queue:
            self._free(device, now)
            return
        self._over_bound_s = max(self._over_bound_s, now - self._due_s.pop(engine.id, math.inf))
        limit = shard_size(
            per_s=1 / engine.call_s if engine.id in self._measured else None,
            target_s=DEFAULTS.shard_s,
            low=DEFAULT_PACE.min_shard,
            high=len(queue) + DEFAULT_PACE.min_shard,
            n_waiting=len(queue),
            n_devices=sum(d.engine_id == engine.id for d in self._seen(now)),
        )
        device.shard = queue.take(limit)
        done_s = now + engine.call_s * len(device.shard)
        if done_s >= device.dies_s:
            back_s = self._liveness.returned_at(claimed_s=now, dies_s=device.dies_s)
            self._at(back_s, partial(self._arrive, device.shard))
        else:
            self._busy(device, done_s, self._done)

    def _done(self, device: Device, now: float) -> None:
        engine_id = device.engine_id or ""
        self._measured[engine_id] = self._true_rates[engine_id]
        self._n_left -= len(device.shard)
        device.shard = []
        self._free(device, now)

    def _busy(self, device: Device, until_s: float, then: Callable[[Device, float], None]) -> None:
        device.busy_until_s = until_s
        self._at(until_s, partial(then, device))

    # ── the books ─────────────────────────────────────────────────────────────────────────────────

    def _seen(self, now: float) -> list[Device]:
        return [d for d in self._devices if now < self._liveness.seen_until(d.dies_s)]

    def _backlog(self, device: Device, now: float) -> list[EngineBacklog]:
        """What the store tells this device."""
        there: dict[str | None, list[Device]] = {}
        for other in self._seen(now):
            if other is not device:
                there.setdefault(other.engine_id, []).append(other)
        return [
            self._row(engine_id, queue, there.get(engine_id, []), now)
            for engine_id, queue in self._queues.items()
            if queue
        ]

    def _row(self, engine_id: str, queue: Queue, there: Sequence[Device], now: float) -> EngineBacklog:
        n_leased = sum(len(d.shard) for d in there)
        return EngineBacklog(
            engine_id=engine_id,
            n_waiting=len(queue),
            est_tokens=round(self._tokens[engine_id] * len(queue)),
            oldest_wait_s=now - queue.oldest_s,
            top_priority=queue.top_priority,
            n_devices_elsewhere=len(there),
            n_leased=n_leased,
            leased_tokens=round(self._tokens[engine_id] * n_leased),
            loading_s=tuple(now - d.loading_since_s for d in there if d.loading_since_s is not None),
            unserved_s=now - self._left_s.get(engine_id, -math.inf),
        )

    def _note_starved(self, now: float) -> None:
        """Until when each engine that began to starve since the last event must be served."""
        if self._max_wait_s == math.inf:
            return
        served = {device.engine_id for device in self._devices}
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
    makespan_s: float
    ratio: float
    n_loads: int


def right(seed: int, n_devices: int) -> Run:
    workload = batch_workload(random.Random(seed))
    return _run(workload, [math.inf] * n_devices, right_estimates(workload))


def wrong(seed: int, n_devices: int) -> Run:
    rng = random.Random(seed)
    workload = batch_workload(rng)
    return _run(workload, [math.inf] * n_devices, wrong_estimates(rng, workload))


def deaths(seed: int, n_devices: int, *, liveness: Liveness = AT_DEFAULTS) -> Run:
    rng = random.Random(seed)
    workload = batch_workload(rng)
    bound = lower_bound_s(workload.families, n_devices=n_devices)
    n_dying = max(1, round(DEATH_SHARE * n_devices))
    dying = [rng.uniform(0, bound) for _ in range(n_dying)]
    dies_s = dying + [math.inf] * (n_devices - n_dying)
    return _run(workload, dies_s, right_estimates(workload), liveness=liveness)


def _run(
    workload: Workload, dies_s: Sequence[float], estimates: Estimates, *, liveness: Liveness = AT_DEFAULTS
) -> Run:
    result = Simulation(workload, deaths=dies_s, estimates=estimates, liveness=liveness).run()
    bound = bound_by_area_s(
        workload.families,
        area_s=lambda seconds: sum(min(seconds, dies) for dies in dies_s),
        at_least=lower_bound_s(workload.families, n_devices=len(dies_s)),
    )
    return Run(result.makespan_s, result.makespan_s / bound, result.n_loads)


def mixed(seed: int) -> Result:
    workload = mixed_workload(random.Random(seed))
    never = [math.inf] * MIXED_DEVICES
    estimates = right_estimates(workload)
    return Simulation(workload, deaths=never, estimates=estimates, max_wait_s=MIXED_MAX_WAIT_S).run()


def means(
    name: str, run: Callable[[int, int], Run], devices: Sequence[int], *, n_seeds: int
) -> dict[str, float]:
    """Mean ratio by number of devices, said on the way with the worst."""
    found = {}
    for n_devices in devices:
        runs = [run(seed, n_devices) for seed in range(n_seeds)]
        ratios = [r.ratio for r in runs]
        loads = statistics.mean(r.n_loads for r in runs)
        found[str(n_devices)] = round(statistics.mean(ratios), 4)
        progress(
            f"{name:20} {n_devices:2} devices: mean {statistics.mean(ratios):.3f}, "
            f"worst {max(ratios):.3f}, {loads:.1f} loads"
        )
    return found


def efficiency_4(n_seeds: int) -> float:
    return statistics.mean(
        right(seed, 1).makespan_s / (4 * right(seed, 4).makespan_s) for seed in range(n_seeds)
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs per figure (default 5)")
    n_seeds = parser.parse_args(argv).seeds
    several = [n for n in DEVICES if n > 1]
    figures: dict[str, object] = {
        "right": means("right", right, DEVICES, n_seeds=n_seeds),
        "wrong": means("wrong", wrong, DEVICES, n_seeds=n_seeds),
        "deaths": means("deaths", deaths, several, n_seeds=n_seeds),
        "efficiency_4": round(efficiency_4(n_seeds), 4),
    }
    waits = [mixed(seed) for seed in range(n_seeds)]
    n_starved = sum(wait.n_starved for wait in waits)
    progress(f"mixed load: {sum(wait.n_loads for wait in waits)} loads, {n_starved} of them by starvation")
    figures["oldest_wait_over_bound_s"] = round(max(wait.over_bound_s for wait in waits), 3)
    finish(figures)


if __name__ == "__main__":
    main()
