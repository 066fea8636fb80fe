"""Faults that pass, and prompts that do not: nothing fails that a wait would have healed."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from tests.faults.pools import ANSWER, Json, questions, scripted, served
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, Lab, World, living
from tests.harness.processes import ROOT, Process, free_port
from tests.harness.waiting import becomes_true, let_pass, wait_for

BOUND_S = 150.0
LEASE_S = 3
POISON = "Which letter is right for POISON case"
CRASHES = {"match": "POISON", "crash": True}
ONE_RETRY: Json = {"num_retries": 1, "allowed_fails": 3, "cooldown_time": 1}


# ── crashes ───────────────────────────────────────────────────────────────────────────────────────


def poison_beside_others(n_bad: int, lab: Lab, report: Report) -> None:
    """So many prompts of one job crash their engine, while another job waits for it."""
    with living(lab, report, (scripted("alpha", delay_s=0.2, rules=[CRASHES]),), workers=2) as world:
        innocent = world.submit()
        bad = questions(n_bad, start=5000, text=POISON)
        guilty = world.submit(queries=[*questions(40, start=1000), *bad, *questions(40, start=2000)])
        world.doomed[guilty] = {str(q["id"]) for q in bad}
        _end(world, report, innocent, guilty)
        _all_answered(world, report, innocent)
        _failed_are(world, report, guilty, {str(q["id"]) for q in bad})


def crashes_over_two_jobs(lab: Lab, report: Report) -> None:
    with living(lab, report, (scripted("alpha", delay_s=0.2, rules=[CRASHES]),), workers=2) as world:
        jobs = {}
        for start in (0, 1000):
            bad = questions(3, start=start + 500, text=POISON)
            good = questions(N_QUERIES // 2, start=start)
            job = world.submit(queries=[*good[:20], bad[0], *good[20:60], bad[1], *good[60:], bad[2]])
            jobs[job] = world.doomed[job] = {str(q["id"]) for q in bad}
        _end(world, report, *jobs)
        for job, bad_ids in jobs.items():
            _failed_are(world, report, job, bad_ids)


# ── outages ───────────────────────────────────────────────────────────────────────────────────────


def away_at_load(lab: Lab, report: Report) -> None:
    """The server starts only when it was asked for in vain for a while."""
    port = free_port()
    with _outage_world(lab, report, f"http://127.0.0.1:{port}/v1", check_models=True) as world:
        job = world.submit()
        _await_cooling(world, report, job)
        with _model_server(world, port):
            _end(world, report, job)
            _all_answered(world, report, job)
            _well_again(world, report)


def away_in_the_middle(away_s: float, lab: Lab, report: Report) -> None:
    port = free_port()
    with _outage_world(lab, report, f"http://127.0.0.1:{port}/v1") as world:
        with _model_server(world, port):
            job = world.submit(4 * N_QUERIES)
            world.await_responses(job, N_QUERIES)
        _await_cooling(world, report, job)
        let_pass(away_s)
        with _model_server(world, port):
            _end(world, report, job)
            _all_answered(world, report, job)


def no_such_host_for_a_while(lab: Lab, report: Report) -> None:
    """The name of the server is not known to the resolver until a file is there."""
    port = free_port()
    with _outage_world(lab, report, f"http://model.invalid:{port}/v1", start=False) as world:
        (world.folder / "sitecustomize.py").write_text(_RESOLVER)
        path = f"{world.folder}:{world.env['PYTHONPATH']}"
        world.workers = [world.device_worker(f"resolving{n}", env={"PYTHONPATH": path}) for n in range(2)]
        world.start()
        world.prober.start()
        with _model_server(world, port):
            job = world.submit()
            _await_cooling(world, report, job)
            (world.folder / "tmp" / "known").touch()
            _end(world, report, job)
            _all_answered(world, report, job)


_RESOLVER = """
import os, pathlib, socket
_real, _known = socket.getaddrinfo, pathlib.Path(os.environ["TMPDIR"], "known")
def _resolve(host, *rest, **more):
    if host in ("model.invalid", b"model.invalid"):
        if not _known.exists():
            raise socket.gaierror(-2, "Name or service not known")
        host = "127.0.0.1"
    return _real(host, *rest, **more)
