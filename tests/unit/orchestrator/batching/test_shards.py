import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching import estimated_tokens, group_by_engine, retry_limit, shard_size
from orchestrator.domain.assignments import Assignment, Call, CallRole, Sampling
from orchestrator.domain.queries import Message


def call(text: str = "x" * 40, *, max_tokens: int = 8) -> Call:
    messages = (Message(role="user", content=text),)
    return Call(
        expert_id="e", role=CallRole.EXPERT, messages=messages, sampling=Sampling(max_tokens=max_tokens)
    )


@given(engines=st.lists(st.sampled_from("abc"), max_size=50))
def test_grouping_neither_loses_nor_invents_an_assignment(engines: list[str]) -> None:
    assignments = [
        Assignment(id=ix, job_id="j", query_id=ix, stage=0, engine_id=engine_id, call=call())
        for ix, engine_id in enumerate(engines)
    ]
    batches = group_by_engine(assignments)
    assert sorted(a.id for batch in batches.values() for a in batch) == list(range(len(engines)))
    assert all(a.engine_id == engine_id for engine_id, batch in batches.items() for a in batch)


@pytest.mark.parametrize(
    ("per_s", "expected"), [(None, 16), (0.5, 16), (10.0, 50), (10.19, 50), (1000.0, 256)]
)
def test_a_shard_is_five_seconds_of_work_within_its_limits(per_s: float | None, expected: int) -> None:
    assert shard_size(per_s=per_s) == expected


@pytest.mark.parametrize(("attempt", "expected"), [(0, 256), (1, 8), (2, 1), (3, 1), (500, 1)])
def test_retried_shards_shrink_to_one(attempt: int, expected: int) -> None:
    assert retry_limit(256, attempt=attempt) == expected


def test_tokens_are_a_quarter_of_the_prompt_plus_the_longest_output() -> None:
    assert estimated_tokens(call("x" * 41, max_tokens=100)) == 110


@pytest.mark.parametrize(
    ("n_waiting", "n_devices", "expected"),
    [(1000, 1, 250), (1000, 2, 250), (1000, 4, 125), (100, 4, 16), (100, 1, 250), (None, 4, 250)],
)
def test_shards_shrink_so_that_devices_which_share_an_engine_finish_together(
    n_waiting: int | None, n_devices: int, expected: int
) -> None:
    """50 per second: 250 in 5 s; 1000 left for 4 devices: half of 250; never under 16."""
    assert shard_size(per_s=50.0, n_waiting=n_waiting, n_devices=n_devices) == expected
