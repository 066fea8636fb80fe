from aggregators.outputs import make_aggregator
from orchestrator.domain.assignments import Call, CallRole
from tests.fakes.ballots import Talk, context, expert, fails, says, state

ACCURACIES = {"a": 0.8, "b": 0.6, "c": 0.6}
POOL = context([*(expert(name) for name in "abc"), expert("scribe", aggregates=True)])
SPLIT = [says("a", "A"), says("b", "B"), says("c", "C")]


def talk(says_what: object, responses: list = SPLIT, **options: object) -> Talk:
    aggregator = make_aggregator("moa", POOL, options)  # type: ignore[arg-type]
    return Talk(aggregator, state(ACCURACIES), responses, says_what)  # type: ignore[arg-type]


def stubborn(call: Call) -> str:
    own = {"a": "A", "b": "B", "c": "C", "scribe": "B"}
    return f"answer: {own[call.expert_id]}"


def test_two_layers_of_proposers_and_one_writer() -> None:
    said = talk(stubborn)
    assert [[call.role for call in calls] for calls in said.asked] == [
        [CallRole.DISCUSS] * 3,
        [CallRole.AGGREGATE],
    ]
    assert [call.sampling.temperature for call in said.asked[0]] == [0.7] * 3
    assert said.answer.value == "B"
    assert said.answer.aggregator == "moa"
    assert said.answer.extras == {"written_by": "scribe", "moa": {"layers": 2}}
    assert said.answer.n_calls == 7


def test_a_layer_reads_the_last_one_only() -> None:
    said = talk(lambda call: f"answer: {call.expert_id}{len(call.messages[-1].content)}", layers=3)
    first, second, _ = said.asked
    assert "answer: A" in first[0].messages[-1].content
    assert "answer: A\n" not in second[0].messages[-1].content
    assert "answer: a" in second[0].messages[-1].content


def test_one_layer_is_synthesis() -> None:
    assert [[call.role for call in calls] for calls in talk(stubborn, layers=1).asked] == [
        [CallRole.AGGREGATE]
    ]


def test_layers_end_where_the_proposers_come_to_agree() -> None:
    said = talk(lambda _: "answer: C", layers=5)
    assert len(said.asked) == 1
    assert said.answer.value == "C"


def test_a_layer_that_cannot_be_read_is_passed_over() -> None:
    said = talk(lambda call: "hm" if call.role is CallRole.DISCUSS else "answer: A", layers=2)
    assert "answer: C" in said.asked[-1][0].messages[-1].content
    assert said.answer.value == "A"


def test_experts_that_abstained_at_first_are_noted_and_those_that_failed_are_not_asked_again() -> None:
    said = talk(stubborn, [says("a", "A"), says("b", "B"), fails("c")])
    assert [call.expert_id for call in said.asked[0]] == ["a", "b"]
    assert said.answer.degraded
    assert said.answer.notes[0].startswith("2 of 3 responses counted")
