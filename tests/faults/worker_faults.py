"""Workers and engines that die, hang, or come back when nobody waits for them any more."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress

from tests.fakes.bad_server import BadServer, completion, says
from tests.faults import checker
from tests.faults.pools import questions, scripted, served
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, QUICK, Lab, World, living
from tests.harness.processes import descendants
from tests.harness.waiting import becomes_true, let_pass, wait_for

TWO = (scripted("alpha"), scripted("beta"))
BOUND_S = 60.0
LEASE_S = float(str(QUICK["lease_s"]))


def kill_worker(lab: Lab, report: Report) -> None:
    with living(lab, report, TWO, workers=2) as world:
        job = world.submit()
        world.await_responses(job, 1)
        victim = world.await_holder()
        victim.kill()
        committed, n_lines = checker.responded(world.db), len(checker.generated(world.engine_log))
        report.expect("a lease was held at the kill", world.n_leased(victim))
        died = time.monotonic()
        resumed = becomes_true(lambda: not world.n_leased(victim), within_s=BOUND_S)
        report.expect("its leases are taken over within 60 s", resumed)
        report.note(f"leases taken over after {time.monotonic() - died:.1f} s")
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        _not_generated_again(world, report, job, committed, n_lines)


def kill_child(lab: Lab, report: Report) -> None:
    """The pool child of a light worker takes steps, the device worker does not."""
    with living(lab, report, TWO, workers=0, light=1) as world:
        device = world.device_worker("worker1")
        world.workers.append(device)
        world.start(device)
        job = world.submit()
        n_killed = 0
        for n_responses in (1, N_QUERIES // 2, N_QUERIES):
            world.await_responses(job, n_responses)
            children = descendants(world.light[0].pid)
            n_killed += len(children)
            for child in children:
                _kill_quietly(child)
        report.expect("children were killed", n_killed)
        report.expect("the parent lives on", world.light[0].is_alive)
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        again = world.submit(start=N_QUERIES)
        report.expect("I4 a later job ends too", world.ends(again, within_s=BOUND_S))


def kill_before_commit(lab: Lab, report: Report) -> None:
    """A server counts what it was asked: the worker dies after answers, before they are committed."""
    act = says(completion("The answer is (A)."))

    def slowly(handler: object) -> None:
        time.sleep(0.05)
        act(handler)  # type: ignore[arg-type]

    with BadServer(slowly) as server:
        pool = (served("remote", server.url, max_concurrent=8, stream=False),)
        with living(
            lab, report, pool, workers=1, compositions={"vote": {"router": "all", "aggregator": "first"}}
        ) as world:
            job = world.submit()
            worker = world.workers[0]
            wait_for(
                "answers that are not committed", lambda: _n_uncommitted(world, server, job) > 4, within_s=30
            )
            worker.kill()
            before, stored = server.asked, world.counters(job).responses
            report.expect("answered, not committed at the kill", before > stored, seen=(before, stored))
            worker.start()
            report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
            asked = Counter(str(body["messages"]) for body in server.bodies)
            most = max(asked.values())
            report.expect("at most one repeated call per query", most <= 2, seen=most)
            report.expect("every query was asked", len(asked) == N_QUERIES, seen=len(asked))


def kill_after_commit(lab: Lab, report: Report) -> None:
    """Steps are committed and the bell that woke them is not acknowledged: it rings again."""
    with living(lab, report, TWO, workers=1, light=1) as world:
        job = world.submit()
        world.await_responses(job, N_QUERIES)
        wait_for("an answer is committed", lambda: world.counters(job).completed, within_s=30, every_s=0.005)
        world.light[0].kill()
        report.note(f"{world.counters(job).completed} of {N_QUERIES} answers were committed at the kill")
        world.light[0].start()
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        counts = world.counters(job)
        report.expect("redelivery generated nothing again", counts.regenerated == 0, seen=counts)


def terminate_worker(lab: Lab, report: Report) -> None:
    with living(lab, report, TWO, workers=1) as world:
        job = world.submit()
        worker = world.workers[0]
        world.await_responses(job, 1)
        world.await_lease(worker)
        started = time.monotonic()
        code = worker.stop(within_s=20)
        took_s = time.monotonic() - started
        report.expect(
            "SIGTERM ends it within 20 s with exit code 0", code == 0, seen=(code, round(took_s, 1))
        )
        report.expect("it gives its leases back", world.n_leased() == 0, seen=world.n_leased())
        attempts = world.value("SELECT coalesce(max(attempt), 0) FROM assignment WHERE state = 'waiting'")
        report.expect("what it gave back was not charged an attempt", attempts == 0, seen=attempts)
        committed, n_lines = checker.responded(world.db), len(checker.generated(world.engine_log))
        worker.start()
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        _not_generated_again(world, report, job, committed, n_lines)


def zombie_worker(lab: Lab, report: Report) -> None:
    """It wakes once when others just took its work over, once two leases later."""
    slow = (scripted("alpha", delay_s=1.5), scripted("beta", delay_s=1.5))
    with living(lab, report, slow, workers=2) as world:
        zombie = world.workers[0]
        for n, sleep_s in enumerate((0.0, 2 * LEASE_S)):
            job = world.submit(4 * N_QUERIES, start=4 * n * N_QUERIES)
            world.await_responses(job, 1)
            world.await_lease(zombie)
            zombie.signal_all(signal.SIGSTOP)
            slept = time.monotonic()
            held = world.value(
                "SELECT coalesce(array_agg(pk), '{}') FROM assignment WHERE lease_owner LIKE %s",
                f"%|{zombie.pid}|%",
            )
            report.expect("it slept with leases", held)
            taken = becomes_true(lambda: not world.n_leased(zombie), within_s=BOUND_S)
            report.expect("its leases ran out and were taken over", taken)
            let_pass(slept + sleep_s - time.monotonic())
            zombie.signal_all(signal.SIGCONT)
            asleep_ms = 1000 * (time.monotonic() - slept)
            report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
            late = world.value(
                "SELECT count(*) FROM assignment WHERE pk = ANY(%s)"
                " AND (response::json ->> 'latency_ms')::float > %s",
                held,
                asleep_ms,
            )
            report.expect("what it finished after its sleep is refused", late == 0, seen=(late, len(held)))
        report.expect("the zombie lives", zombie.is_alive)
        attempts = world.value("SELECT max(attempt) FROM assignment")
        report.expect("no attempt beyond those that were lost", attempts <= 3, seen=attempts)


def failing_load(lab: Lab, report: Report) -> None:
    pool = (*TWO, scripted("broken", fail_load="weights are damaged"))
    with living(lab, report, pool, workers=2) as world:
        job = world.submit()
        report.expect("I4 the job ends", world.ends(job, within_s=2 * BOUND_S))
        counts = world.counters(job)
        report.expect("all queries answered", counts.completed == N_QUERIES, seen=counts)
        failed = Counter(r.get("error_code") for r in world.responses(job, "broken"))
        report.expect(
            "its calls failed as engine_load_failed", failed == {"engine_load_failed": N_QUERIES}, seen=failed
        )
        degraded = sum(bool(answer.get("degraded")) for answer in world.stored_answers(job))
        report.expect("answers are marked degraded", degraded == N_QUERIES, seen=degraded)
        lines = [line for worker in world.workers for line in worker.output().splitlines()]
        loads = sum("engine broken: loading" in line for line in lines)
        report.note(f"{loads} tries to load it")
        report.expect("no reload loop: at most two tries per worker", loads <= 4, seen=loads)


def dying_engine(lab: Lab, report: Report) -> None:
    crash = {"regex": r"case 7\d\?", "crash": True, "times": 1, "delay_s": 0.3}
    with living(lab, report, (scripted("alpha", rules=[crash]), scripted("beta")), workers=2) as world:
        job = world.submit()
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        counts = world.counters(job)
        report.expect("all queries answered, none failed", counts.completed == N_QUERIES, seen=counts)
        log = checker.events(world.engine_log)
        crashed = [e for e in log if e["event"] == "rule" and e["engine"] == "alpha" and e["rule"] == 0]
        loads = sum(e["event"] == "load" and e["engine"] == "alpha" for e in log)
        report.expect("the engine died", crashed)
        report.expect("it was loaded again", loads >= 2, seen=loads)
        repeated = _n_repeated(world)
        report.expect("only unfinished prompts ran again", counts.regenerated == 0, seen=(repeated, counts))


def poison_query(lab: Lab, report: Report) -> None:
    deadly = {"match": "POISON", "exit_code": 9}
    with living(lab, report, (scripted("alpha", delay_s=0.2, rules=[deadly]),), workers=2) as world:
        asked = questions(N_QUERIES)
        asked[N_QUERIES // 2]["question"] = "Which letter is right for POISON?"
        job = world.submit(queries=asked)
        world.doomed[job] = {str(asked[N_QUERIES // 2]["id"])}
        report.expect("I4 the job ends", world.ends(job, within_s=90, keep_alive=True))
        counts = world.counters(job)
        report.expect(
            "one query failed, its neighbours are fine",
            (counts.completed, counts.failed) == (N_QUERIES - 1, 1),
            seen=counts,
        )
        codes = [r.get("error_code") for r in world.responses(job, "alpha") if r.get("error_code")]
        report.expect("it ended as poison", codes in (["poison"], ["engine_crashed"]), seen=codes)
        deaths = sum(e["event"] == "rule" and e["rule"] == 0 for e in checker.events(world.engine_log))
        report.expect("after three attempts", deaths == 3, seen=deaths)


def wrong_clocks(lab: Lab, report: Report) -> None:
    """Workers whose clocks are an hour apart, and one jumps while it works."""
    with living(lab, report, TWO, workers=0) as world:
        (world.folder / "sitecustomize.py").write_text(_SHIFTED_CLOCK)
        for name, shift_s in (("fast", 3600), ("slow", -3600), ("jumps", 0)):
            env = {"PYTHONPATH": f"{world.folder}:{world.env['PYTHONPATH']}", "CLOCK_SHIFT_S": str(shift_s)}
            world.workers.append(world.device_worker(name, env=env))
        world.start(*world.workers)
        job = world.submit(2 * N_QUERIES)
        world.await_responses(job, 1)
        (world.folder / "tmp" / "jump").write_text("-3600")
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        counts = world.counters(job)
        attempts = world.value("SELECT max(attempt) FROM assignment")
        report.expect("no mass expiry: every call was claimed once", attempts == 1, seen=attempts)
        report.expect(
            "nothing was generated twice", counts.regenerated == 0 and _n_repeated(world) == 0, seen=counts
        )


_SHIFTED_CLOCK = """
import os, pathlib, time
_real, _shift = time.time, float(os.environ["CLOCK_SHIFT_S"])
_jump = pathlib.Path(os.environ["TMPDIR"], "jump")
def _now():
    extra = float(_jump.read_text() or 0) if _shift == 0 and _jump.exists() else 0.0
    return _real() + _shift + extra
time.time = _now
"""


def _not_generated_again(world: World, report: Report, job: str, committed: set[int], n_lines: int) -> None:
    again = committed & set(checker.generated(world.engine_log)[n_lines:])
    report.expect("finished responses are not generated again", not again, seen=len(again))
    counts = world.counters(job)
    report.expect("every query answered", counts.completed == counts.total, seen=counts)


def _n_repeated(world: World) -> int:
    done = checker.generated(world.engine_log)
    return len(done) - len(set(done))


def _n_uncommitted(world: World, server: BadServer, job: str) -> int:
    return server.asked - world.counters(job).responses


def _kill_quietly(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
