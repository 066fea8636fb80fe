"""A soak: random processes are killed with -9 at random moments, under load, and all is answered once.

A kill counts when somebody held a lease at that moment; a worker's own kill, when it held one itself.
"""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

import httpx
import psycopg

from tests.faults import checker
from tests.faults.pools import questions, scripted
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, Lab, World, living
from tests.harness.processes import Process, descendants
from tests.harness.waiting import becomes_true, let_pass

POOL = (scripted("alpha"), scripted("beta"), scripted("gamma", load_s=0.1))
N_OPEN = 3
"""Jobs that are kept running."""
BOUND_S = 180.0
WORKER_WEIGHT = 4
"""A worker is picked so much more often than the API or the beat."""


def run(lab: Lab, report: Report, *, n_cycles: int, seed: int) -> None:
    rng = random.Random(seed)
    killed: Counter[str] = Counter()
    with living(lab, report, POOL, workers=3, light=1) as world:
        load = Load(world)
        started = time.monotonic()
        while killed.total() < n_cycles and time.monotonic() - started < 20 * max(n_cycles, 10):
            load.top_up()
            victim = _pick(world, rng)
            let_pass(rng.uniform(0.05, 0.6))
            if _kill_holding(world, victim, rng):
                killed[victim.name.rstrip("0123456789")] += 1
            world.keep_alive()
        report.expect(f"{n_cycles} kills under a lease", killed.total() >= n_cycles, seen=dict(killed))
        report.note(f"{dict(killed)}, {time.monotonic() - started:.0f} s, {len(world.acknowledged)} jobs")
        unfinished = [
            job for job in world.acknowledged if not world.ends(job, within_s=BOUND_S, keep_alive=True)
        ]
        report.expect("I4 every job ends", not unfinished, seen=unfinished)
        states = Counter(state for (state,) in world.sql("SELECT state FROM job"))
        report.expect("every job is done", set(states) == {"done"}, seen=states)
        n_poisoned = world.value("SELECT count(*) FROM assignment WHERE response LIKE '%%poison%%'")
        report.note(f"{n_poisoned} calls given up after repeated deaths")
        n_failed = world.value("SELECT sum(n_failed) FROM job")
        report.expect("no query failed", n_failed == 0, seen=n_failed)
    report.numbers["kill_cycles"] = killed.total()


class Load:
    """Submits a new job whenever one has ended; what the API does not take is tried again later."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._n_submitted = 0

    def top_up(self) -> None:
        with suppress(psycopg.OperationalError):
            while self._n_open() < N_OPEN and self._submit():
                pass

    def _n_open(self) -> int:
        return sum(not checker.is_over(self._world.db, job) for job in self._world.acknowledged)

    def _submit(self) -> bool:
        asked = questions(N_QUERIES, start=self._n_submitted * N_QUERIES)
        try:
            reply = self._world.try_submit(asked, key=f"soak-{self._n_submitted}")
        except httpx.HTTPError:
            return False
        if reply.status_code != 202:
            return False
        self._world.acknowledge(reply, asked)
        self._n_submitted += 1
        return True


def _pick(world: World, rng: random.Random) -> Process:
    weights = {**dict.fromkeys(world.processes, 1), **dict.fromkeys(world.workers, WORKER_WEIGHT)}
    return rng.choices(list(weights), list(weights.values()))[0]


def _kill_holding(world: World, victim: Process, rng: random.Random) -> bool:
    """Kill a process, or only one of its children; whether that hit work under lease."""
    own = victim if victim in world.workers else None
    becomes_true(lambda: world.n_leased(own), within_s=3.0, every_s=0.01)
    if not victim.is_alive:
        return False
    children = descendants(victim.pid)
    if children and own is None and rng.random() < 0.5:
        counts = world.n_leased() > 0
        with suppress(ProcessLookupError):
            os.kill(rng.choice(children), signal.SIGKILL)
        return counts
    counts = world.n_leased(own) > 0
    victim.kill()
    return counts
