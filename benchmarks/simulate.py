"""The scheduler against its lower bound, on a simulated clock: `python -m benchmarks.simulate`.

The decisions are the production ones (`choose_engine`, `shard_size`); what is simulated is the clock,
the devices and the books. A run has 16 engines and 10,000 queries, each sent to 3 distinct engines by
Zipf's law and answered by vote (no model call after the experts). Loads take 15 to 60 s, an engine's
calls take equally long, and all work is twice all loads. Devices claim shards of at most 5 s, look at
the books every second while they have nothing to do, announce what they load, and share what they
measure after each shard.

ratio = makespan / the largest lower bound for the true lengths and the device-seconds there were.
The last line is one JSON object with the means over the seeds.
"""

import argparse
import heapq
import json
import math
import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.batching import EngineChoice, Family, Rates, choose_engine, lower_bound_s, shard_size
from orchestrator.batching.bounds import bound_by_area_s
from orchestrator.domain.assignments import BATCH, INTERACTIVE, EngineBacklog

N_ENGINES = 16
N_QUERIES = 10_000
EXPERTS_PER_QUERY = 3
LOAD_S = (15.0, 60.0)
WORK_OVER_LOADS = 2.0
MIS_ESTIMATED = (0.3, 3.0)
TOKENS_PER_CALL = 100
SHARD_S = 5.0
LOOK_S = 1.0
SEEN_S = 30.0
LEASE_S = 60.0
RATE_WEIGHT = 0.5
DEATH_SHARE = 1 / 8

DEVICES = (1, 4, 8, 64)


class Engine(NamedTuple):
    """True costs: seconds of a load and of one call."""

    id: str
    load_s: float
    call_s: float


class Call(NamedTuple):
    engine_id: str
    created_s: float
    priority: int = BATCH


class Workload(NamedTuple):
    engines: Mapping[str, Engine]
    calls: Sequence[Call]

    @property
    def families(self) -> list[Family]:
        n_calls = {engine_id: 0 for engine_id in self.engines}
        for call in self.calls:
            n_calls[call.engine_id] += 1
        return [Family(e.load_s, e.call_s * n_calls[e.id]) for e in self.engines.values() if n_calls[e.id]]


class Result(NamedTuple):
    """`n_starved` counts seats taken because of the starvation bound; `over_bound_s` is by how much it
    was missed at worst."""

    makespan_s: float
    n_loads: int
    n_starved: int
    over_bound_s: float


@dataclass
class Device:
    """What a device is up to: `busy` with a load and/or a shard until its next event."""

    id: int
    dies_s: float = math.inf
    engine_id: str | None = None
    loading_since: float | None = None
    seat_s: float = 0.0
    shard: list[Call] = field(default_factory=list)


