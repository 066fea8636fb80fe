from collections.abc import Sequence

import pytest

from orchestrator.compositions.waves import WaveOptions, make_waves, n_in_any_case, promoted, why_ask_on
from orchestrator.domain.answers import Answer, Decision, Recruit
from orchestrator.domain.assignments import Done, QueryState, Response
from orchestrator.domain.queries import Query
from orchestrator.errors import ConfigError
from orchestrator.ports.composing import Count, Outlook

OPTIONS = WaveOptions(agree=2, confidence=0.3, lookahead=2, lookahead_share=1.0)


def outlook(
    *,
    n_votes: int = 2,
    n_agree: int = 1,
    lead: float = 0.0,
    confidence: float | None = 0.5,
    next_weights: Sequence[float] = (1.0, 1.0, 1.0),
) -> Outlook:
    return Outlook(n_votes, n_agree, lead, confidence, tuple(next_weights))


def test_votes_that_differ_ask_the_next() -> None:
    assert why_ask_on(outlook(), OPTIONS) == "1 of 2 votes agreed"


def test_two_that_agree_are_enough() -> None:
    assert why_ask_on(outlook(n_agree=2, lead=1.5), OPTIONS) is None


def test_two_that_agree_on_something_improbable_are_not() -> None:
    assert why_ask_on(outlook(n_agree=2, confidence=0.2), OPTIONS) == "confidence was 0.20"
    assert why_ask_on(outlook(n_agree=2, confidence=None), OPTIONS) is None


def test_nobody_is_asked_whose_votes_could_not_change_the_answer() -> None:
    """A specialist leads by 3; the next two weigh 1 and −2 (0): 1 < 3. With 2 and 1.5 they could."""
    one_vote = outlook(n_votes=1, lead=3.0, next_weights=(1.0, -2.0, 9.0))
    assert why_ask_on(one_vote, OPTIONS) is None
    assert why_ask_on(one_vote._replace(next_weights=(2.0, 1.5)), OPTIONS) == "1 of 1 votes agreed"


def test_without_a_readable_answer_the_next_is_asked_whatever_it_weighs() -> None:
    nobody = outlook(n_votes=0, n_agree=0, confidence=None, next_weights=(-1.0,))
    assert why_ask_on(nobody, OPTIONS) == "no readable answer yet"


def test_without_reserves_nobody_is_asked() -> None:
    assert why_ask_on(outlook(next_weights=()), OPTIONS) is None


def recruit(expert_id: str, weight: float, note: str | None = None) -> Recruit:
    return Recruit(expert_id=expert_id, weight=weight, score=0.5, accuracy=0.5, note=note)


DECISION = Decision(
    router="r",
    recruits=(recruit("a", 1.0),),
    reserves=(recruit("b", 0.6, "not profiled"), recruit("c", 0.4)),
)


def test_a_reserve_that_is_asked_becomes_a_recruit_with_the_reason() -> None:
    """Shares 1 and .6 of 1.6."""
    after = promoted(DECISION, 1, "1 of 1 votes agreed")
    assert after.expert_ids == ("a", "b")
    assert [r.weight for r in after.recruits] == pytest.approx([1 / 1.6, 0.6 / 1.6])
    assert after.recruits[1].note == "not profiled; asked next: 1 of 1 votes agreed"
    assert [r.expert_id for r in after.reserves] == ["c"]


def test_more_than_the_reserves_are_not_asked() -> None:
    assert promoted(DECISION, 5, "x").expert_ids == ("a", "b", "c")


class Undecided:
    name = "undecided"

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        return Done(answer=Answer(text=""))

    def count(self, state: QueryState, expert_responses: Sequence[Response]) -> Count:
        n = len(state.decision.reserves) if state.decision else 0
        return self._standing_at(state, outlook(next_weights=(1.0,) * n))

    def _standing_at(self, state: QueryState, where: Outlook) -> Count:
        return Count(where, lambda: self.step(state, ()))


def test_waves_end_with_the_reserves() -> None:
    waves = make_waves(Undecided(), {"size": 2})
    state = QueryState(id=1, job_id="j", query=Query(id="q", question="?"), decision=DECISION)
    decision = waves.next(state, ())
    assert isinstance(decision, Decision)
    assert decision.expert_ids == ("a", "b", "c")
    assert isinstance(waves.next(state.model_copy(update={"decision": decision}), ()), Done)


class Weighing(Undecided):
    """Before anybody has answered, the reserves' votes weigh what their accuracy is."""

    def count(self, state: QueryState, expert_responses: Sequence[Response]) -> Count:
        assert state.decision is not None
        weights = [r.score for r in state.decision.reserves]
        return self._standing_at(state, outlook(n_votes=0, n_agree=0, next_weights=weights))


@pytest.mark.parametrize(
    ("weights", "asked"),
    [
        ((3.0, 1.0, 1.0), ("a",)),  # 3 is more than 1 + 1
        ((1.0, 1.0, 1.0), ("a", "b")),  # 1 is less than 1 + 1; two that agree are enough
        ((1.0, -1.0, -1.0), ("a",)),  # nobody left has a say
    ],
)
def test_those_who_are_asked_in_any_case_are_asked_at_once(
    weights: tuple[float, ...], asked: tuple[str, ...]
) -> None:
    ranked = [
        recruit(name, 1.0).model_copy(update={"score": w}) for name, w in zip("abc", weights, strict=True)
    ]
    decision = Decision(router="r", recruits=(ranked[0],), reserves=tuple(ranked[1:]))
    state = QueryState(id=1, job_id="j", query=Query(id="q", question="?"))
    opened = make_waves(Weighing(), {}).opened(state, decision)
    assert opened.expert_ids == asked
    assert [r.expert_id for r in opened.reserves] == list("abc")[len(asked) :]


def test_an_aggregator_that_does_not_say_where_it_stands_is_refused() -> None:
    class Silent:
        name = "silent"

        def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
            return Done(answer=Answer(text=""))

    with pytest.raises(ConfigError, match="'silent' cannot vote in waves"):
        make_waves(Silent(), {})
    with pytest.raises(ConfigError, match="has no option 'patience'"):
        make_waves(Undecided(), {"patience": 3})


@pytest.mark.parametrize(
    ("weights", "n"),
    [
        ((3.0, 1.0, 1.0), 1),
        ((1.0, 0.6, 0.6), 1),  # 0.9 · 1.2 = 1.08 > 1, but 0.75 of that is not
        ((1.0, 0.9, 0.9), 2),  # 0.75 · 0.9 · 1.8 = 1.2 > 1; then two agree
        ((1.0,), 1),
    ],
)
def test_asked_in_any_case_are_those_without_whom_even_agreement_falls_clearly_short(
    weights: tuple[float, ...], n: int
) -> None:
    assert n_in_any_case(weights, WaveOptions()) == n
