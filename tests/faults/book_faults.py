"""Large jobs that end early beside others, and a database whose clock is set while work is under way."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fakes.clocks import SHIM
from tests.faults.pools import scripted
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, Lab, World, living
from tests.harness.waiting import becomes_true, let_pass

TWO = (scripted("alpha"), scripted("beta"))
N_LARGE = 8_000
BOUND_S = 90.0
HOUR_S = 3600
LONGEST_S = 5.0
"""Of a transaction that ends a part of a large job, on a busy machine."""


def overdue_large(lab: Lab, report: Report) -> None:
    """Three large jobs reach their deadlines together, while another runs."""
    with living(lab, report, (scripted("alpha"),), workers=2) as world:
        large = [world.submit(N_LARGE, start=N_LARGE * n, deadline_s=10) for n in range(3)]
        small = world.submit(start=100_000)
        longest_s = 0.0

        def all_over() -> bool:
            nonlocal longest_s
            longest_s = max(longest_s, _longest_transaction_s(world))
            return all(world.counters(job).state == "expired" for job in large)

        report.expect("I4 they expire", becomes_true(all_over, within_s=BOUND_S))
        report.note(f"the longest transaction took {longest_s:.1f} s")
        report.expect("in transactions of bounded size", longest_s < LONGEST_S, seen=round(longest_s, 1))
        report.expect("I4 the job beside them ends", world.ends(small, within_s=BOUND_S))
        counts = world.counters(small)
        report.expect("and is answered as a whole", counts.completed == counts.total, seen=counts)
        for job in large:
            codes = Counter(answer.get("error_code") for answer in world.stored_answers(job))
            report.expect(
                "what was open says batch_expired", set(codes) <= {None, "batch_expired"}, seen=codes
            )
        report.expect("all processes live", all(p.is_alive for p in world.processes))


def cancelled_large(lab: Lab, report: Report) -> None:
    """A large job is cancelled amid its work, with another behind it."""
    with living(lab, report, (scripted("alpha", delay_s=1.0),), workers=2) as world:
        large = world.submit(2 * N_LARGE)
        world.await_responses(large, 1)
        small = world.submit(start=100_000)
        began = time.monotonic()
        reply = world.post(f"/v1/jobs/{large}/cancel", {})
        took_s = time.monotonic() - began
        report.note(f"the cancellation was answered after {1e3 * took_s:.0f} ms")
        state = reply.json()["state"]
        report.expect("its status says so at once", state in ("cancelling", "cancelled"), seen=state)
        quiet = becomes_true(lambda: not _n_leased(world, large), within_s=10)
        report.expect("engines let go of it", quiet)
        report.expect("I4 it is cancelled", world.ends(large, within_s=BOUND_S))
        counts = world.counters(large)
        report.expect("as cancelled", counts.state == "cancelled", seen=counts)
        report.expect("I4 the job behind it ends", world.ends(small, within_s=BOUND_S))
        counts = world.counters(small)
        report.expect("and is answered as a whole", counts.completed == counts.total, seen=counts)
        left = world.value("SELECT coalesce(sum(n_waiting + n_leased), 0) FROM engine_work")
        report.expect("nothing counts as work any more", left == 0, seen=left)


def clock_forward(lab: Lab, report: Report) -> None:
    with _clocked(lab, report) as world:
        job = world.submit(2 * N_QUERIES)
        world.await_responses(job, 1)
        world.await_lease()
        _set_clock(world, HOUR_S)
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        _all_answered_at_once(world, report, job)
        _set_clock(world, 0)
        again = world.submit(start=10_000)
        report.expect("I4 a job after the clock was put right ends", world.ends(again, within_s=BOUND_S))
        _all_answered_at_once(world, report, again)


def clock_back(lab: Lab, report: Report) -> None:
    """And a worker stands still from then on, with leases that would last for an hour."""
    with _clocked(lab, report) as world:
        job = world.submit(2 * N_QUERIES)
        world.await_responses(job, 1)
        victim = world.await_holder()
        victim.signal_all(signal.SIGSTOP)
        held = world.n_leased(victim)
        _set_clock(world, -HOUR_S)
        report.expect("it held leases", held, seen=held)
        taken = becomes_true(lambda: not world.n_leased(victim), within_s=BOUND_S)
        report.expect("they are taken over although its leases would last for an hour", taken)
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        counts = world.counters(job)
        report.expect("every query answered", counts.completed == counts.total, seen=counts)


@contextmanager
def _clocked(lab: Lab, report: Report) -> Iterator[World]:
    """A world whose database's clock can be set."""
    with living(lab, report, TWO, workers=2, start=False) as world:
        for statement in SHIM:
            world.sql_do(statement)
        world.sql_do(f"ALTER DATABASE {world.name} SET search_path = public, shim, pg_catalog")
        world.start()
        world.prober.start()
        yield world


def _set_clock(world: World, off_s: float) -> None:
    world.sql_do(f"UPDATE shim.step SET s = {off_s}")
    let_pass(1)


def _all_answered_at_once(world: World, report: Report, job: str) -> None:
    counts = world.counters(job)
    report.expect("every query answered", counts.completed == counts.total, seen=counts)
    attempts = world.value(
        "SELECT max(attempt) FROM assignment a JOIN job j ON j.pk = a.job_pk WHERE j.id = %s", job
    )
    report.expect("no attempt was burnt", attempts == 1, seen=attempts)
    report.expect("nothing was generated twice", counts.regenerated == 0, seen=counts)


def _n_leased(world: World, job: str) -> int:
    return int(
        world.value(
            "SELECT count(*) FROM assignment a JOIN job j ON j.pk = a.job_pk"
            " WHERE j.id = %s AND a.state = 'leased'",
            job,
        )
    )


def _longest_transaction_s(world: World) -> float:
    """Of those that write, at the moment."""
    return float(
        world.value(
            "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)"
            " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_xid IS NOT NULL AND query NOT LIKE 'COPY query%%'"
        )
    )
