"""The API killed, cut off, flooded or starved of descriptors."""

import json
import resource
import socket
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx

from tests.faults.pools import Json, jsonl, questions, scripted
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, Lab, World, living
from tests.harness.processes import free_port
from tests.harness.waiting import becomes_true, let_pass, wait_for

TWO = (scripted("alpha"), scripted("beta"))
ONE = (scripted("alpha", delay_s=0.3),)
BOUND_S = 90.0
MEMORY_MIB = 300.0
N_IDLE = 500


def killed_after_commit(lab: Lab, report: Report) -> None:
    """The job is committed, the client never learns of it, and asks again with its key."""
    with living(lab, report, TWO, workers=2) as world:
        for n in range(3):
            asked = questions(N_QUERIES, start=N_QUERIES * n)
            key = uuid.uuid4().hex
            before = world.value("SELECT count(*) FROM job")
            with _request(world, jsonl(asked), key=key):
                wait_for(
                    "the job is committed", partial(_n_jobs_above, world, before), within_s=20, every_s=0.001
                )
                world.api.kill()
            stored = world.value("SELECT id FROM job ORDER BY pk DESC LIMIT 1")
            world.start(world.api)
            reply = world.try_submit(asked, key=key)
            report.expect(
                "the retry is accepted", reply.status_code == 202, seen=(reply.status_code, reply.text[:200])
            )
            job = world.acknowledge(reply, asked)
            report.expect("with the same job", job == stored, seen=(job, stored))
            n_jobs = world.value("SELECT count(*) FROM job")
            report.expect("one job", n_jobs == before + 1, seen=n_jobs)
        for job in world.acknowledged:
            report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))


