"""Budgets of keys: what questions may use is held before their calls go on the books, and settled at the end.

One row for each key and period says what was used and what is held; one for each question that began what is
held for it, and what of it was paid. Both change in the transaction that begins or ends the question, so that
nothing is held for a question that ended, however its processes died.

Rows of budgets are locked after queries and before jobs (see `tally`), in order of their keys and periods.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, func, select, update

from orchestrator.domain.assignments import Ask, Job, QueryState, Response
from orchestrator.domain.keys import ApiKey, KeyBudget
from orchestrator.domain.spending import NOTHING, Account, Costs, Spend, Tariff, no_room, period_of
from orchestrator.store import tables as t
from orchestrator.store.bulk import among
from orchestrator.store.database import chunked, inline, insert_or_ignore, insert_or_replace
from orchestrator.store.key_tables import api_key, key_spending, query_spending

_UNLIMITED = Spend(2**62, 1e300, 1e300)
_USED = ("used_tokens", "used_usd", "used_engine_s")
_HELD = ("held_tokens", "held_usd", "held_engine_s")
KEYS_AT_ONCE = 500
_PAID = ("paid_tokens", "paid_usd", "paid_engine_s")


class Payer(NamedTuple):
    """The key of a job that has a budget, as far as it matters here."""

    key_id: str
    budget: KeyBudget
    job: Job


class Wish(NamedTuple):
    """A question that is about to begin, or to go on: what must be held for it, what is held already."""

    query_pk: int
    payer: Payer
    period: str
    wanted: Spend
    held: Spend
    paid: Spend

    @property
    def more(self) -> Spend:
        """Part that is to be held beyond what is."""
        return self.wanted.beyond(self.held)


def payers(conn: Connection, job_pks: Iterable[int]) -> dict[int, Payer]:
    """Payers of those of these jobs whose key has a budget."""
    pks = sorted(set(job_pks))
    found = {}
    for row in conn.execute(_owned(), {"pks": pks}) if pks else ():
        key = ApiKey.model_validate_json(row.key)
        if key.terms.budget is not None:
            found[row.pk] = Payer(key.id, key.terms.budget, Job.model_validate_json(row.payload))
    return found


@cache
def _owned() -> Select[Any]:
    """Jobs that belong to a key, with it."""
    j, k = t.job.c, api_key.c
    owned = select(j.pk, j.payload, k.payload.label("key")).join(api_key, k.id == j.owner)
    return owned.where(among(j.pk, "pks"), j.owner != inline(""))


def hold(
    conn: Connection,
    asks: Sequence[tuple[Any, QueryState, Ask]],
    paying: Mapping[int, Payer],
    costs: Costs,
) -> dict[int, str]:
    """Hold what queries, which are locked, may use at most; for those that have no room, by query, why."""
    asks = [asked for asked in asks if asked[0].job_pk in paying]
    if not asks:
        return {}
    known = _spendings(conn, [row.pk for row, _, _ in asks])
    tariff = _tariff_now(conn, costs)
    together: dict[tuple[str, str], list[Wish]] = defaultdict(list)
    for row, state, ask in asks:
        payer, mine = paying[row.job_pk], known.get(row.pk)
        held, paid = (NOTHING, NOTHING) if mine is None else (_spend(mine, _HELD), _spend(mine, _PAID))
        began = None if mine is None or held == NOTHING else str(mine.period)
        period = began or period_of(payer.budget, time.time())
        wanted = _wanted(tariff, costs, payer, state, ask).beyond(paid)
        together[payer.key_id, period].append(Wish(row.pk, payer, period, wanted, held, paid))
    return {pk: why for _, wishes in sorted(together.items()) for pk, why in _hold_all(conn, wishes).items()}


def lock(conn: Connection, paying: Mapping[int, Payer]) -> None:
    """Lock the budgets of these keys, in order: whoever both settles and holds does so first."""
    keys = sorted({(p.key_id, period_of(p.budget, time.time())) for p in paying.values()})
    zero = dict.fromkeys((*_USED, *_HELD), 0)
    for key_id, period in keys:
        row = {"key_id": key_id, "period": period, **zero}
        conn.execute(insert_or_ignore(conn, key_spending).values(row))
    b = key_spending.c
    of_keys = select(b.period).where(b.key_id.in_([key_id for key_id, _ in keys]))
    conn.execute(of_keys.order_by(b.key_id, b.period).with_for_update())


def settle(conn: Connection, ended: Mapping[int, int], paying: Mapping[int, Payer]) -> None:
    """Queries, which are locked, have ended: what they used is paid, and nothing is held for them any more.

    Args:
        ended: job by query.
    """
    ended = {pk: job_pk for pk, job_pk in ended.items() if job_pk in paying}
    known = _spendings(conn, ended)
    if not known:
        return
    used = _used(conn, list(known), _tariff_now(conn, Costs()))
    sums: dict[tuple[str, str], tuple[Spend, Spend]] = defaultdict(lambda: (NOTHING, NOTHING))
    for pk, mine in known.items():
        key = (mine.key_id, mine.period)
        owed = used.get(pk, NOTHING).beyond(_spend(mine, _PAID))
        sums[key] = (sums[key][0].plus(owed), sums[key][1].plus(_spend(mine, _HELD)))
    for (key_id, period), (owed, released) in sorted(sums.items()):
        b = key_spending.c
        values = {name: b[name] + part for name, part in zip(_USED, owed, strict=True)} | {
            name: b[name] - part for name, part in zip(_HELD, released, strict=True)
        }
        conn.execute(update(key_spending).where(b.key_id == key_id, b.period == period).values(values))
    s = query_spending.c
    paid = update(query_spending).where(s.query_pk == bindparam("pk"))
    marks: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _PAID}
    rows = [
        {"pk": pk} | {f"new_{name}": part for name, part in zip(_PAID, used.get(pk, NOTHING), strict=True)}
        for pk in sorted(known)
    ]
    conn.execute(paid.values({**marks, **dict.fromkeys(_HELD, 0)}), rows)


def forget(conn: Connection, query_pks: Sequence[int]) -> None:
    """Let queries begin anew: what they used before is paid, and counts for nothing that they use again."""
    conn.execute(delete(query_spending).where(among(query_spending.c.query_pk, query_pks)))


def accounts_of(conn: Connection, keys: Iterable[ApiKey], *, now_s: float) -> dict[str, Account]:
    """Accounts of those of these keys that have a budget and used it in its present period."""
    period_by = {k.id: period_of(k.terms.budget, now_s) for k in keys if k.terms.budget is not None}
    b = key_spending.c
    found = {}
    for some in chunked(sorted(period_by), KEYS_AT_ONCE):
        for row in conn.execute(select(key_spending).where(b.key_id.in_(some))):
            if row.period == period_by[row.key_id]:
                found[row.key_id] = Account(_spend(row, _USED), _spend(row, _HELD))
    return found


def _left_of(conn: Connection, key_id: str, budget: KeyBudget, period: str) -> Spend:
    b = key_spending.c
    row = conn.execute(select(key_spending).where(b.key_id == key_id, b.period == period)).first()
    taken = NOTHING if row is None else _spend(row, _USED).plus(_spend(row, _HELD))
    limit = _limits(budget)
    return Spend(limit.tokens - taken.tokens, limit.usd - taken.usd, limit.engine_s - taken.engine_s)


def _tariff_now(conn: Connection, costs: Costs) -> Tariff:
    r = t.rate.c
    slowest = select(r.engine_id, func.min(r.tokens_per_s)).where(r.tokens_per_s > 0).group_by(r.engine_id)
    return Tariff(costs.of(), {engine_id: float(speed) for engine_id, speed in conn.execute(slowest)})


def _wanted(tariff: Tariff, costs: Costs, payer: Payer, state: QueryState, ask: Ask) -> Spend:
    """All that a question may have used when these calls are done, or, after its first, when it is."""
    if not state.responses:
        return tariff.of_question(ask, costs.writers(payer.job.shaped(state.query.terms)))
    so_far = NOTHING
    engine_of = {expert_id: cost.engine_id for expert_id, cost in costs.of().items()}
    for response in state.responses:
        so_far = so_far.plus(_spent(response, engine_of.get(response.expert_id, ""), tariff))
    if state.decision is None:  # an annotator was asked; the experts are only now
        return so_far.plus(tariff.of_question(ask, costs.writers(payer.job.shaped(state.query.terms))))
    return so_far.plus(tariff.of_calls(ask))


def _hold_all(conn: Connection, wishes: Sequence[Wish]) -> dict[int, str]:
    """Hold for questions of one key and period: for all at once, or where there is no room for all, one by
    one."""
    payer, period = wishes[0].payer, wishes[0].period
    together = NOTHING
    for wish in wishes:
        together = together.plus(wish.more)
    groups = [wishes] if _take(conn, payer, period, together) else []
    why: dict[int, str] = {}
    if not groups:
        for wish in wishes:
            if _take(conn, payer, period, wish.more):
                groups.append([wish])
            else:
                left = _left_of(conn, payer.key_id, payer.budget, period)
                why[wish.query_pk] = no_room(payer.budget, wish.more, left)
    _note(conn, [wish for group in groups for wish in group])
    return why


def _take(conn: Connection, payer: Payer, period: str, more: Spend) -> bool:
    """Hold so much more, if it fits. One statement: two who come together cannot both get the last."""
    if more == NOTHING:
        return True
    b = key_spending.c
    of_key = update(key_spending).where(b.key_id == payer.key_id, b.period == period)
    for used, held, limit, part in zip(_USED, _HELD, _limits(payer.budget), more, strict=True):
        of_key = of_key.where(b[used] + b[held] + part <= limit)
    return bool(
        conn.execute(
            of_key.values({name: b[name] + part for name, part in zip(_HELD, more, strict=True)})
        ).rowcount
    )


def _note(conn: Connection, wishes: Sequence[Wish]) -> None:
    rows = []
    for wish in wishes:
        held = wish.held.plus(wish.more)
        parts = dict(zip((*_HELD, *_PAID), (*held, *wish.paid), strict=True))
        rows.append({"query_pk": wish.query_pk, "key_id": wish.payer.key_id, "period": wish.period, **parts})
    if rows:
        conn.execute(insert_or_replace(conn, query_spending), rows)


def _limits(budget: KeyBudget) -> Spend:
    most = _UNLIMITED
    return Spend(
        most.tokens if budget.tokens is None else budget.tokens,
        most.usd if budget.usd is None else budget.usd,
        most.engine_s if budget.engine_s is None else budget.engine_s,
    )


def _spendings(conn: Connection, query_pks: Iterable[int]) -> dict[int, Any]:
    """What is known of the spending of queries, by query."""
    wanted = select(query_spending).where(among(query_spending.c.query_pk, sorted(query_pks)))
    return {row.query_pk: row for row in conn.execute(wanted)}


def _spend(row: Any, names: Sequence[str]) -> Spend:
    return Spend(*(getattr(row, name) for name in names))


def _used(conn: Connection, query_pks: Sequence[int], tariff: Tariff) -> dict[int, Spend]:
    """What queries used so far, by what their calls said."""
    a = t.assignment.c
    wanted = select(a.query_pk, a.engine_id, a.response).where(
        among(a.query_pk, query_pks), a.response.is_not(None)
    )
    found: dict[int, Spend] = defaultdict(lambda: NOTHING)
    for row in conn.execute(wanted):
        response = Response.model_validate_json(row.response)
        found[row.query_pk] = found[row.query_pk].plus(_spent(response, row.engine_id, tariff))
    return found


def _spent(response: Response, engine_id: str, tariff: Tariff) -> Spend:
    tokens = response.usage.prompt_tokens + response.usage.completion_tokens
    return Spend(tokens, response.usage.cost_usd, tariff.seconds(engine_id, tokens))
