"""Pages of experts: who can what, one expert's card, two experts side by side."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from api.dashboard.heat import ORDERS, Cell, Order, cells_of, heat_map
from api.dashboard.rendering import PageRoute, page, percent, see_other
from api.deps import AppDep, CallerDep, Requires
from api.schemas.experts import ExpertView
from api.views.experts import drift_view, expert_views
from orchestrator.bootstrap.app import App
from orchestrator.domain.cards import CompetenceCard, Tally
from orchestrator.domain.experts import Expert
from orchestrator.domain.feedback import DAY_S
from orchestrator.domain.keys import Scope
from orchestrator.domain.merges import Lineage

MOST_SKILLS = 60
"""Skills on an expert's page; the others stand in the heat map."""

NOTHING_KNOWN: Mapping[str, Any] = MappingProxyType(
    {
        "total": None,
        "n_more": 0,
        "feedback_n": 0,
        "stored_at": None,
        **dict.fromkeys(("skills", "domains", "aggregation", "drifts"), ()),
    }
)
"""Of the page of an expert that was not measured."""

ADMIN = [Depends(Requires(Scope.ADMIN))]

router = APIRouter(prefix="/experts", route_class=PageRoute, include_in_schema=False)


class Listed(NamedTuple):
    """An expert in the list; `total` None = not measured."""

    view: ExpertView
    total: Cell | None
    tokens: float | None
    cost: float | None


class Measured(NamedTuple):
    """A measurement of an expert: on which questions (their hash), how well, how long its answers were,
    whether it was configured as it is now, and when, None = before dates were kept."""

    profile: str
    cell: Cell
    tokens: float
    is_as_now: bool
    at_s: float | None


class Week(NamedTuple):
    """Judged answers of the week that begins at `at_s`, seconds since 1970."""

    at_s: int
    cell: Cell


class Ancestry(NamedTuple):
    """An expert and what it was merged from; no parents = it was not merged, or nothing is known of it."""

    name: str
    method: str
    verdict: str
    parents: "tuple[Ancestry, ...]"


@router.get("")
def experts_page(
    request: Request,
    app: AppDep,
    caller: CallerDep,
    text: Annotated[str, Query(max_length=256)] = "",
    order: Annotated[Order, Query()] = "known",
    by: Annotated[Literal["skills", "domains"], Query()] = "skills",
    at: Annotated[int, Query(alias="page", ge=1)] = 1,
    swiss: Annotated[bool, Query()] = False,
) -> Response:
    """The heat map, and the pool."""
    experts, cards = app.experts.of(caller), app.experts.cards()
    own = {expert_id: card for expert_id, card in cards.items() if expert_id in experts}
    address = "/experts?" + urlencode({"text": text, "order": order, "by": by}) + "&"
    standings = app.evaluation.swiss() if swiss and own else []
    return page(
        request,
        "experts.html",
        experts=_listed(app, experts, own),
        n_measured=len(own),
        feedback=any(card.feedback.n for card in own.values()),
        map=heat_map(own, list(experts), by=by, order=order, text=text, page=at),
        orders=ORDERS,
        order=order,
        by=by,
        text=text,
        page_address=address,
        lineages=[ancestry(name, app.experts.lineages) for name in app.experts.lineages if name in experts],
        standings=[standing for standing in standings if standing.expert_id in experts],
        can_rank=len(own) > 1,
    )


@router.get("/compare")
def compare_page(
    request: Request,
    app: AppDep,
    caller: CallerDep,
    a: Annotated[str | None, Query()] = None,
    b: Annotated[str | None, Query()] = None,
) -> Response:
    """Two experts, skill by skill; without two, the expert that has this page's name, if there is one."""
    if a is None or b is None:
        return expert_page("compare", request, app, caller)
    for expert_id in (a, b):
        app.experts.expert(expert_id, caller)
    cards = app.experts.cards()
    both = sorted(set(cards[a].skills) & set(cards[b].skills)) if a in cards and b in cards else []
    left = _cells(cards[a], cards[a].skills, both) if both else []
    right = _cells(cards[b], cards[b].skills, both) if both else []
    rows = [row for row in zip(both, left, right, strict=True) if row[1].mean is not None is not row[2].mean]
    rows.sort(key=lambda row: -abs((row[1].mean or 0) - (row[2].mean or 0)))
    verdict = _verdict(a, b, cards) if both else ""
    return page(request, "compare.html", a=a, b=b, rows=rows, verdict=verdict)


@router.post("/{expert_id:path}/pause", dependencies=ADMIN)
def pause(expert_id: str, app: AppDep, reason: Annotated[str, Form(max_length=500)] = "") -> Response:
    """An expert is taken out of recruiting."""
    app.pauses.pause(expert_id, reason=reason)
    return see_other(f"/experts/{quote(expert_id)}")


@router.post("/{expert_id:path}/resume", dependencies=ADMIN)
def resume(expert_id: str, app: AppDep) -> Response:
    """An expert is put back into recruiting."""
    app.pauses.resume(expert_id)
    return see_other(f"/experts/{quote(expert_id)}")


