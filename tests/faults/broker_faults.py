"""Redis lost, emptied, full, silent or full of rubbish: bells are lost, work is not."""

import base64
import json
import time
from collections.abc import Sequence

import redis

from tests.faults import checker
from tests.faults.pools import questions, scripted
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, Lab, World, living
from tests.harness.waiting import becomes_true, let_pass

TWO = (scripted("alpha"), scripted("beta"))
BOUND_S = 90.0
DOWN_S = 20.0
STEPS_QUEUE = "muster.steps"


def emptied(lab: Lab, report: Report) -> None:
    with living(lab, report, TWO, workers=2, light=1) as world:
        job = world.submit()
        world.await_responses(job, 1)
        world.await_lease()
        lab.redis.kill()
        meanwhile = _accepts(world, report, start=N_QUERIES)
        lab.redis.start()
        back = time.monotonic()
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        report.expect("I4 what was accepted meanwhile ends", world.ends(meanwhile, within_s=BOUND_S))
        report.note(f"all done {time.monotonic() - back:.1f} s after Redis was back")
        _hears_again(world, report)


def away(lab: Lab, report: Report) -> None:
    with living(lab, report, TWO, workers=2, light=1) as world:
        job = world.submit()
        world.await_responses(job, 1)
        lab.redis.kill()
        try:
            until = time.monotonic() + DOWN_S
            meanwhile = [_accepts(world, report, start=N_QUERIES * (n + 1)) for n in range(2)]
            degraded = becomes_true(lambda: not _broker_is_well(world), within_s=15, every_s=0.2)
            report.expect("/health/ready tells that the broker is away", degraded)
            ended_without = world.ends(job, within_s=max(1.0, until - time.monotonic()))
            report.note(f"the first job {'ended' if ended_without else 'did not end'} without Redis")
            let_pass(until - time.monotonic())
        finally:
            lab.redis.start()
        for one in (job, *meanwhile):
            report.expect("I4 the job ends after Redis is back", world.ends(one, within_s=BOUND_S))
        report.expect(
            "the outbox is drained",
            becomes_true(lambda: not world.value("SELECT count(*) FROM outbox"), within_s=30),
        )
        ready = becomes_true(lambda: _broker_is_well(world), within_s=30, every_s=0.2)
        report.expect("/health/ready is well again", ready)


def full(lab: Lab, report: Report) -> None:
    """maxmemory with noeviction, then a replica that refuses writes."""
    with living(lab, report, TWO, workers=2, light=1) as world:
        with lab.redis.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")
            try:
                job = _accepts(world, report)
                world.await_responses(job, 1, within_s=60)
            finally:
                client.config_set("maxmemory", "0")
            client.replicaof("127.0.0.1", "1")
            try:
                other = _accepts(world, report, start=N_QUERIES)
                world.await_responses(other, 1, within_s=60)
            finally:
                client.replicaof("NO", "ONE")
        report.expect("I4 the first job ends", world.ends(job, within_s=BOUND_S))
        report.expect("I4 the second job ends", world.ends(other, within_s=BOUND_S))
        report.expect("all processes live", all(p.is_alive for p in world.processes), seen=_dead(world))
        _hears_again(world, report)


def resets(lab: Lab, report: Report) -> None:
    with living(lab, report, TWO, workers=2, light=1) as world:
        job = world.submit()
        world.await_responses(job, 1)
        with lab.redis.client() as client:
            for _ in range(20):
                for kind in ("normal", "pubsub"):
                    client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                let_pass(0.1)
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S, keep_alive=True))
        _hears_again(world, report, within_s=40)


def silent(lab: Lab, report: Report) -> None:
    """Redis accepts connections and says nothing: nobody may wait for it for ever."""
    with living(lab, report, TWO, workers=2, light=1) as world:
        job = world.submit()
        world.await_responses(job, 1)
        lab.redis.stop_answering()
        try:
            started = time.monotonic()
            other = _accepts(world, report, start=N_QUERIES)
            took_s = time.monotonic() - started
            report.expect("submitting does not wait for it", took_s < 5, seen=round(took_s, 1))
            world.await_responses(other, 1, within_s=60)
        finally:
            lab.redis.answer_again()
        for one in (job, other):
            report.expect("I4 the job ends", world.ends(one, within_s=BOUND_S))


