"""What the live check calls a fault, on completions as a server sends them."""

import pytest

from examples.llm.live import json_faults, number_faults, prose_faults, seen

WORDS = "Dear neighbour, a parcel came for you today; it is safe with me. Best wishes."
ONE = {"answered_by": "smollm2", "confidence": None, "votes": []}
VOTES = [{"expert": "smollm2", "value": "391"}, {"expert": "qwen2.5-coder-0.5b", "value": None}]


def test_prose_in_one_experts_words_is_as_it_should_be() -> None:
    assert prose_faults(WORDS, ONE) == []
    assert prose_faults(WORDS, {**ONE, "expected_grade": {"mean": 0.6}}) == []


@pytest.mark.parametrize(
    ("text", "changed", "fault"),
    [
        ("No.", {}, "no sensible answer"),
        (WORDS, {"answered_by": None}, "no expert is named"),
        (WORDS, {"confidence": 0.9}, "a confidence is stated"),
        (WORDS, {"votes": [{"value": "a"}, {"value": "b"}]}, "votes are told"),
    ],
)
def test_prose_that_pretends_a_vote_is_at_fault(text: str, changed: dict[str, object], fault: str) -> None:
    assert prose_faults(text, {**ONE, **changed}) == [fault]


def test_a_number_is_read_and_voted() -> None:
    voted = {"value": "391", "confidence": 0.8, "votes": VOTES}
    assert number_faults("The answer is 391.", voted) == []
    assert number_faults("391", {**voted, "value": "the answer"}) == ["read as 'the answer'"]
    assert number_faults("391", {"value": "391"}) == ["no vote", "no confidence"]


def test_json_keeps_to_its_schema_and_nothing_stands_beside_it() -> None:
    assert json_faults('{"name": "Ada", "age": 36, "city": "London"}', {}) == []
    assert json_faults('Here: {"name": "Ada"}', {}) == ["the text is no JSON"]
    assert json_faults('{"name": "Ada", "age": 36}', {}) == ["other keys than the schema's"]
    assert json_faults('{"name": "Ada", "age": "36", "city": "London"}', {}) == ["age is of another type"]


def test_what_was_seen_has_the_votes_and_the_reasons_notes() -> None:
    muster = {"value": "391", "confidence": 0.8, "votes": VOTES, "notes": ["a"], "reasons": {"notes": ["b"]}}
    told = seen("number", {"choices": [{"message": {"content": "391"}}], "muster": muster})
    assert told["faults"] == []
    assert told["votes"] == [("smollm2", "391"), ("qwen2.5-coder-0.5b", None)]
    assert told["notes"] == ["a", "b"]