@router.get("/{expert_id:path}")
def expert_page(expert_id: str, request: Request, app: AppDep, caller: CallerDep) -> Response:
    """One expert: what it is, how well it does, its worst skills first."""
    expert = app.experts.expert(expert_id, caller)
    card = app.experts.cards().get(expert_id)
    view = _views(app, {expert_id: expert}, {} if card is None else {expert_id: card})[0]
    known = _known(app, card) if card is not None else {}
    lineages = {name: line for name, line in app.experts.lineages.items() if name in app.experts.of(caller)}
    return page(
        request,
        "expert.html",
        view=view,
        card=card,
        others=[name for name in app.experts.of(caller) if name != expert_id],
        history=_history(app, expert),
        weeks=_weeks(app, expert),
        ancestry=ancestry(expert_id, lineages) if expert_id in lineages else None,
        offspring=[name for name, line in lineages.items() if expert_id in line.parents],
        **{**NOTHING_KNOWN, **known},
    )


def ancestry(name: str, lineages: Mapping[str, Lineage], above: frozenset[str] = frozenset()) -> Ancestry:
    """The tree of an expert; one that is its own ancestor, which no merge makes, ends there."""
    line = lineages.get(name)
    if line is None or name in above:
        return Ancestry(name, "", "", ())
    parents = tuple(ancestry(parent, lineages, above | {name}) for parent in line.parents)
    return Ancestry(name, line.method, line.verdict, parents)


def _history(app: App, expert: Expert) -> list[Measured]:
    """Measurements of an expert, the last one first; none of those that an import brought without counts."""
    dated = [one for one in app.experts.history(expert.id) if one.card.total.n]
    totals = [card.total for card, _ in dated]
    cells = cells_of(totals, prior_means=[total.accuracy for total in totals])
    return [
        Measured(card.profile_hash, cell, card.mean_tokens, card.fingerprint == expert.fingerprint, at_s)
        for (card, at_s), cell in zip(dated, cells, strict=True)
    ]


def _weeks(app: App, expert: Expert) -> list[Week]:
    """Judged answers of an expert by week, the last one first."""
    judged = list(reversed(app.experts.judged(expert.id)))
    cells = cells_of([week.tally for week in judged], prior_means=[0.5 for _ in judged])
    return [Week(week.day * DAY_S, cell) for week, cell in zip(judged, cells, strict=True)]


def _known(app: App, card: CompetenceCard) -> dict[str, Any]:
    """What the page of a measured expert shows."""
    skills = _worst_first(card, card.skills)
    return {
        "total": cells_of([card.total], prior_means=[card.total.accuracy])[0],
        "skills": skills[:MOST_SKILLS],
        "n_more": max(0, len(skills) - MOST_SKILLS),
        "domains": _worst_first(card, card.domains),
        "aggregation": _worst_first(card, card.aggregation),
        "feedback_n": card.feedback.n,
        "drifts": [drift_view(d) for d in app.experts.drifts() if d.expert_id == card.expert_id],
        "stored_at": app.experts.stored_at().get(card.expert_id),
    }


def _worst_first(card: CompetenceCard, tallies: Mapping[str, Tally]) -> list[tuple[str, Cell]]:
    names = sorted(tallies)
    rows = zip(names, _cells(card, tallies, names), strict=True)
    return sorted((row for row in rows if row[1].mean is not None), key=lambda row: row[1].mean or 0.0)


def _cells(card: CompetenceCard, tallies: Mapping[str, Tally], names: list[str]) -> list[Cell]:
    return cells_of([tallies[name] for name in names], prior_means=[card.total.accuracy for _ in names])


def _verdict(a: str, b: str, cards: Mapping[str, CompetenceCard]) -> str:
    """One sentence: by their intervals over all, who is better, if that can be said."""
    left, right = cells_of(
        [cards[a].total, cards[b].total], prior_means=[cards[a].total.accuracy, cards[b].total.accuracy]
    )
    shares = f"{percent(left.mean)} and {percent(right.mean)} right over all"
    if left.low > right.high:
        return f"{shares}: {a} is better."
    if right.low > left.high:
        return f"{shares}: {b} is better."
    return f"{shares}: their intervals overlap, so neither is surely better over all."


def _listed(app: App, experts: Mapping[str, Expert], cards: Mapping[str, CompetenceCard]) -> list[Listed]:
    measured = [card for card in cards.values() if card.total.n]
    cells = cells_of([card.total for card in measured], prior_means=[c.total.accuracy for c in measured])
    totals = {card.expert_id: cell for card, cell in zip(measured, cells, strict=True)}
    return [
        Listed(
            view,
            totals.get(view.id),
            cards[view.id].mean_tokens if view.id in cards else None,
            cards[view.id].cost_per_query if view.id in cards else None,
        )
        for view in _views(app, experts, cards)
    ]


def _views(app: App, experts: Mapping[str, Expert], cards: Mapping[str, CompetenceCard]) -> list[ExpertView]:
    return expert_views(
        experts.values(),
        cards=cards,
        states=app.engines.states(among=[expert.engine.id for expert in experts.values()]),
        lineages=app.experts.lineages,
        paused=app.pauses.paused(),
    )