class Simulation:
    """Devices that drain a workload; one event at a time, decisions by the production functions."""

    def __init__(
        self,
        workload: Workload,
        *,
        deaths: Sequence[float],
        guess: Mapping[str, float],
        max_wait_s: float = math.inf,
        lease_s: float = LEASE_S,
        seen_s: float = SEEN_S,
    ) -> None:
        """`deaths`: when each device dies; `guess`: estimated over true length by engine."""
        self._engines = workload.engines
        self._devices = [Device(ix, dies_s) for ix, dies_s in enumerate(deaths)]
        self._max_wait_s = max_wait_s
        self._lease_s = lease_s
        self._seen_s = seen_s
        self._rates = Rates(
            {e.id: e.load_s for e in self._engines.values()},
            {e.id: TOKENS_PER_CALL / (e.call_s * guess[e.id]) for e in self._engines.values()},
        )
        self._waiting: dict[str, list[Call]] = {e: [] for e in self._engines}
        self._measured: set[str] = set()
        self._left_s: dict[str, float] = {}
        self._n_left = len(workload.calls)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._n_events = 0
        self._n_loads = 0
        self._n_starved = 0
        self._finished_s = 0.0
        self._allowed_s: dict[str, float] = {}
        self._over_bound_s = -math.inf
        arrivals: dict[float, list[Call]] = {}
        for call in workload.calls:
            arrivals.setdefault(call.created_s, []).append(call)
        for at, calls in arrivals.items():
            self._at(at, lambda _, calls=calls: self._arrive(calls))
        for device in self._devices:
            self._at(0.0, lambda now, device=device: self._free(device, now))

    def run(self) -> Result:
        while self._n_left:
            now, _, event = heapq.heappop(self._events)
            event(now)
        return Result(self._finished_s, self._n_loads, self._n_starved, self._over_bound_s)

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        self._n_events += 1
        heapq.heappush(self._events, (when, self._n_events, event))

    def _arrive(self, calls: Iterable[Call]) -> None:
        for call in calls:
            self._waiting[call.engine_id].append(call)

    def _free(self, device: Device, now: float) -> None:
        """The device looks for work; it looks again later when there is none for it."""
        if now >= device.dies_s:
            return
        seen = [d for d in self._devices if now < d.dies_s + self._seen_s]
        backlog = self._backlog(device, seen, now)
        choice = choose_engine(
            backlog,
            resident=device.engine_id,
            max_wait_s=self._max_wait_s,
            resident_s=now - device.seat_s,
            rates=self._rates,
            n_devices=len(seen),
        )
        if choice is None:
            self._at(now + LOOK_S, lambda at: self._free(device, at))
        elif choice.engine_id == device.engine_id:
            self._claim(device, now)
        else:
            self._load(device, choice, now)

    def _load(self, device: Device, choice: EngineChoice, now: float) -> None:
        self._n_loads += 1
        self._n_starved += choice.reason.startswith("waited")
        if device.engine_id is not None:
            self._left_s[device.engine_id] = now
        device.engine_id, device.loading_since = choice.engine_id, now
        done_s = now + self._engines[choice.engine_id].load_s
        self._at(done_s, lambda at: self._seated(device, at))

    def _seated(self, device: Device, now: float) -> None:
        if now < device.dies_s:
            device.loading_since, device.seat_s = None, now
            self._claim(device, now)

    def _claim(self, device: Device, now: float) -> None:
        engine = self._engines[device.engine_id or ""]
        queue = self._waiting[engine.id]
        if not queue:
            self._free(device, now)
            return
        limit = shard_size(
            per_s=1 / engine.call_s,
            target_s=SHARD_S,
            low=16,
            high=10**6,
            n_waiting=len(queue),
            n_devices=sum(d.engine_id == engine.id and now < d.dies_s + self._seen_s for d in self._devices),
        )
        device.shard, self._waiting[engine.id] = queue[:limit], queue[limit:]
        done_s = now + engine.call_s * len(device.shard)
        if done_s >= device.dies_s:
            self._at(device.dies_s + self._lease_s, lambda _: self._arrive(device.shard))
        else:
            self._at(done_s, lambda at: self._done(device, at))

    def _done(self, device: Device, now: float) -> None:
        engine = self._engines[device.engine_id or ""]
        rate = TOKENS_PER_CALL / engine.call_s
        rates = dict(self._rates.tokens_per_s)
        rates[engine.id] += (RATE_WEIGHT if engine.id in self._measured else 1.0) * (rate - rates[engine.id])
        self._measured.add(engine.id)
        self._rates = self._rates._replace(tokens_per_s=rates)
        self._n_left -= len(device.shard)
        device.shard = []
        self._finished_s = now
        self._free(device, now)

    def _backlog(self, device: Device, seen: Sequence[Device], now: float) -> list[EngineBacklog]:
        """What the store tells this device."""
        others = [d for d in seen if d is not device]
        rows = []
        for engine_id, queue in self._waiting.items():
            if not queue:
                continue
            there = [d for d in others if d.engine_id == engine_id]
            n_leased = sum(len(d.shard) for d in self._devices if d.engine_id == engine_id)
            rows.append(
                EngineBacklog(
                    engine_id=engine_id,
                    n_waiting=len(queue),
                    est_tokens=TOKENS_PER_CALL * len(queue),
                    oldest_wait_s=now - min(call.created_s for call in queue),
                    top_priority=max(call.priority for call in queue),
                    n_devices_elsewhere=len(there),
                    loading_s=tuple(now - d.loading_since for d in there if d.loading_since is not None),
                    n_leased=n_leased,
                    leased_tokens=TOKENS_PER_CALL * n_leased,
                    unserved_s=now - self._left_s.get(engine_id, -math.inf),
                )
            )
        return rows


