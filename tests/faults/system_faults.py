"""What happens to a whole installation: upgrades, other configurations, half a profile, restarts."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from tests.faults.pools import questions, scripted
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, QUICK, Lab, World, living
from tests.harness.processes import Process
from tests.harness.waiting import becomes_true, wait_for

TWO = (scripted("alpha"), scripted("beta"))
BOUND_S = 120.0
N_RESTARTS = 20


def migrated_under_way(lab: Lab, report: Report) -> None:
    """The schema of a live system becomes another one, as after an upgrade elsewhere, and its own again."""
    with living(lab, report, TWO, workers=2) as world:
        [(head,)] = world.sql("SELECT version_num FROM alembic_version")
        job = world.submit(16 * N_QUERIES)
        world.await_responses(job, 1)
        world.sql_do("UPDATE alembic_version SET version_num = '9999'")
        stopped = becomes_true(lambda: not world.n_leased(), within_s=60, every_s=0.2)
        report.expect("workers finish what they hold and take nothing more", stopped)
        said = becomes_true(lambda: {"schema", "workers"} <= _failing(world), within_s=30, every_s=0.5)
        report.expect("/health/ready says so, of the API and of the workers", said, seen=_failing(world))
        refused = world.try_submit(questions(1))
        report.expect("submissions are 503", refused.status_code == 503, seen=refused.text[:200])
        before = world.counters(job).responses
        report.expect("work was left", before < 2 * 16 * N_QUERIES, seen=before)
        logged = [p.name for p in world.workers if "Restart this process" in p.output()]
        report.expect("each worker's log says so", len(logged) == len(world.workers), seen=logged)
        world.sql_do(f"UPDATE alembic_version SET version_num = '{head}'")
        report.expect("I4 the job ends when the schema fits again", world.ends(job, within_s=BOUND_S))
        counts = world.counters(job)
        report.expect("every query answered", counts.completed == counts.total, seen=counts)


def _failing(world: World) -> set[str]:
    """Names of checks of /health/ready that do not hold."""
    return {str(c["check"]) for c in world.get("/health/ready").json()["checks"] if not c["ok"]}


def model_removed(lab: Lab, report: Report) -> None:
    """Everything is restarted with a pool that lacks an expert whose work is queued."""
    pool = (scripted("alpha", delay_s=2.0), scripted("beta", delay_s=2.0))
    with living(lab, report, pool, workers=2, scheduler={**QUICK, "engine_down_s": 5}) as world:
        job = world.submit(3 * N_QUERIES)
        world.await_responses(job, 1)
        for process in world.processes:
            process.stop()
        waiting = world.value(
            "SELECT count(*) FROM assignment WHERE state = 'waiting' AND expert_id = 'beta'"
        )
        report.expect("the removed expert has queued work", waiting)
        world.configure((scripted("alpha", delay_s=0.3),))
        world.start()
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        counts = world.counters(job)
        report.expect(
            "every query is answered by the one that is left", counts.completed == counts.total, seen=counts
        )
        codes = Counter(r.get("error_code") for r in world.responses(job, "beta"))
        report.expect(
            "the others failed with their reason",
            codes["expert_unavailable"] >= 1 and set(codes) <= {None, "expert_unavailable"},
            seen=codes,
        )


def upgraded(lab: Lab, report: Report) -> None:
    """A database of the previous schema, with a job half done, is opened by all processes at once."""
    with living(lab, report, TWO, workers=2, start=False, template=False) as world:
        _old_schema(world)
        job_id, asked = "old-job", questions(N_QUERIES)
        _insert_old_job(world, job_id, asked)
        world.acknowledged[job_id] = [str(q["id"]) for q in asked]
        world.start()
        world.prober.start()
        report.expect("I4 the old job ends", world.ends(job_id, within_s=BOUND_S))
        counts = world.counters(job_id)
        report.expect("all of it is answered", counts.completed == N_QUERIES, seen=counts)
        again = world.submit(start=N_QUERIES)
        report.expect("I4 a new job ends", world.ends(again, within_s=BOUND_S))
        world.sql_do("UPDATE alembic_version SET version_num = '9999'")
        world.workers[0].restart()
        ended = becomes_true(lambda: not world.workers[0].is_alive, within_s=30)
        says = "Upgrade Muster" in world.workers[0].output()
        report.expect(
            "a process older than the schema refuses to start, and says why",
            ended and says,
            seen=world.workers[0].tail(3),
        )


def profile_damaged(lab: Lab, report: Report) -> None:
    """Profiling is killed in the middle, and its vector files are cut or filled with rubbish."""
    with living(lab, report, TWO, workers=2) as world:
        first = _profile(world, "first", range(40))
        ended = becomes_true(lambda: not first.is_alive, within_s=BOUND_S)
        report.expect("profiling ends", ended and first.returncode == 0, seen=first.tail(3))
        before = world.get("/v1/experts/alpha/card")
        report.expect("there is a card", before.status_code == 200, seen=before.text[:200])
        n_responses = world.value("SELECT count(*) FROM assignment WHERE response IS NOT NULL")
        second = _profile(world, "second", range(1000, 1000 + N_QUERIES))
        wait_for(
            "the second profile is under way",
            lambda: (
                world.value("SELECT count(*) FROM assignment WHERE response IS NOT NULL") > n_responses + 10
            ),
            within_s=60,
        )
        second.kill()
        after = world.get("/v1/experts/alpha/card")
        report.expect("the old card is kept", after.text == before.text, seen=after.text[:200])
        files = sorted((world.folder / "data" / "vectors").glob("*.npy"))
        for n, path in enumerate(files):
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2] if n % 2 else b"rubbish")
        report.note(f"{len(files)} vector files damaged")
        for worker in world.workers:
            worker.stop()
        world.start(*world.workers)
        job = world.submit(start=5000, model="auto")
        report.expect("I4 a routed job ends", world.ends(job, within_s=BOUND_S))
        report.expect("and is answered", world.counters(job).completed == N_QUERIES, seen=world.counters(job))
        third = _profile(world, "second", range(1000, 1000 + N_QUERIES))
        ended = becomes_true(lambda: not third.is_alive, within_s=BOUND_S)
        report.expect("profiling again ends", ended and third.returncode == 0, seen=third.tail(3))


def everything_restarted(lab: Lab, report: Report) -> None:
    """Every service in random order, twenty times, under load."""
    rng = random.Random(45)
    with living(lab, report, TWO, workers=2, light=1) as world:
        jobs = [world.submit()]
        actions: Mapping[str, Callable[[], None]] = {
            "postgres": lambda: lab.postgres.restart(rng.choice(["fast", "immediate"])),
            "redis": lab.redis.empty_restart,
            **{p.name: partial(_restart, p, rng) for p in world.processes},
        }
        order = [
            name
            for _ in range(1 + N_RESTARTS // len(actions))
            for name in rng.sample(sorted(actions), len(actions))
        ]
        for number, name in enumerate(order[:N_RESTARTS], start=1):
            actions[name]()
            world.keep_alive()
            if number % 5 == 0:
                world.api.await_ready()
                jobs.append(world.submit(start=number * N_QUERIES))
        world.keep_alive()
        for job in jobs:
            report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S, keep_alive=True))
            counts = world.counters(job)
            report.expect("every query is answered", counts.completed == counts.total, seen=counts)


def _restart(process: Process, rng: random.Random) -> None:
    if rng.random() < 0.5:
        process.kill()
    else:
        process.stop()
    process.start()


def _profile(world: World, name: str, numbers: range) -> Process:
    path = world.folder / f"{name}.jsonl"
    lines = [{**question, "answer": 0} for question in questions(len(numbers), start=numbers[0])]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return world.process(f"profile-{name}-{time.monotonic_ns()}", "profile", str(path)).start()


def _old_schema(world: World) -> None:
    """The first revision's tables."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    from orchestrator.store import migrations

    engine = create_engine(world.lab.postgres.url(world.name).replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as conn:
        config = Config()
        config.set_main_option("script_location", migrations.__path__[0])
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
    engine.dispose()


def _insert_old_job(world: World, job_id: str, asked: list[dict[str, object]]) -> None:
    job = json.dumps({"id": job_id, "composition": "vote"})
    world.db.execute(
        b"INSERT INTO job (id, payload, content_hash, state, n_total, n_completed, n_failed, n_assignments,"
        b" n_responses, n_regenerated, created_at) VALUES (%s, %s, '', 'running', %s, 0, 0, 0, 0, 0,"
        b" extract(epoch FROM now()))",
        (job_id, job, len(asked)),
    )
    [(pk,)] = world.sql("SELECT pk FROM job WHERE id = %s", job_id)
    with world.db.cursor() as cursor:
        cursor.executemany(
            b"INSERT INTO query (job_pk, ix, custom_id, payload, priority, stage, state, n_outstanding)"
            b" VALUES (%s, %s, %s, %s, 0, 0, 'open', 0)",
            [(pk, ix, query["id"], json.dumps(query)) for ix, query in enumerate(asked)],
        )
