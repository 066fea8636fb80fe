import pytest

from orchestrator.compositions.stand_ins import with_stand_ins
from orchestrator.domain.answers import Decision, Recruit
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.experts import Pool
from tests.fakes.work import make_pool

POOL = Pool(experts=make_pool("a", "b", "c", "d", experts_per_engine=2).experts)


def recruit(expert_id: str, weight: float = 0.5) -> Recruit:
    return Recruit(expert_id=expert_id, weight=weight, score=1, accuracy=0.7)


def decision(*recruits: str, reserves: tuple[str, ...] = (), runner_up: str | None = None) -> Decision:
    return Decision(
        router="any",
        recruits=tuple(recruit(e, 1 / len(recruits)) for e in recruits),
        reserves=tuple(recruit(e) for e in reserves),
        runner_up=recruit(runner_up, 0.0) if runner_up else None,
    )


def responses(**codes: str | None) -> list[Response]:
    return [
        Response(expert_id=f"{name}/0", role=CallRole.EXPERT, stage=0, error_code=code)
        for name, code in codes.items()
    ]


def test_the_next_reserve_is_asked_in_place_of_an_expert_that_is_down() -> None:
    found = with_stand_ins(
        decision("a/0", "b/0", reserves=("c/0", "d/0")), responses(a=None, b="engine_load_failed"), POOL
    )
    assert found is not None
    assert found.expert_ids == ("a/0", "b/0", "c/0")
    assert [r.expert_id for r in found.reserves] == ["d/0"]
    assert (found.recruits[2].in_place_of, found.recruits[2].note) == ("b/0", "asked in place of b/0")
    assert sum(r.weight for r in found.recruits) == pytest.approx(1)


def test_nobody_is_replaced_twice_and_a_stand_in_that_is_down_is_replaced_too() -> None:
    first = with_stand_ins(decision("a/0", reserves=("b/0", "c/0")), responses(a="poison"), POOL)
    assert first is not None
    assert with_stand_ins(first, responses(a="poison", b=None), POOL) is None
    second = with_stand_ins(first, responses(a="poison", b="engine_crashed"), POOL)
    assert second is not None
    assert second.expert_ids == ("a/0", "b/0", "c/0")
    assert second.recruits[2].in_place_of == "b/0"


def test_after_the_reserves_comes_the_runner_up_with_the_weight_of_whom_it_replaces() -> None:
    found = with_stand_ins(
        decision("a/0", "b/0", runner_up="c/0"), responses(a="engine_crashed", b=None), POOL
    )
    assert found is not None
    assert found.expert_ids == ("a/0", "b/0", "c/0")
    assert [r.weight for r in found.recruits] == pytest.approx([1 / 3] * 3)
    assert found.runner_up is None


def test_whoever_shares_the_engine_that_is_down_is_passed_over() -> None:
    found = with_stand_ins(decision("a/0", reserves=("a/1", "b/1")), responses(a="expert_unavailable"), POOL)
    assert found is not None
    assert found.expert_ids == ("a/0", "b/1")
    assert [r.expert_id for r in found.reserves] == ["a/1"]


@pytest.mark.parametrize("code", [None, "context_exceeded", "invalid_request", "cancelled"])
def test_what_was_answered_or_was_the_experts_own_failure_needs_nobody(code: str | None) -> None:
    assert with_stand_ins(decision("a/0", reserves=("b/0",)), responses(a=code), POOL) is None


def test_where_nobody_is_left_the_vote_goes_on_without() -> None:
    assert with_stand_ins(decision("a/0"), responses(a="poison"), POOL) is None
