from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs import make_aggregator
from orchestrator.domain.assignments import CallRole
from tests.fakes.ballots import Talk, context, expert, fails, says, state

POOL = context([expert("a"), expert("b")])
ONE = [says("a", "A")]


def talk(*values: str, **options: object) -> Talk:
    aggregator = make_aggregator("self_consistency", POOL, options)  # type: ignore[arg-type]
    return Talk(
        aggregator, state({"a": 0.8, "b": 0.6}), ONE, lambda call: f"answer: {values[call.sample_ix]}"
    )


def test_one_expert_is_sampled_until_it_has_answered_n_times() -> None:
    said = talk("B", "B", "A", "B")
    [calls] = said.asked
    assert {(c.expert_id, c.role, c.sampling.temperature) for c in calls} == {("a", CallRole.SAMPLE, 0.7)}
    assert len({c.sampling.seed for c in calls}) == len(calls) == 4
    assert said.answer.value == "B"
    assert said.answer.usage_by_role["sample"].completion_tokens == 20


def test_one_sample_is_the_response_itself() -> None:
    said = talk(samples=1)
    assert said.asked == []
    assert said.answer.value == "A"


@given(st.lists(st.sampled_from("ABC"), min_size=4, max_size=4))
def test_most_samples_win(values: list[str]) -> None:
    counts = {v: (["A", *values]).count(v) for v in "ABC"}
    assert counts[talk(*values).answer.value or ""] == max(counts.values())


def test_samples_that_cannot_be_read_are_no_votes_and_degrade_nothing() -> None:
    aggregator = make_aggregator("self_consistency", POOL, {"samples": 3})
    said = Talk(aggregator, state({"a": 0.8}), ONE, lambda call: None if call.sample_ix else "hm")
    assert (said.answer.value, said.answer.degraded) == ("A", False)
    assert said.answer.notes == ("0 of 2 further responses counted", "not heard: a (engine_crashed)")


def test_the_best_recruit_that_could_be_read_is_sampled() -> None:
    aggregator = make_aggregator("self_consistency", POOL)
    said = Talk(aggregator, state({"a": 0.8, "b": 0.6}), [fails("a"), says("b", "B")], lambda _: "answer: C")
    assert {call.expert_id for call in said.asked[0]} == {"b"}
    assert said.answer.degraded