socket.getaddrinfo = _resolve
"""


def errors_for_a_while(lab: Lab, report: Report) -> None:
    """Each of three kinds of 5xx, for longer than a lease; then it serves."""
    from tests.fakes.bad_server import ActingHandler, BadServer, completion, refuses, says

    until: list[float] = []
    kinds = [refuses(status) for status in (500, 502, 503)]
    serve = says(completion(ANSWER))

    def act(handler: ActingHandler) -> None:
        until.extend([time.monotonic() + 4 * LEASE_S] if not until else [])
        (serve if time.monotonic() > until[0] else kinds[int(time.monotonic()) % 3])(handler)

    with BadServer(act) as server, _outage_world(lab, report, server.url) as world:
        job = world.submit()
        _end(world, report, job)
        _all_answered(world, report, job)


# ── other pool files ──────────────────────────────────────────────────────────────────────────────

TWO = (scripted("alpha", delay_s=0.2), scripted("beta", delay_s=0.2))


def stale_device_worker(lab: Lab, report: Report) -> None:
    """The only worker has an older pool file, without `beta`; then it is started anew."""
    with living(lab, report, TWO, workers=1, light=1, start=False) as world:
        _start_stale(world, TWO[:1], world.workers[0])
        job = world.submit()
        world.await_responses(job, N_QUERIES)
        let_pass(4 * LEASE_S)
        counts = world.counters(job)
        report.expect("what it does not know waits", counts.responses == N_QUERIES, seen=counts)
        _told(world, report, "configurations")
        engines = [e["engine"] for e in world.get("/health/ready").json()["engines"] if e["state"] == "down"]
        report.expect("/health/ready says that nobody serves it", len(engines) == 1, seen=engines)
        world.workers[0].restart()
        _end(world, report, job)
        _all_answered(world, report, job)


def engine_missing_on_one_of_two(lab: Lab, report: Report) -> None:
    with living(lab, report, TWO, workers=2, start=False) as world:
        _start_stale(world, TWO[:1], world.workers[0])
        job = world.submit()
        _told(world, report, "configurations")
        _end(world, report, job)
        _all_answered(world, report, job)


def stale_steps_worker(lab: Lab, report: Report) -> None:
    """One steps worker knows the composition, the other does not, nor one of its experts."""
    with living(lab, report, TWO, workers=0, light=2, start=False) as world:
        world.workers = [world.process("only-generates", "worker", "--device", "cpu", "--no-steps")]
        world.configure(TWO[:1], compositions={"other": {"router": "all", "aggregator": "majority"}})
        world.start(world.light[0])
        world.configure(TWO)
        world.start(world.api, *world.beats, *world.workers)
        world.prober.start()
        job = world.submit()
        let_pass(2 * LEASE_S)
        counts = world.counters(job)
        report.expect(
            "what it does not know waits", (counts.failed, counts.assignments) == (0, 0), seen=counts
        )
        world.start(world.light[1])
        _told(world, report, "configurations")
        _end(world, report, job)
        _all_answered(world, report, job)


# ── steps ─────────────────────────────────────────────────────────────────────────────────────────


def exception_in_a_step(lab: Lab, report: Report) -> None:
    """A step fails for two queries, whenever it is tried, and for all others in the first seconds."""
    with _broken_steps(lab, report, "RuntimeError('a bug')") as world:
        cursed = questions(2, start=7000, text="Which letter is right for CURSED case")
        job = world.submit(queries=[*questions(100), *cursed, *questions(100, start=100)])
        world.doomed[job] = {str(q["id"]) for q in cursed}
        _end(world, report, job)
        _failed_are(world, report, job, world.doomed[job], codes={"internal_error"})


def no_memory_for_steps(lab: Lab, report: Report) -> None:
    """The embedder finds no memory, for longer than three tries take."""
    with _broken_steps(lab, report, "MemoryError()", all_for_a_while=True) as world:
        job = world.submit()
        let_pass(15)
        counts = world.counters(job)
        report.expect("the questions wait", (counts.failed, counts.assignments) == (0, 0), seen=counts)
        (world.folder / "tmp" / "healed").touch()
        _end(world, report, job)
        _all_answered(world, report, job)


@contextmanager
def _broken_steps(lab: Lab, report: Report, error: str, *, all_for_a_while: bool = False) -> Iterator[World]:
    with living(lab, report, TWO, workers=2, start=False) as world:
        fails = (
            "not _healed.exists()" if all_for_a_while else "any('CURSED' in s.query.question for s in states)"
        )
        (world.folder / "sitecustomize.py").write_text(_BROKEN_STEPS.format(error=error, fails=fails))
        path = f"{world.folder}:{world.env['PYTHONPATH']}"
        world.workers = [world.device_worker(f"broken{n}", env={"PYTHONPATH": path}) for n in range(2)]
        world.start()
        world.prober.start()
        yield world


_BROKEN_STEPS = """
import os, pathlib
from orchestrator.compositions.ensemble import Ensemble
_step, _healed = Ensemble.step, pathlib.Path(os.environ["TMPDIR"], "healed")
def _broken(self, states):
    if {fails}:
        raise {error}
    return _step(self, states)
