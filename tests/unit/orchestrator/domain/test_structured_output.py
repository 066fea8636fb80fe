import pytest
from pydantic import ValidationError

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.terms import StructuredOutput


@pytest.mark.parametrize(
    "fields",
    [{}, {"choice": ()}, {"choice": ("a",), "regex": "a"}, {"regex": "a", "json_schema": {}}],
)
def test_structured_output_is_exactly_one_thing(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        StructuredOutput.model_validate(fields)


def test_sampling_of_an_older_call_is_read_as_plain_text() -> None:
    sampling = Sampling.model_validate_json('{"max_tokens": 3, "temperature": 0.5, "stop": ["x"]}')
    assert sampling.structured_output is None
    assert sampling.logprobs is None


def test_sampling_survives_json() -> None:
    wanted = Sampling(logprobs=2, structured_output=StructuredOutput(choice=("a", "b")))
    assert Sampling.model_validate_json(wanted.model_dump_json()) == wanted
