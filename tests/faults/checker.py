"""What must hold whatever happened, read from the database by plain SQL, not by the code under test.

I1 no acknowledged query is lost      I4 a terminal state within the bound (checked by who waits)
I2 exactly one final answer per query I5 no secret in a log
I3 the counters add up                I6 /health/live answers within a second (`prober`)
and nothing failed that a wait would have healed
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from tests.harness.servers import rows

Connection = psycopg.Connection[tuple[Any, ...]]

TERMINAL = ("done", "cancelled", "expired")


class Books(NamedTuple):
    """`problems`: what does not hold, in words; `lost` and `duplicated` count queries."""

    problems: list[str]
    lost: int
    duplicated: int


class Counters(NamedTuple):
    state: str
    total: int
    completed: int
    failed: int
    assignments: int
    responses: int
    regenerated: int


def counters(conn: Connection, job_id: str) -> Counters | None:
    found = rows(
        conn,
        "SELECT state, n_total, n_completed, n_failed, n_assignments, n_responses, n_regenerated"
        " FROM job WHERE id = %s",
        job_id,
    )
    return Counters(*found[0]) if found else None


def is_over(conn: Connection, job_id: str) -> bool:
    found = counters(conn, job_id)
    return found is not None and found.state in TERMINAL


def n_leased(conn: Connection, *, pid: int | None = None) -> int:
    """Assignments under lease; of one process: owners carry its pid."""
    found = rows(conn, "SELECT lease_owner FROM assignment WHERE state = 'leased'")
    return sum(pid is None or str(pid) in owner.split("|") for (owner,) in found)


def responded(conn: Connection) -> set[int]:
    """Assignments with a committed response."""
    return {pk for (pk,) in rows(conn, "SELECT pk FROM assignment WHERE response IS NOT NULL")}


def audit(conn: Connection, acknowledged: Mapping[str, Collection[str]]) -> Books:
    """I1 to I3 for jobs that have ended.

    Args:
        acknowledged: custom ids by job id: what the API said it had accepted.
    """
    problems: list[str] = []
    lost = duplicated = 0
    for job_id, custom_ids in acknowledged.items():
        found = counters(conn, job_id)
        if found is None:
            problems.append(f"I1 job {job_id} was acknowledged and is not there")
            lost += len(custom_ids)
            continue
        answered = Counter(
            custom_id
            for (custom_id,) in rows(
                conn,
                "SELECT q.custom_id FROM answer a JOIN query q ON q.pk = a.query_pk"
                " JOIN job j ON j.pk = q.job_pk WHERE j.id = %s",
                job_id,
            )
        )
        missing = set(custom_ids) - set(answered)
        foreign = set(answered) - set(custom_ids)
        twice = [custom_id for custom_id, n in answered.items() if n > 1]
        lost += len(missing)
        duplicated += len(twice)
        for label, found_ids in (("I1 without an answer", missing), ("I1 never sent", foreign)):
            if found_ids:
                problems.append(f"{label} in {job_id}: {len(found_ids)}, like {min(found_ids)}")
        if twice:
            problems.append(f"I2 answered twice in {job_id}: {len(twice)}, like {twice[0]}")
        problems += _uneven_counters(conn, job_id, found)
    return Books(problems, lost, duplicated)


ENDED = ("cancelled", "batch_expired")
"""Error codes of queries that somebody ended, or whose time was up."""


def failed_needlessly(
    conn: Connection, acknowledged: Collection[str], doomed: Mapping[str, Collection[str] | None]
) -> list[tuple[str, str, str]]:
    """Queries that failed although a wait would have healed that: job, custom id and error code of each.

    Args:
        acknowledged: job ids.
        doomed: custom ids by job id, of what no wait heals; None = all of the job.
    """
    failed = rows(
        conn,
        "SELECT j.id, q.custom_id, a.payload::json ->> 'error_code' FROM query q"
        " JOIN job j ON j.pk = q.job_pk JOIN answer a ON a.query_pk = q.pk"
        " WHERE q.state = 'failed' AND j.id = ANY(%s)",
        list(acknowledged),
    )
    return [
        (job_id, custom_id, code)
        for job_id, custom_id, code in failed
        if code not in ENDED and not _is_doomed(custom_id, doomed.get(job_id, ()))
    ]


def _is_doomed(custom_id: str, doomed: Collection[str] | None) -> bool:
    return doomed is None or custom_id in doomed


_STATES = """
SELECT count(*),
       count(*) FILTER (WHERE q.state = 'completed'),
       count(*) FILTER (WHERE q.state = 'failed'),
       count(*) FILTER (WHERE q.state = 'open'),
       count(*) FILTER (WHERE (q.state = 'open') = EXISTS (SELECT 1 FROM answer a WHERE a.query_pk = q.pk))
FROM query q JOIN job j ON j.pk = q.job_pk WHERE j.id = %s
"""

_WORK = """
SELECT count(*),
       count(a.response),
       count(*) FILTER (WHERE a.state IN ('waiting', 'leased')),
       count(*) FILTER (WHERE (a.state IN ('done', 'failed')) <> (a.response IS NOT NULL)),
       count(*) FILTER (WHERE (a.state = 'leased') <> (a.lease_owner IS NOT NULL))
FROM assignment a JOIN job j ON j.pk = a.job_pk WHERE j.id = %s
"""


def _uneven_counters(conn: Connection, job_id: str, found: Counters) -> list[str]:
    [(n, n_completed, n_failed, n_open, n_contradicted)] = rows(conn, _STATES, job_id)
    [(n_assignments, n_responses, n_unfinished, n_inconsistent, n_halfleased)] = rows(conn, _WORK, job_id)
    over = found.state in TERMINAL
    rules = {
        f"total {found.total} = queries {n}": found.total == n,
        f"completed {found.completed} = {n_completed}": found.completed == n_completed,
        f"failed {found.failed} = {n_failed}": found.failed == n_failed,
        f"{found.completed} + {found.failed} + open {n_open} = total {found.total}": found.completed
        + found.failed
        + n_open
        == found.total,
        f"assignments {found.assignments} = {n_assignments}": found.assignments == n_assignments,
        f"responses {found.responses} = {n_responses}": found.responses == n_responses,
        f"state '{found.state}' is terminal": over,
        f"no open query in an ended job, seen {n_open}": not (over and n_open),
        f"no assignment waits in an ended job, seen {n_unfinished}": not (over and n_unfinished),
        f"an answer iff the query is closed, broken {n_contradicted}": not n_contradicted,
        f"a response iff the assignment is closed, broken {n_inconsistent}": not n_inconsistent,
        f"an owner iff leased, broken {n_halfleased}": not n_halfleased,
    }
    return [f"I3 {job_id}: not {rule}" for rule, holds in rules.items() if not holds]


def leaks(logs: Iterable[Path], secrets: Sequence[str]) -> list[str]:
    """I5: logs that show a secret."""
    found = []
    for path in logs:
        text = path.read_text(errors="replace") if path.exists() else ""
        found += [f"I5 {path.name} shows a secret ({secret[:3]}…)" for secret in secrets if secret in text]
    return found


def generated(log: Path) -> list[int]:
    """Assignment ids in the order of their generations, over all scripted engines and processes."""
    return [int(e["request"].partition(".")[0]) for e in events(log) if e["event"] == "generation"]


def events(log: Path) -> list[dict[str, Any]]:
    """What scripted engines logged; a line cut by a kill is left out."""
    found = []
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
