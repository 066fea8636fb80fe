"""What calls used, summed."""

from orchestrator.domain.answers import Usage
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.usage import NO_USAGE, UsageSums, usage_of_calls


def response(n_prompt: int, n_written: int, *, code: str | None = None) -> Response:
    usage = Usage(prompt_tokens=n_prompt, completion_tokens=n_written, cost_usd=0.25)
    return Response(expert_id="e", role=CallRole.EXPERT, stage=0, usage=usage, engine_s=0.5, error_code=code)


def test_calls_are_summed_and_those_that_failed_are_counted_apart() -> None:
    calls = [response(3, 5), response(4, 0, code="timeout"), response(2, 1)]
    assert usage_of_calls(calls) == UsageSums(
        n_completed=2, n_failed=1, prompt_tokens=9, completion_tokens=6, cost_usd=0.75, engine_s=1.5
    )


def test_the_sum_of_parts_is_the_sum_of_all() -> None:
    calls = [response(3, 5), response(4, 0, code="timeout"), response(2, 1)]
    assert usage_of_calls(calls[:1]).plus(usage_of_calls(calls[1:])) == usage_of_calls(calls)
    assert usage_of_calls([]) == NO_USAGE
