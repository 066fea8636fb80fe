"""Jobs that have ended, run again and deleted, with kills meanwhile; hosts of one name."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence

import httpx

from tests.fakes.bad_server import ActingHandler, BadServer, completion, refuses, says
from tests.faults import checker, machines
from tests.faults.pools import questions, scripted, served
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, Lab, World, living
from tests.harness.waiting import becomes_true, wait_for

BOUND_S = 90.0
N_FAILING = N_QUERIES // 10
SECRET = "wombat"


def after_failures(lab: Lab, report: Report) -> None:
    """A tenth of the questions fail once; then a job of which every one does. One worker: each counts for
    itself how often a rule applied."""
    some = {"regex": r"case \d*7\?", "fail": "backend_error", "times": N_FAILING}
    every = {"match": "doomed", "fail": "backend_error", "times": N_QUERIES}
    with living(lab, report, (scripted("alpha", rules=[some, every]),), workers=1) as world:
        for asked, n_failing in (
            (questions(N_QUERIES), N_FAILING),
            (questions(N_QUERIES, start=N_QUERIES, text="Is it doomed, case"), N_QUERIES),
        ):
            job = world.submit(queries=asked)
            report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
            counts = world.counters(job)
            report.expect(f"{n_failing} queries failed", counts.failed == n_failing, seen=counts)
            _retried(world, report, job)


def after_deadline(lab: Lab, report: Report) -> None:
    with living(lab, report, (scripted("alpha", delay_s=4.0),), workers=1) as world:
        job = world.submit(2 * N_QUERIES, deadline_s=8)
        report.expect("I4 the job ends soon after its deadline", world.ends(job, within_s=30))
        report.expect("it is expired", world.counters(job).state == "expired", seen=world.counters(job))
        again = _retry(world, job, deadline_s=3600).json()
        report.expect("a new deadline counts from now", again.get("deadline_at"), seen=again)
        _runs_to_the_end(world, report, job)


def after_outage(lab: Lab, report: Report) -> None:
    """A model server is away for longer than the job's deadline; then it is back."""
    is_back = threading.Event()
    well, away = says(completion("The answer is (A).")), refuses(503, "away")

    def act(handler: ActingHandler) -> None:
        (well if is_back.is_set() else away)(handler)

    with BadServer(act) as server:
        pool = (served("remote", server.url, max_concurrent=8, stream=False),)
        with living(lab, report, pool, workers=2) as world:
            job = world.submit(deadline_s=10)
            report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
            counts = world.counters(job)
            report.expect("nothing was answered", counts.failed == counts.total, seen=counts)
            is_back.set()
            reply = _retry(world, job)
            report.expect("the retry is accepted", reply.status_code == 202, seen=reply.text[:200])
            _runs_to_the_end(world, report, job)


