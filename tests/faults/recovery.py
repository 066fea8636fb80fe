"""Seconds until work goes on, with the default settings."""

import time

from tests.faults import checker
from tests.faults.pools import scripted
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, Lab, World, living
from tests.harness.waiting import becomes_true

POOL = (scripted("alpha", delay_s=1.0), scripted("beta", delay_s=1.0))
WORKER_BOUND_S, OTHER_HOST_BOUND_S, REDIS_BOUND_S = 15.0, 30.0, 30.0
N_ROUNDS = 2


def run(lab: Lab, report: Report) -> None:
    """After kill -9 of a worker: until what it held is under another's lease or answered. After Redis
    returned empty: until a job that was submitted then is being worked on."""
    with living(lab, report, POOL, workers=2, scheduler={}) as world:
        alone = [_worker_alone(world, n) for n in range(N_ROUNDS)]
        report.expect(
            f"a dead worker's work is taken over within {WORKER_BOUND_S:g} s",
            max(alone) <= WORKER_BOUND_S,
            seen=alone,
        )
        elsewhere = _other_host(world, start=10 * N_QUERIES)
        report.note(
            f"worker killed: {[round(s, 1) for s in alone]} s; as if on another host: {elsewhere:.1f} s"
        )
        report.expect(
            f"also one of another host, within lease and sweep: {OTHER_HOST_BOUND_S:g} s",
            elsewhere <= OTHER_HOST_BOUND_S,
            seen=elsewhere,
        )
        redis_s = _redis_emptied(world, start=20 * N_QUERIES)
        report.expect(
            f"after Redis returned empty, within {REDIS_BOUND_S:g} s", redis_s <= REDIS_BOUND_S, seen=redis_s
        )
        for job in world.acknowledged:
            report.expect("I4 every job ends", world.ends(job, within_s=180, keep_alive=True))
    report.numbers["worst_recovery_s"] = round(max(alone), 1)
    report.numbers["redis_recovery_s"] = round(redis_s, 1)


def _worker_alone(world: World, number: int) -> float:
    job = world.submit(2 * N_QUERIES, start=2 * number * N_QUERIES)
    world.await_responses(job, 1)
    victim = world.await_holder()
    victim.kill()
    seconds = _until_taken_over(world, victim.pid)
    world.start(victim)
    world.ends(job, within_s=180)
    return seconds


def _other_host(world: World, *, start: int) -> float:
    """Its owner is renamed, so that nobody can tell that its process is dead."""
    job = world.submit(2 * N_QUERIES, start=start)
    world.await_responses(job, 1)
    victim = world.await_holder()
    victim.kill()
    world.sql_do(_RENAMED.format(pid=victim.pid))
    seconds = _until_taken_over(world, victim.pid)
    world.start(victim)
    world.ends(job, within_s=180)
    return seconds


_RENAMED = (
    "UPDATE assignment SET lease_owner = 'other' || substr(lease_owner, strpos(lease_owner, '|'))"
    " WHERE state = 'leased' AND lease_owner LIKE '%|{pid}|%'"
)


def _until_taken_over(world: World, pid: int) -> float:
    died = time.monotonic()
    becomes_true(lambda: not checker.n_leased(world.db, pid=pid), within_s=180)
    return time.monotonic() - died


def _redis_emptied(world: World, *, start: int) -> float:
    world.lab.redis.kill()
    job = world.submit(start=start)
    world.lab.redis.start()
    back = time.monotonic()
    becomes_true(lambda: world.counters(job).responses, within_s=180)
    return time.monotonic() - back