def repeated_bells(lab: Lab, report: Report) -> None:
    """Every bell of a job ten times, out of order, and again after its end."""
    with living(lab, report, TWO, workers=2, light=1) as world:
        job = world.submit()
        for _ in range(10):
            _push(lab, *[_message(task) for task in ("muster.work", "muster.advance")])
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        late = [_message("muster.advance", headers={"eta": None}) for _ in range(10)]
        _push(lab, *late)
        drained = becomes_true(lambda: _queue_length(lab) == 0, within_s=30)
        report.expect("late bells are consumed", drained, seen=_queue_length(lab))
        counts = world.counters(job)
        done = checker.generated(world.engine_log)
        report.expect("one result each", counts.regenerated == 0 and len(done) == len(set(done)), seen=counts)


def poison_messages(lab: Lab, report: Report) -> None:
    """Garbage, an unknown task, a pickle, a form of another version, in front of every bell."""
    rubbish = [
        b"garbage",
        b'{"body": 1}',
        b"[]",
        _message("os.system"),
        _message("muster.advance", content_type="application/x-python-serialize", body="gASVIQ=="),
        _message("muster.advance", body="!!!"),
        _message("muster.advance", body_encoding="rot13"),
        _message("muster.advance", args=[{"v": 99, "job": "../../etc/passwd"}]),
        _message("muster.advance", args=["x", "y"], kwargs={"z": 1}),
    ]
    with living(lab, report, TWO, workers=2, light=1) as world:
        for message in rubbish:
            _push(lab, message)
        job = world.submit()
        report.expect("I4 the job ends", world.ends(job, within_s=45))
        if not report.expect("all workers live", not _dead(world), seen=_dead(world)):
            return
        drained = becomes_true(lambda: _queue_length(lab) == 0, within_s=60)
        report.expect("rubbish is taken off the queue", drained, seen=_queue_length(lab))
        _hears_again(world, report, within_s=40)
        report.expect("all workers live", not _dead(world), seen=_dead(world))


def _accepts(world: World, report: Report, *, start: int = 0) -> str:
    """Submits while the broker is in trouble: 202 all the same."""
    asked = questions(N_QUERIES, start=start)
    reply = world.try_submit(asked)
    report.expect(
        "POST is answered with 202 meanwhile",
        reply.status_code == 202,
        seen=(reply.status_code, reply.text[:200]),
    )
    return world.acknowledge(reply, asked)


def _hears_again(world: World, report: Report, *, within_s: float = 30) -> None:
    """A bell is consumed within the time that a wedged worker is given."""
    _push(world.lab, _message("muster.advance"))
    consumed = becomes_true(lambda: _queue_length(world.lab) == 0, within_s=within_s, every_s=0.1)
    report.expect(f"a bell is consumed within {within_s:g} s", consumed, seen=_queue_length(world.lab))
    again = world.submit(start=10_000)
    report.expect("I4 a later job ends", world.ends(again, within_s=60))


def _broker_is_well(world: World) -> bool:
    """What /health/ready says of the broker."""
    checks = {check["check"]: check["ok"] for check in world.get("/health/ready").json()["checks"]}
    return bool(checks["broker"])


def _dead(world: World) -> list[str]:
    return [process.name for process in world.processes if not process.is_alive]


def _message(
    task: str,
    *,
    args: Sequence[object] = ({"v": 1},),
    kwargs: object = None,
    content_type: str = "application/json",
    body: str | None = None,
    body_encoding: str = "base64",
    headers: object = None,
) -> bytes:
    """A Celery message (protocol 2) as kombu stores it in Redis."""
    content = json.dumps(
        [list(args), kwargs or {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    )
    return json.dumps(
        {
            "body": base64.b64encode(content.encode()).decode() if body is None else body,
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": {
                "lang": "py",
                "task": task,
                "id": f"fault-{time.time_ns()}",
                "root_id": None,
                "parent_id": None,
                "group": None,
                "retries": 0,
                **(headers if isinstance(headers, dict) else {}),
            },
            "properties": {
                "correlation_id": f"fault-{time.time_ns()}",
                "delivery_mode": 1,
                "delivery_info": {"exchange": "", "routing_key": STEPS_QUEUE},
                "priority": 0,
                "body_encoding": body_encoding,
                "delivery_tag": f"tag-{time.time_ns()}",
            },
        }
    ).encode()


def _push(lab: Lab, *messages: bytes) -> None:
    with lab.redis.client() as client:
        for message in messages:
            client.lpush(STEPS_QUEUE, message)


def _queue_length(lab: Lab) -> int:
    try:
        with lab.redis.client() as client:
            return int(client.llen(STEPS_QUEUE))
    except redis.RedisError:
        return -1