def killed_during_upload(lab: Lab, report: Report) -> None:
    with living(lab, report, TWO, workers=2) as world:
        job = world.submit()
        body = jsonl(questions(2000, start=N_QUERIES))
        with _request(world, body, send=len(body) // 2):
            let_pass(0.5)
            world.api.kill()
        world.start(world.api)
        n_jobs = world.value("SELECT count(*) FROM job")
        report.expect("no orphan job", n_jobs == 1, seen=n_jobs)
        report.expect("I4 the batch that ran meanwhile ends", world.ends(job, within_s=BOUND_S))
        left = [path.name for path in (world.folder / "tmp").rglob("*") if path.is_file()]
        report.expect("no temporary file is left", not left, seen=left)


def client_leaves(lab: Lab, report: Report) -> None:
    """As many askers as the API takes hang up before their answers."""
    slow = (scripted("alpha", delay_s=1.0),)
    with living(lab, report, slow, workers=1, server={"max_in_flight": 4}) as world:
        batch = world.submit()
        for n in range(8):
            with _request(world, json.dumps(_chat(f"case {n}0?")).encode(), path="/v1/chat/completions"):
                let_pass(0.1)

        def answered() -> bool:
            reply = world.post("/v1/chat/completions", _chat("case 9?"))
            return reply.status_code == 200

        free = becomes_true(answered, within_s=60, every_s=0.5)
        report.expect("nothing leaks: a later question is answered", free)
        settled = becomes_true(
            lambda: not world.value("SELECT count(*) FROM job WHERE state = 'running' AND id <> %s", batch),
            within_s=60,
        )
        report.expect("what was asked is answered or cancelled", settled)
        report.expect("I4 the batch ends", world.ends(batch, within_s=BOUND_S))


def overload(lab: Lab, report: Report) -> None:
    """Ten times as many questions as the API takes, while a batch runs."""
    limit = 24
    with living(lab, report, ONE, workers=2, server={"max_in_flight": limit, "max_queued": limit}) as world:
        batch = world.submit()
        with ThreadPoolExecutor(10 * limit) as crowd:
            replies = list(crowd.map(lambda n: _ask(world, f"case {n}?"), range(10 * limit)))
        statuses = Counter(reply.status_code for reply in replies)
        report.note(f"statuses {dict(statuses)}, API memory {world.api.rss_mib():.0f} MiB")
        report.expect("answers are 200, or 429 or 503", set(statuses) <= {200, 429, 503}, seen=statuses)
        report.expect(
            "the surplus is refused",
            statuses[429] + statuses[503] > 0 and statuses[200] >= limit,
            seen=statuses,
        )
        refused = [reply for reply in replies if reply.status_code != 200]
        report.expect("with Retry-After", all("retry-after" in reply.headers for reply in refused))
        report.expect(
            f"the API stays below {MEMORY_MIB:g} MiB",
            world.api.rss_mib() < MEMORY_MIB,
            seen=world.api.rss_mib(),
        )
        report.expect("I4 the batch ends", world.ends(batch, within_s=BOUND_S))


def few_descriptors(lab: Lab, report: Report) -> None:
    """An API that may open 64 files at most; then one that could open more, and 500 idle clients."""
    serve = ("serve", "--port", str(free_port()))
    with living(lab, report, TWO, workers=2) as world:
        poor = world.process("poor", *serve, limits={resource.RLIMIT_NOFILE: (64, 64)}).start()
        ended = becomes_true(lambda: not poor.is_alive, within_s=30)
        says = "ulimit -n" in poor.output()
        report.expect("it refuses to start and says what to do", ended and says, seen=poor.tail(3))
        world.api.kill()
        world.api = world.process(
            "api",
            *("serve", "--port", str(world.port)),
            limits={resource.RLIMIT_NOFILE: (64, N_IDLE + 600)},
        )
        world.start(world.api)
        job = world.submit()
        idle = [_connect(world) for _ in range(N_IDLE)]
        again = world.submit(start=N_QUERIES)
        for connection in idle:
            connection.close()
        report.expect("the API lives and answers", world.api.is_alive and _is_well(world))
        for one in (job, again):
            report.expect("I4 the job ends", world.ends(one, within_s=BOUND_S))


def cancelled(lab: Lab, report: Report) -> None:
    """Cancelling races with completion, and comes twice."""
    with living(lab, report, (scripted("alpha", delay_s=0.1),), workers=2) as world:
        jobs = [world.submit(start=N_QUERIES * n) for n in range(6)]
        ends: list[int] = []

        def cancel(job: str) -> None:
            url = f"http://127.0.0.1:{world.port}/v1/jobs/{job}/cancel"
            ends.append(httpx.post(url, timeout=30).status_code)

        for n, job in enumerate(jobs):
            world.await_responses(job, n * N_QUERIES // (len(jobs) - 1))
            rivals = [threading.Thread(target=cancel, args=(job,)) for _ in range(3)]
            for rival in rivals:
                rival.start()
            for rival in rivals:
                rival.join()
            report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        report.expect(
            "cancelling answers 2xx, or 409 to what has ended",
            set(ends) <= {200, 202, 204, 409},
            seen=Counter(ends),
        )
        states = Counter(state for (state,) in world.sql("SELECT state FROM job"))
        report.note(f"{dict(states)}")
        report.expect("one terminal state each", set(states) <= {"done", "cancelled"}, seen=states)
        settled = {job: world.counters(job) for job in jobs}
        again = world.submit(start=10_000)
        report.expect("I4 a later job ends", world.ends(again, within_s=BOUND_S))
        report.expect(
            "ended jobs do not change any more", all(world.counters(job) == settled[job] for job in jobs)
        )


def overdue(lab: Lab, report: Report) -> None:
    slow = (scripted("alpha", delay_s=4.0),)
    with living(lab, report, slow, workers=1) as world:
        job = world.submit(4 * N_QUERIES, deadline_s=8)
        report.expect("I4 the job ends soon after its deadline", world.ends(job, within_s=30))
        counts = world.counters(job)
        report.expect("it is expired", counts.state == "expired", seen=counts)
        report.expect(
            "finished queries are kept, the others failed", counts.completed and counts.failed, seen=counts
        )
        codes = Counter(answer.get("error_code") for answer in world.stored_answers(job))
        report.expect("those say batch_expired", set(codes) == {None, "batch_expired"}, seen=codes)
        lines = output_lines(world, job)
        n_answered = sum(line.get("error") is None for line in lines)
        report.expect(
            "finished results can be downloaded",
            n_answered == counts.completed,
            seen=(n_answered, counts.completed),
        )


def output_lines(world: World, job: str) -> list[dict[str, object]]:
    reply = world.get(f"/v1/jobs/{job}/answers")
    assert reply.status_code == 200, (reply.status_code, reply.text[:200])
    return [json.loads(line) for line in reply.text.splitlines() if line]


def _n_jobs_above(world: World, n: int) -> bool:
    return bool(world.value("SELECT count(*) FROM job") > n)


def _ask(world: World, question: str) -> httpx.Response:
    url = f"http://127.0.0.1:{world.port}/v1/chat/completions"
    return httpx.post(url, json=_chat(question), timeout=120)


def _chat(question: str) -> Json:
    return {
        "model": "muster/vote",
        "messages": [{"role": "user", "content": f"Which letter is right for {question}"}],
        "muster": {"options": ["first", "second", "third"], "answer_type": "choice"},
    }


def _connect(world: World) -> socket.socket:
    return socket.create_connection(("127.0.0.1", world.port), timeout=5)


def _request(
    world: World,
    body: bytes,
    *,
    path: str = "/v1/jobs?composition=vote",
    key: str | None = None,
    send: int | None = None,
) -> socket.socket:
    """A client that sends (a part of) a request and reads nothing; closes at the end of the `with`."""
    head = [
        f"POST {path} HTTP/1.1",
        f"host: 127.0.0.1:{world.port}",
        f"content-type: application/{'jsonl' if 'jobs' in path else 'json'}",
        f"content-length: {len(body)}",
        *([f"idempotency-key: {key}"] if key else []),
    ]
    connection = _connect(world)
    connection.sendall("\r\n".join([*head, "", ""]).encode() + body[:send])
    return connection


def _is_well(world: World) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{world.port}/health/live", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
