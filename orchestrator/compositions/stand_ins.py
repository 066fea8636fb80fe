"""Stand-ins: who is asked in place of an expert that could not be asked, before the answer is degraded."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from orchestrator.domain.answers import Decision, Recruit
from orchestrator.domain.assignments import Response
from orchestrator.domain.experts import Pool

NOT_ASKED_AGAIN = frozenset({"cancelled", "aborted"})
"""Error codes of calls that somebody ended on purpose."""


def with_stand_ins(decision: Decision, responses: Iterable[Response], pool: Pool) -> Decision | None:
    """The decision with the next reserves, and then its runner-up, recruited for experts that could not be
    asked and have no stand-in yet; None = there is nobody to ask.

    What was answered, however badly, needs no stand-in. Whoever shares an engine with such an expert could
    not be asked either.
    """
    failed = [r for r in responses if not r.is_experts_own and r.error_code not in NOT_ASKED_AGAIN]
    lost = _without_stand_in([r.expert_id for r in failed], decision.recruits)
    if not lost:
        return None
    engines = {pool.by_id[r.expert_id].engine.id for r in failed if r.expert_id in pool.by_id}
    chosen = _able(decision, pool, engines)[: len(lost)]
    return _recruited(decision, chosen, lost) if chosen else None


def _without_stand_in(failed: Sequence[str], recruits: Iterable[Recruit]) -> list[str]:
    found = Counter(recruit.in_place_of for recruit in recruits)
    lost = []
    for expert_id in failed:
        found[expert_id] -= 1
        if found[expert_id] < 0:
            lost.append(expert_id)
    return lost


def _able(decision: Decision, pool: Pool, engines: Collection[str]) -> list[Recruit]:
    runner_up = [decision.runner_up] if decision.runner_up else []
    taken = {recruit.expert_id for recruit in decision.recruits}
    by_id = pool.by_id
    return [
        recruit
        for recruit in (*decision.reserves, *runner_up)
        if recruit.expert_id in by_id
        and recruit.expert_id not in taken
        and by_id[recruit.expert_id].engine.id not in engines
    ]


def _recruited(decision: Decision, chosen: Sequence[Recruit], lost: Sequence[str]) -> Decision:
    weights = {recruit.expert_id: recruit.weight for recruit in decision.recruits}
    stand_ins = [
        recruit.model_copy(
            update={
                "weight": recruit.weight or weights.get(expert_id, 0.0),
                "in_place_of": expert_id,
                "note": "; ".join(
                    [*([recruit.note] if recruit.note else []), f"asked in place of {expert_id}"]
                ),
            }
        )
        for recruit, expert_id in zip(chosen, lost, strict=False)
    ]
    everybody = (*decision.recruits, *stand_ins)
    total = sum(recruit.weight for recruit in everybody)
    shares = [recruit.weight / total if total > 0 else 1 / len(everybody) for recruit in everybody]
    now = {recruit.expert_id for recruit in chosen}
    return decision.model_copy(
        update={
            "recruits": tuple(
                r.model_copy(update={"weight": w}) for r, w in zip(everybody, shares, strict=True)
            ),
            "reserves": tuple(r for r in decision.reserves if r.expert_id not in now),
            "runner_up": None
            if decision.runner_up and decision.runner_up.expert_id in now
            else decision.runner_up,
        }
    )
