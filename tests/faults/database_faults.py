"""PostgreSQL restarted, away, locked, exhausted, or out of space."""

import os
import resource
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg

from tests.faults.pools import Json, jsonl, questions, scripted
from tests.faults.report import Report
from tests.faults.world import N_QUERIES, Lab, World, living
from tests.harness.waiting import becomes_true, let_pass

TWO = (scripted("alpha"), scripted("beta"))
BOUND_S = 90.0
DOWN_S = 15.0
NO_HANG_S = 40.0


def restarted(lab: Lab, report: Report) -> None:
    """Restarts while submissions are under way; each is repeated with its key until it is accepted."""
    with living(lab, report, TWO, workers=2) as world:
        first = world.submit()
        world.await_responses(first, 1)
        submissions = [Submission(world, start=N_QUERIES * (n + 1)) for n in range(4)]
        for submission in submissions:
            submission.start()
        for mode in ("immediate", "fast", "immediate"):
            lab.postgres.restart(mode)
            let_pass(1)
        for submission in submissions:
            submission.join(timeout=60)
            report.expect(
                "each submission is accepted in the end",
                submission.job_id is not None,
                seen=submission.statuses,
            )
            strange = [s for s in submission.statuses if s not in (202, 503)]
            report.expect("answers are 202 or 503", not strange, seen=submission.statuses)
            report.expect("the same key gives the same job", len(submission.ids) == 1, seen=submission.ids)
        jobs = [first, *[s.job_id for s in submissions if s.job_id]]
        for job in jobs:
            report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        n_jobs = world.value("SELECT count(*) FROM job")
        report.expect("one job per key", n_jobs == len(jobs), seen=n_jobs)
        report.expect("all processes live", all(p.is_alive for p in world.processes))


def away(lab: Lab, report: Report) -> None:
    with living(lab, report, TWO, workers=2, scheduler={}) as world:
        job = world.submit(2 * N_QUERIES)
        world.await_responses(job, 1)
        world.await_lease()
        lab.postgres.stop("immediate")
        try:
            stopped = time.monotonic()
            reply = _post(world, questions(2))
            took_s = time.monotonic() - stopped
            report.expect(
                "POST gets 503", reply.status_code == 503, seen=(reply.status_code, reply.text[:200])
            )
            report.expect("with Retry-After", "retry-after" in reply.headers, seen=dict(reply.headers))
            report.expect("without a hang", took_s < NO_HANG_S, seen=round(took_s, 1))
            report.expect("/health/live answers", world.get("/health/live").status_code == 200)
            ready = world.get("/health/ready").status_code
            report.expect("/health/ready does not", ready == 503, seen=ready)
            let_pass(stopped + DOWN_S - time.monotonic())
        finally:
            lab.postgres.start()
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        counts = world.counters(job)
        report.expect("every query answered", counts.completed == counts.total, seen=counts)
        attempts = world.value("SELECT max(attempt) FROM assignment")
        report.note(f"calls were claimed {attempts} times at most")
        report.expect(
            "the pause burnt no attempt (a lease may have run out once)", attempts <= 2, seen=attempts
        )
        report.expect("all processes live", all(p.is_alive for p in world.processes))


def contended(lab: Lab, report: Report) -> None:
    """A table locked by somebody else, then no connections left, then deadlocks."""
    with living(lab, report, TWO, workers=2) as world:
        job = world.submit()
        world.await_responses(job, 1)
        with lab.postgres.connect(world.name) as other, other.transaction():
            other.execute("LOCK TABLE job IN ACCESS EXCLUSIVE MODE")
            started = time.monotonic()
            reply = _post(world, questions(2), timeout_s=NO_HANG_S + 10)
            took_s = time.monotonic() - started
            report.expect(
                "a locked table: 503, no hang",
                reply.status_code == 503 and took_s < NO_HANG_S,
                seen=(reply.status_code, round(took_s, 1)),
            )
        with _no_connections(lab, world):
            started = time.monotonic()
            replies = [_post(world, questions(1), timeout_s=NO_HANG_S + 10).status_code for _ in range(3)]
            took_s = time.monotonic() - started
            fine = set(replies) <= {202, 503} and took_s < 2 * NO_HANG_S
            report.expect(
                "no connections left: 503 (or 202 over one that is open), no hang",
                fine,
                seen=(replies, round(took_s, 1)),
            )
        _deadlock(lab, world)
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        report.expect("all processes live", all(p.is_alive for p in world.processes))
        again = world.submit(start=N_QUERIES)
        report.expect("I4 a later job ends", world.ends(again, within_s=BOUND_S))


def disk_full(lab: Lab, report: Report) -> None:
    """A batch whose answer file hits a size limit; then a database whose disk is full."""
    with living(lab, report, TWO, workers=2) as world:
        _full_answer_file(world, report)
        _full_tablespace(lab, world, report)