def after_cancelling(lab: Lab, report: Report) -> None:
    """Cancelled in the middle and run again at once, three times."""
    with living(
        lab, report, (scripted("alpha", delay_s=0.5), scripted("beta", delay_s=0.5)), workers=2
    ) as world:
        job = world.submit(2 * N_QUERIES)
        for n in range(1, 4):
            world.await_responses(job, n * N_QUERIES // 2)
            world.await_lease()
            cancelled = httpx.post(f"{world.url}/v1/jobs/{job}/cancel", timeout=60)
            report.expect("it is cancelled", cancelled.status_code == 200, seen=cancelled.text[:200])
            report.expect("it ends", world.ends(job, within_s=30))
            _retry_until_accepted(world, report, job)
        _runs_to_the_end(world, report, job, n_retries=3)
        regenerated = world.counters(job).regenerated
        report.expect(
            "what the cancelled runs finished late changes nothing", regenerated == 0, seen=regenerated
        )


def kills_during_retry(lab: Lab, report: Report) -> None:
    """Four clients at once ask for a retry; the API is killed under them, and a worker after that."""
    every = {"regex": ".", "fail": "backend_error", "times": N_QUERIES}
    with living(lab, report, (scripted("alpha", delay_s=2.0, rules=[every]),), workers=1) as world:
        job = world.submit()
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        world.workers.append(world.device_worker("worker2"))
        world.start(world.workers[-1])
        codes: list[int] = []

        def ask() -> None:
            try:
                codes.append(_retry(world, job).status_code)
            except httpx.HTTPError:
                codes.append(0)

        rivals = [threading.Thread(target=ask) for _ in range(4)]
        for rival in rivals:
            rival.start()
        n_retries = "SELECT n_retries FROM job WHERE id = %s"
        wait_for("a retry is committed", lambda: world.value(n_retries, job), within_s=30, every_s=0.001)
        world.api.kill()
        world.await_holder().kill()
        for rival in rivals:
            rival.join()
        world.start(world.api)
        retries = world.value(n_retries, job)
        report.note(f"replies {Counter(codes)}, {retries} retries stored")
        report.expect("one retry took place", retries == 1, seen=retries)
        report.expect("never more than one was accepted", codes.count(202) <= 1, seen=codes)
        _runs_to_the_end(world, report, job, keep_alive=True)


def deletion_killed(lab: Lab, report: Report) -> None:
    """The API dies under a deletion; others work meanwhile, and the beat finishes it."""
    with living(lab, report, (scripted("alpha", delay_s=0.1),), workers=2) as world:
        asked = questions(20 * N_QUERIES, text=f"Which {SECRET} is right for case")
        doomed = world.submit(queries=asked, key=uuid.uuid4().hex)
        report.expect("I4 the job ends", world.ends(doomed, within_s=2 * BOUND_S))
        running = world.submit(4 * N_QUERIES, start=100_000)
        refused = httpx.delete(f"{world.url}/v1/jobs/{running}", timeout=60)
        report.expect("a running job is 409", refused.status_code == 409, seen=refused.text[:200])
        del world.acknowledged[doomed]
        gone = "SELECT count(*) FROM job WHERE id = %s"
        rival = threading.Thread(target=_delete_quietly, args=(world, doomed))
        rival.start()
        wait_for("the deletion begins", lambda: not world.value(gone, doomed), within_s=30, every_s=0.001)
        left = world.value("SELECT count(*) FROM query WHERE payload LIKE %s", f"%{SECRET}%")
        world.api.kill()
        rival.join()
        report.note(f"{left} of {len(asked)} queries were left at the kill")
        world.start(world.api)
        status = world.get(f"/v1/jobs/{doomed}").status_code
        report.expect("nobody finds it", status == 404, seen=status)
        cleared = becomes_true(lambda: not _shown(world), within_s=60, every_s=0.2)
        report.expect("the beat deletes the rest: no table shows its texts", cleared, seen=_shown(world))
        rows = world.value("SELECT count(*) FROM job WHERE state = 'deleted'")
        report.expect("and nothing of it is left", rows == 0, seen=rows)
        report.expect("I4 the other job ends", world.ends(running, within_s=BOUND_S))
        counts = world.counters(running)
        report.expect("none of its queries failed", counts.completed == counts.total, seen=counts)


def hosts_of_one_name(lab: Lab, report: Report) -> None:
    """Two machines of one host name over one database: process numbers mean something else on the other."""
    if not machines.are_allowed():
        report.expect("not shown: namespaces are not allowed here", True)
        report.note("not shown: namespaces are not allowed here")
        return
    with living(lab, report, (scripted("alpha"), scripted("beta")), workers=0) as world:
        (world.folder / "sitecustomize.py").write_text(machines.FIRST_NAMESPACE)
        for name in ("one", "two"):
            env = {"PYTHONPATH": f"{world.folder}:{world.env['PYTHONPATH']}"}
            worker = world.device_worker(name, env=env)
            worker.command = [*machines.on_machine(world.folder, str(uuid.uuid4())), *worker.command]
            world.workers.append(worker)
        world.start(*world.workers)
        job = world.submit(4 * N_QUERIES)
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        counts = world.counters(job)
        report.expect("every query answered", counts.completed == counts.total, seen=counts)
        owners = world.sql("SELECT DISTINCT split_part(owner, '|', 1), split_part(owner, '|', 2) FROM device")
        report.expect("two machines", len(owners) >= 2, seen=owners)
        report.expect(
            "of one name", len({name for name, _ in owners if name == machines.NAME}) == 1, seen=owners
        )
        buried = [p.name for p in world.workers if "is dead" in p.output()]
        report.expect("nobody declares the other's worker dead", not buried, seen=buried)
        attempts = world.value("SELECT max(attempt) FROM assignment")
        report.expect("every call was claimed once", attempts == 1, seen=attempts)


def _retried(world: World, report: Report, job: str) -> None:
    """A retry answers what failed, and asks nothing else again."""
    before = {a["custom_id"]: a["payload"] for a in _answers(world, job) if a["state"] == "completed"}
    committed, n_lines = checker.responded(world.db), len(checker.generated(world.engine_log))
    failed = world.counters(job).failed
    reply = _retry(world, job)
    report.expect("the retry is accepted", reply.status_code == 202, seen=reply.text[:200])
    _runs_to_the_end(world, report, job)
    after = {a["custom_id"]: a["payload"] for a in _answers(world, job)}
    changed = [custom_id for custom_id, payload in before.items() if after.get(custom_id) != payload]
    report.expect("what was answered stays to the letter", not changed, seen=changed[:3])
    lines = checker.generated(world.engine_log)[n_lines:]
    report.expect("finished responses are not generated again", not committed & set(lines))
    report.expect("only what failed was asked", len(lines) == failed, seen=(len(lines), failed))


def _runs_to_the_end(
    world: World, report: Report, job: str, *, n_retries: int = 1, keep_alive: bool = False
) -> None:
    report.expect("I4 it ends again", world.ends(job, within_s=BOUND_S, keep_alive=keep_alive))
    counts = world.counters(job)
    report.expect(
        "all is answered now", (counts.state, counts.completed) == ("done", counts.total), seen=counts
    )
    retries = world.job(job).get("retries")
    report.expect("the job counts its retries", retries == n_retries, seen=retries)


def _retry(world: World, job: str, **query: float) -> httpx.Response:
    return httpx.post(f"{world.url}/v1/jobs/{job}/retry", params=query, timeout=60)


def _retry_until_accepted(world: World, report: Report, job: str) -> None:
    """A job whose cancellation is not complete yet may be refused as running."""
    until = time.monotonic() + 30
    while (reply := _retry(world, job)).status_code == 409 and time.monotonic() < until:
        report.note("a retry was refused while the cancellation went on")
    report.expect("the retry is accepted", reply.status_code == 202, seen=reply.text[:200])


def _answers(world: World, job: str) -> list[dict[str, str]]:
    rows = world.sql(
        "SELECT q.custom_id, q.state, a.payload FROM answer a JOIN query q ON q.pk = a.query_pk"
        " JOIN job j ON j.pk = q.job_pk WHERE j.id = %s",
        job,
    )
    return [{"custom_id": custom_id, "state": state, "payload": text} for custom_id, state, text in rows]


def _delete_quietly(world: World, job: str) -> None:
    try:
        httpx.delete(f"{world.url}/v1/jobs/{job}", timeout=120)
    except httpx.HTTPError:
        return  # the API was killed


def _shown(world: World) -> list[str]:
    """Text columns in which the secret stands, of any table."""
    columns: Sequence[tuple[str, str]] = world.sql(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'text'"
    )
    look = 'SELECT count(*) FROM "{}" WHERE "{}" LIKE %s'
    return [
        f"{table}.{column}"
        for table, column in columns
        if world.value(look.format(table, column), f"%{SECRET}%")
    ]