Ensemble.step = _broken
"""


# ── questions ─────────────────────────────────────────────────────────────────────────────────────


def hung_batch_before_a_question(lab: Lab, report: Report) -> None:
    """Requests of a batch hang on the resident engine; a question asks for another one."""
    hang = {"match": "HANG", "hang": True, "times": 4}
    pool = (scripted("alpha", delay_s=0.2, rules=[hang]), scripted("beta", delay_s=0.2))
    scheduler = {"lease_s": LEASE_S, "sweep_s": 1, "interactive_wait_s": 4}
    with living(lab, report, pool, workers=1, scheduler=scheduler) as world:
        job = world.submit(queries=questions(4, text="Which letter is right for HANG case"), model="alpha")
        world.await_lease(at_least=4)
        asked = time.monotonic()
        reply = world.ask("Which letter? (A) (B)", "beta")
        waited_s = time.monotonic() - asked
        report.expect("the question is answered", reply.status_code == 200, seen=reply.text[:200])
        report.expect("it waited little longer than it may", waited_s < 4 + 6, seen=round(waited_s, 1))
        _end(world, report, job)
        _all_answered(world, report, job)
        attempts = world.value("SELECT max(attempt) FROM assignment")
        report.expect("being put back counts as no attempt", attempts == 1, seen=attempts)


def question_without_its_expert(lab: Lab, report: Report) -> None:
    """A question goes on without an engine that is away, a batch waits for it."""
    port = free_port()
    scheduler = {"lease_s": LEASE_S, "sweep_s": 1, "engine_down_interactive_s": 4}
    with _outage_world(
        lab, report, f"http://127.0.0.1:{port}/v1", check_models=True, scheduler=scheduler
    ) as world:
        job = world.submit()
        _await_cooling(world, report, job)
        replies = [world.ask("Which letter? (A) (B)", "muster/vote") for _ in range(2)]
        codes = [reply.status_code for reply in replies]
        report.expect("questions are answered without it", codes == [200, 200], seen=codes)
        report.expect("and say so", all(r.json()["muster"]["degraded"] for r in replies))
        with _model_server(world, port):
            _end(world, report, job)
            _all_answered(world, report, job)


# ── helpers ───────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _outage_world(
    lab: Lab,
    report: Report,
    url: str,
    *,
    check_models: bool = False,
    start: bool = True,
    scheduler: Json | None = None,
) -> Iterator[World]:
    """A local expert and one behind a server that comes and goes."""
    pool = (scripted("alpha", delay_s=0.2), served("away", url, stream=False, check_models=check_models))
    given = scheduler or {"lease_s": LEASE_S, "sweep_s": 1}
    with living(
        lab, report, pool, workers=2, start=start, scheduler=given, router_settings=ONE_RETRY
    ) as world:
        yield world


@contextmanager
def _model_server(world: World, port: int) -> Iterator[None]:
    """A server that is killed when the block ends."""
    server = Process(
        "model",
        [sys.executable, "-m", "tests.fakes.model_server", str(port), ANSWER],
        env={"PYTHONPATH": str(ROOT)},
        log=world.folder / f"model-{threading.get_ident()}-{time.monotonic_ns()}.log",
    ).start()
    try:
        yield
    finally:
        server.kill()


def _start_stale(world: World, members: Sequence[Json], stale: Process) -> None:
    """One process with an older pool file, then all others with the new one."""
    world.configure(members)
    world.start(stale)
    world.configure(TWO)
    world.start(*[process for process in world.processes if process is not stale])
    world.prober.start()


def _await_cooling(world: World, report: Report, job: str) -> None:
    """Until the job says that it waits for an engine, why, and when that is tried next."""

    def told() -> dict[str, Any] | None:
        waits = world.job(job)["waits_for"]
        return waits[0] if waits else None

    waits = wait_for("the job waits for an engine", told, within_s=60)
    report.expect(
        "it says why, and when it is tried next",
        waits["state"] == "cooling" and waits["why"] and waits["next_try_s"] is not None,
        seen=waits,
    )
    ready = world.get("/health/ready")
    engines = [engine["engine"] for engine in ready.json()["engines"]]
    report.expect(
        "/health/ready says so, and that questions are taken all the same",
        engines == [waits["engine"]] and _is_optional(ready, "engines"),
        seen=ready.text[:300],
    )
    states = [expert["state"]["state"] for expert in world.get("/v1/experts").json()["data"]]
    report.expect("/v1/experts says so", states == ["ready", "cooling"], seen=states)


def _well_again(world: World, report: Report) -> None:
    states = [expert["state"]["state"] for expert in world.get("/v1/experts").json()["data"]]
    report.expect("then all engines are well", set(states) <= {"ready"}, seen=states)


def _told(world: World, report: Report, check: str) -> None:
    """Until /health/ready finds something in this check, which costs no readiness."""

    def found() -> bool:
        ready = world.get("/health/ready")
        checks = {c["check"]: c["ok"] for c in ready.json()["checks"]}
        return checks.get(check) is False and _is_optional(ready, check)

    report.expect(f"/health/ready tells of it under '{check}'", becomes_true(found, within_s=30))


def _is_optional(ready: httpx.Response, check: str) -> bool:
    return [c["required"] for c in ready.json()["checks"] if c["check"] == check] == [False]


def _end(world: World, report: Report, *jobs: str) -> None:
    for job in jobs:
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S, keep_alive=True))


def _all_answered(world: World, report: Report, job: str) -> None:
    counts = world.counters(job)
    report.expect("every question is answered", counts.completed == counts.total, seen=counts)
    failed = world.sql(
        "SELECT a.expert_id, a.response::json ->> 'error_code', count(*) FROM assignment a"
        " JOIN job j ON j.pk = a.job_pk WHERE j.id = %s AND a.state = 'failed' GROUP BY 1, 2",
        job,
    )
    report.expect("no call failed that a wait would have healed", not failed, seen=failed)


def _failed_are(
    world: World, report: Report, job: str, wanted: set[str], *, codes: set[str] | None = None
) -> None:
    found = world.sql(
        "SELECT q.custom_id FROM query q JOIN job j ON j.pk = q.job_pk"
        " WHERE j.id = %s AND q.state = 'failed'",
        job,
    )
    failed = {custom_id for (custom_id,) in found}
    report.expect(f"{len(wanted)} failed, and nobody else", failed == wanted, seen=sorted(failed)[:20])
    seen = Counter(answer.get("error_code") for answer in world.stored_answers(job))
    if codes is not None:
        report.expect(f"with {codes}", set(seen) - {None} == codes, seen=seen)
