"""Who gets how much of an engine's next shard."""

from orchestrator.batching.shares import Share, divided, rank_of, weight_of
from orchestrator.domain.assignments import BACKGROUND, BATCH, INTERACTIVE


def test_a_shard_is_divided_equally_among_jobs_that_were_served_alike() -> None:
    shares = [Share(job, BATCH, 1000, 5.0) for job in (1, 2, 3)]
    assert divided(shares, 9) == {1: 3, 2: 3, 3: 3}


def test_what_a_short_job_does_not_need_goes_to_the_others() -> None:
    """10 and 50,000: the short one is through with one shard of 256."""
    assert divided([Share(1, BATCH, 50_000, 0.0), Share(2, BATCH, 10, 0.0)], 256) == {1: 246, 2: 10}


def test_who_was_served_less_catches_up_first() -> None:
    """Turns 0 and 6 of 10: 6 until both stand at 6, then 2 each."""
    assert divided([Share(1, BATCH, 99, 0.0), Share(2, BATCH, 99, 6.0)], 10) == {1: 8, 2: 2}


def test_a_priority_of_two_is_served_three_for_one() -> None:
    assert divided([Share(1, 2, 99, 0.0), Share(2, BATCH, 99, 0.0)], 12) == {1: 9, 2: 3}
    assert [weight_of(priority) for priority in (-3, BATCH, 2, INTERACTIVE, 99)] == [1, 1, 3, 1, 1]


def test_with_less_room_than_jobs_those_with_the_smallest_turns_are_served() -> None:
    shares = [Share(job, BATCH, 5, float(10 - job)) for job in range(10)]
    assert divided(shares, 2) == {9: 1, 8: 1}
    assert divided(shares, 4) == {9: 2, 8: 1, 7: 1}


def test_nothing_is_given_of_what_does_not_wait() -> None:
    assert divided([], 8) == {}
    assert divided([Share(1, BATCH, 0, 0.0), Share(2, BATCH, 3, 9.0)], 8) == {2: 3}


def test_batches_share_a_rank_and_questions_come_before_them() -> None:
    assert rank_of(BATCH) == rank_of(INTERACTIVE - 1) > rank_of(INTERACTIVE) > rank_of(INTERACTIVE + 1)
    assert rank_of(BACKGROUND) > rank_of(BACKGROUND + 1) == rank_of(BATCH)
