"""Sums of usage: added to in the transaction that stores what they count, read by day.

Nothing is counted from rows of jobs, and no retention takes anything away. A job adds to the stripe of its
number, so that few transactions wait for the same row; rows come in their order, after all other locks.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from orchestrator.domain.assignments import CallRole, QueryState, Response
from orchestrator.domain.names import model_name
from orchestrator.domain.usage import (
    ALL_TIME,
    LINE,
    NO_USAGE,
    QUESTION,
    UsageKey,
    UsageSums,
    today,
    usage_of_calls,
    usage_of_question,
)
from orchestrator.store.bulk import Record, add_rows
from orchestrator.store.database import Database
from orchestrator.store.sum_tables import usage_count

N_STRIPES = 8

UNASKED = frozenset({"profile", "route"})
"""Kinds of jobs whose queries nobody asked: their calls count, they are no questions."""

_KEYS = ("day", "owner", "model", "role", "stripe")


class Payer(NamedTuple):
    """A job as its usage is booked: whose it is, the name it was asked under, and its questions' role (None =
    they are none)."""

    owner: str
    model: str
    role: str | None


class Spent:
    """Usage that a transaction adds, by job."""

    def __init__(self) -> None:
        self.calls: dict[int, dict[tuple[str, str], UsageSums]] = {}
        self.questions: dict[int, dict[str, UsageSums]] = {}

    def called(self, ended: Iterable[tuple[int, Response]]) -> None:
        """Calls of jobs have ended, with these responses."""
        alike: dict[tuple[int, str, CallRole], list[Response]] = defaultdict(list)
        for job_pk, response in ended:
            alike[job_pk, response.expert_id, response.role].append(response)
        for (job_pk, expert_id, role), responses in alike.items():
            sums, key = self.calls.setdefault(job_pk, {}), (expert_id, role.value)
            sums[key] = sums.get(key, NO_USAGE).plus(usage_of_calls(responses))

    def answered(self, job_pk: int, state: QueryState, *, failed: bool) -> None:
        """A query of the job has ended with what its experts said."""
        terms = state.query.terms
        composition = terms.composition if terms is not None else None
        self.ended(job_pk, usage_of_question(state.responses, failed=failed), composition=composition)

    def ended(self, job_pk: int, sums: UsageSums, *, composition: str | None = None) -> None:
        """Queries of the job have ended; `composition`: which they named, None = the job's."""
        of_job = self.questions.setdefault(job_pk, {})
        of_job[composition or ""] = of_job.get(composition or "", NO_USAGE).plus(sums)

    @property
    def job_pks(self) -> set[int]:
        """Jobs that something is added for."""
        return {*self.calls, *self.questions}


def book(conn: Connection, spent: Spent, payloads: Mapping[int, str]) -> None:
    """Add to the sums; `payloads`: of the jobs concerned, by their number."""
    this_day = today()
    sums: dict[tuple[UsageKey, int], UsageSums] = defaultdict(lambda: NO_USAGE)
    for job_pk in spent.job_pks & payloads.keys():
        payer, stripe = _payer(payloads[job_pk]), job_pk % N_STRIPES
        added = dict(spent.calls.get(job_pk, {}))
        if payer.role is not None:
            for composition, usage in spent.questions.get(job_pk, {}).items():
                key = (model_name(composition) if composition else payer.model, payer.role)
                added[key] = added.get(key, NO_USAGE).plus(usage)
        for (model, role), usage in added.items():
            for day, owner in ((this_day, payer.owner), (ALL_TIME, "")):
                row = (UsageKey(day, owner, model, role), stripe)
                sums[row] = sums[row].plus(usage)
    rows: list[Record] = [(*key, stripe, *usage) for (key, stripe), usage in sorted(sums.items())]
    add_rows(conn, usage_count, _KEYS, UsageSums._fields, rows)


@lru_cache(maxsize=4096)
def _payer(payload: str) -> Payer:
    job = json.loads(payload)
    kind = job.get("kind", "batch")
    role = None if kind in UNASKED else QUESTION if kind == "ask" else LINE
    return Payer(str(job.get("owner", "")), model_name(job["composition"]), role)


class SqlUsageStore:
    """`ports.usage.UsageReader` over the database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def usage(self, *, first_day: int, last_day: int, owner: str | None = None) -> dict[UsageKey, UsageSums]:
        """See `ports.usage`."""
        u = usage_count.c
        names = UsageKey._fields
        wanted = select(
            *(u[name] for name in names), *(func.sum(u[name]).label(name) for name in UsageSums._fields)
        ).where(u.day >= first_day, u.day <= last_day)
        if owner is not None:
            wanted = wanted.where(u.owner == owner)
        rows = self._db.fetch(lambda conn: conn.execute(wanted.group_by(*(u[n] for n in names))).all())
        n = len(names)
        return {UsageKey(*row[:n]): _sums(row[n:]) for row in rows}

    def totals(self) -> dict[UsageKey, UsageSums]:
        """See `ports.usage`."""
        return self.usage(first_day=ALL_TIME, last_day=ALL_TIME)


def _sums(values: Iterable[float]) -> UsageSums:
    """PostgreSQL's sums of 64-bit numbers are decimals."""
    pairs = zip(NO_USAGE, values, strict=True)
    return UsageSums._make(type(zero)(value) for zero, value in pairs)
