"""Questions that one loop carries: their calls are leased as they are put on the books, and their next step
is stored with the responses that it needs, in one transaction each."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from orchestrator.domain.assignments import INTERACTIVE, Ask, Assignment, Call, QueryState, Step
from orchestrator.domain.spending import Costs
from orchestrator.ports.jobs import Completion, Lessee
from orchestrator.ports.questions import Begun, Carried, Settled
from orchestrator.store import tables as t
from orchestrator.store.bulk import among, among_names
from orchestrator.store.claims import accept
from orchestrator.store.database import inline
from orchestrator.store.steps import Books, apply
from orchestrator.store.tally import add_counts


def begin(
    conn: Connection,
    steps: Sequence[tuple[QueryState, Step]],
    engine_of: Mapping[str, str],
    lessee: Lessee,
    costs: Costs,
) -> Begun:
    """See `ports.questions`."""
    books = Books(engine_of, costs, _in_turn(conn, lessee, steps, engine_of))
    n = apply(conn, steps, books)
    add_counts(conn, books.counts)
    return Begun(n, _assignments(conn, steps, books))


def settle(
    conn: Connection,
    completions: Sequence[Completion],
    carried: Sequence[Carried],
    engine_of: Mapping[str, str],
    lessee: Lessee,
    costs: Costs,
) -> Settled:
    """See `ports.questions`."""
    steps = [(each.state, each.step) for each in carried]
    books = Books(engine_of, costs, _in_turn(conn, lessee, steps, engine_of))
    accepted = accept(conn, lessee.owner, completions, books.counts)
    steps = [(each.state, each.step) for each in carried if each.needs <= accepted]
    n = apply(conn, steps, books) if steps else 0
    add_counts(conn, books.counts)
    return Settled(accepted, n, _assignments(conn, steps, books))


def _in_turn(
    conn: Connection, lessee: Lessee, steps: Iterable[tuple[QueryState, Step]], engine_of: Mapping[str, str]
) -> Lessee:
    """Without the engines that other questions wait for: those came first."""
    wanted = {engine_of.get(call.expert_id) for _, step in steps for call in _calls(step)}
    room = {engine_id: n for engine_id, n in lessee.room.items() if engine_id in wanted}
    if room:
        ahead = set(conn.execute(_awaited(), {"engines": sorted(room), "least": INTERACTIVE}).scalars())
        room = {engine_id: n for engine_id, n in room.items() if engine_id not in ahead}
    return lessee._replace(room=room)


@cache
def _awaited() -> Select[Any]:
    s = t.share.c
    waits = (s.n_waiting > inline(0)) & (s.priority >= bindparam("least"))
    return select(s.engine_id).where(among_names(s.engine_id, "engines"), waits).distinct()


@cache
def _begun() -> Select[Any]:
    a = t.assignment.c
    leased = (a.state == inline(t.LEASED)) & (a.lease_owner == bindparam("owner")) & (a.attempt == inline(1))
    found = select(a.pk, a.query_pk, a.stage, a.engine_id, a.expert_id, a.sample_ix, a.priority)
    return found.where(among(a.query_pk, "pks"), leased).order_by(a.pk)


def _assignments(
    conn: Connection, steps: Iterable[tuple[QueryState, Step]], books: Books
) -> tuple[Assignment, ...]:
    """Those that were begun, from what is known of them here."""
    if not books.counts.begun or books.lessee is None:
        return ()
    calls: dict[tuple[int, int, str, int], tuple[QueryState, Call]] = {
        (state.id, state.stage, call.expert_id, call.sample_ix): (state, call)
        for state, step in steps
        for call in _calls(step)
    }
    given = {"pks": sorted({key[0] for key in calls}), "owner": books.lessee.owner}
    found = []
    for row in conn.execute(_begun(), given):
        asked = calls.get((row.query_pk, row.stage, row.expert_id, row.sample_ix))
        if asked is not None:
            state, call = asked
            found.append(
                Assignment(
                    id=row.pk,
                    job_id=state.job_id,
                    query_id=row.query_pk,
                    stage=row.stage,
                    engine_id=row.engine_id,
                    call=call,
                    priority=row.priority,
                    attempt=1,
                )
            )
    return tuple(found)


def _calls(step: Step) -> tuple[Call, ...]:
    return step.calls if isinstance(step, Ask) else ()