def batch_workload(rng: random.Random) -> Workload:
    ids = [f"engine-{ix:02}" for ix in range(N_ENGINES)]
    weights = [1 / (rank + 1) for rank in range(N_ENGINES)]
    loads = [rng.uniform(*LOAD_S) for _ in ids]
    speeds = [rng.uniform(0.5, 2.0) for _ in ids]
    calls = [Call(engine_id, 0.0) for _ in range(N_QUERIES) for engine_id in recruits(rng, ids, weights)]
    n_calls = {engine_id: 0 for engine_id in ids}
    for call in calls:
        n_calls[call.engine_id] += 1
    raw_s = sum(speed * n_calls[engine_id] for engine_id, speed in zip(ids, speeds, strict=True))
    scale = WORK_OVER_LOADS * sum(loads) / raw_s
    engines = [Engine(e, load, speed * scale) for e, load, speed in zip(ids, loads, speeds, strict=True)]
    return Workload({engine.id: engine for engine in engines}, calls)


def recruits(rng: random.Random, ids: Sequence[str], weights: Sequence[float]) -> list[str]:
    """Distinct engines by weight (Efraimidis and Spirakis: the largest keys u^(1/w))."""
    keys = {engine_id: rng.random() ** (1 / w) for engine_id, w in zip(ids, weights, strict=True)}
    return heapq.nlargest(EXPERTS_PER_QUERY, ids, key=keys.__getitem__)


def guesses(rng: random.Random, workload: Workload, *, wrong: bool) -> dict[str, float]:
    """Estimated over true length by engine, spread evenly in the logarithm."""
    low, high = (math.log(x) for x in MIS_ESTIMATED)
    return {e: math.exp(rng.uniform(low, high)) if wrong else 1.0 for e in workload.engines}


def ratio(workload: Workload, *, n_devices: int, rng: random.Random, wrong: bool, deadly: bool, lease_s: float, seen_s: float) -> float:
    bound = lower_bound_s(workload.families, n_devices=n_devices)
    deaths = [math.inf] * n_devices
    if deadly:
        for ix in range(max(1, round(DEATH_SHARE * n_devices))):
            deaths[ix] = rng.uniform(0, bound)
        bound = bound_by_area_s(
            workload.families, area_s=lambda c: sum(min(c, dies_s) for dies_s in deaths), at_least=bound
        )
    result = Simulation(workload, deaths=deaths, guess=guesses(rng, workload, wrong=wrong), lease_s=lease_s, seen_s=seen_s).run()
    return result.makespan_s / bound


def ratios(case: str, *, n_devices: int, seeds: int, lease_s: float, seen_s: float) -> list[float]:
    """One ratio per seed; `case` is right, wrong or deaths."""
    return [
        ratio(
            batch_workload(random.Random(seed)),
            n_devices=n_devices,
            rng=random.Random(f"{case} {n_devices} {seed}"),
            wrong=case == "wrong",
            deadly=case == "deaths",
            lease_s=lease_s, seen_s=seen_s,
        )
        for seed in range(seeds)
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=["right", "wrong", "deaths"])
    parser.add_argument("--devices", nargs="+", type=int, default=list(DEVICES))
    parser.add_argument("--lease-s", type=float, default=LEASE_S)
    parser.add_argument("--seen-s", type=float, default=SEEN_S)
    args = parser.parse_args(argv)
    for case in args.cases:
        for n_devices in args.devices:
            if n_devices == 1 and case == "deaths":
                continue
            found = ratios(case, n_devices=n_devices, seeds=args.seeds, lease_s=args.lease_s, seen_s=args.seen_s)
            print(f"{case:8} {n_devices:3} devices: mean {statistics.mean(found):.3f}, worst {max(found):.3f}", flush=True)


if __name__ == "__main__":
    main()