def several_sweepers(lab: Lab, report: Report) -> None:
    with living(lab, report, TWO, workers=2, beats=3, light=2) as world:
        jobs = [world.submit(start=N_QUERIES * n) for n in range(3)]
        world.await_lease(world.workers[0])
        world.workers[0].kill()
        for job in jobs:
            report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S))
        attempts = world.value("SELECT max(attempt) FROM assignment")
        report.expect("an expired lease was returned once", attempts <= 2, seen=attempts)
        outbox = becomes_true(lambda: not world.value("SELECT count(*) FROM outbox"), within_s=30)
        report.expect("the outbox is drained", outbox)
        n_failed = sum(world.counters(job).failed for job in jobs)
        report.expect("no query failed", n_failed == 0, seen=n_failed)


class Submission(threading.Thread):
    """A client that repeats a submission with its key until it is accepted, and once more after that."""

    def __init__(self, world: World, *, start: int) -> None:
        super().__init__(daemon=True)
        self.statuses: list[int] = []
        self.ids: set[str] = set()
        self.job_id: str | None = None
        self._world = world
        self._asked = questions(N_QUERIES, start=start)
        self._key = uuid.uuid4().hex

    def run(self) -> None:
        until = time.monotonic() + 60
        accepted = 0
        while accepted < 2 and time.monotonic() < until:
            reply = _post(self._world, self._asked, key=self._key)
            self.statuses.append(reply.status_code)
            if reply.status_code == 202:
                accepted += 1
                self.job_id = self._world.acknowledge(reply, self._asked)
                self.ids.add(self.job_id)
            let_pass(0.3)


def _post(
    world: World, asked: Sequence[Json], *, key: str | None = None, timeout_s: float = NO_HANG_S
) -> httpx.Response:
    return world.try_submit(asked, key=key, timeout_s=timeout_s)


@contextmanager
def _no_connections(lab: Lab, world: World) -> Iterator[None]:
    """Takes every connection that the server still gives."""
    held: list[object] = []
    try:
        with suppress(psycopg.OperationalError):
            while True:
                held.append(lab.postgres.connect(world.name))
        yield
    finally:
        for conn in held:
            conn.close()  # type: ignore[attr-defined]


def _deadlock(lab: Lab, world: World) -> None:
    """Takes rows in the wrong order against the workers, again and again."""
    with lab.postgres.connect(world.name) as other:
        for _ in range(20):
            with suppress(psycopg.errors.DeadlockDetected), other.transaction():
                other.execute("SET LOCAL deadlock_timeout = '100ms'")
                other.execute("SELECT pk FROM job FOR UPDATE")
                other.execute("SELECT pk FROM assignment ORDER BY pk DESC FOR UPDATE")
                other.execute("SELECT pk FROM query ORDER BY pk DESC FOR UPDATE")


def _full_answer_file(world: World, report: Report) -> None:
    asked = world.folder / "asked.jsonl"
    asked.write_bytes(jsonl(questions(N_QUERIES)))
    out = world.folder / "answers.jsonl"
    command = ("batch", str(asked), "-c", "vote", "-o", str(out))
    limited = world.process("batch", *command, limits={resource.RLIMIT_FSIZE: (20_000, 20_000)}).start()
    ended = becomes_true(lambda: not limited.is_alive, within_s=BOUND_S)
    report.expect(
        "a batch whose answer file cannot grow ends with exit code 1 or 2",
        ended and limited.returncode in (1, 2),
        seen=limited.returncode,
    )
    report.expect(
        "it says why",
        "cannot write" in limited.output() or "File too large" in limited.output(),
        seen=limited.tail(3),
    )
    left = [path.name for path in world.folder.glob("*answers.jsonl*")]
    report.expect("no half-written answer file is left", not left, seen=left)
    again = world.process("batch", *command).start()
    ended = becomes_true(lambda: not again.is_alive, within_s=BOUND_S)
    n_lines = len(out.read_text().splitlines()) if out.exists() else 0
    report.expect(
        "with room again all answers are written",
        ended and n_lines == N_QUERIES,
        seen=(again.returncode, n_lines),
    )


def _full_tablespace(lab: Lab, world: World, report: Report) -> None:
    """The table that takes new queries stands on a disk of 8 MiB, which somebody else fills."""
    disk = lab.folder / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=777", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        report.note("the full database disk was left out: this user may not mount one")
        return
    try:
        world.sql_do(f"CREATE TABLESPACE small LOCATION '{_folder_of_postgres(disk)}'")
        world.sql_do("ALTER TABLE prompt SET TABLESPACE small")
        world.sql_do("ALTER TABLE query SET TABLESPACE small")
        hog = disk / "hog"
        _fill(hog)
        asked = questions(2000, start=50_000)
        refused = _post(world, asked)
        report.expect(
            "a full disk: 503 or 507",
            refused.status_code in (503, 507),
            seen=(refused.status_code, refused.text[:200]),
        )
        hog.unlink()
        job = world.submit(start=60_000)
        report.expect("with room again: I4 the job ends", world.ends(job, within_s=BOUND_S))
        report.expect("all processes live", all(p.is_alive for p in world.processes))
        world.sql_do("ALTER TABLE prompt SET TABLESPACE pg_default")
        world.sql_do("ALTER TABLE query SET TABLESPACE pg_default")
        world.sql_do("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", str(disk)], capture_output=True)


def _folder_of_postgres(disk: Path) -> Path:
    folder = disk / "space"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    return folder


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
