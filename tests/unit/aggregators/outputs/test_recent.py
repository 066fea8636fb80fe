from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.recent import MOST_JOBS, Recent
from orchestrator.ports.composing import InFlight
from tests.fakes.ballots import state


def query(number: int, *, job: str = "j", stage: int = 0) -> InFlight:
    return state({}).model_copy(update={"id": number, "job_id": job, "stage": stage}), ()


def ids(queries: list[InFlight]) -> list[int]:
    return [one.id for one, _ in queries]


def test_a_batch_is_joined_with_what_came_before_of_its_job() -> None:
    recent = Recent()
    assert ids(recent.joined([query(2), query(1)])) == [1, 2]
    assert ids(recent.joined([query(9, job="other")])) == [9]
    assert ids(recent.joined([query(3)])) == [1, 2, 3]
    assert recent.joined([]) == []


def test_a_query_that_comes_again_counts_once_as_it_is_now() -> None:
    recent = Recent()
    recent.joined([query(1), query(2)])
    again = recent.joined([query(1, stage=5)])
    assert ids(again) == [1, 2]
    assert again[0][0].stage == 5


def test_the_oldest_are_forgotten_but_never_the_batch() -> None:
    recent = Recent(most=2)
    recent.joined([query(1), query(2)])
    assert ids(recent.joined([query(3)])) == [2, 3]
    assert ids(recent.joined([query(n) for n in (4, 5, 6)])) == [4, 5, 6]


def test_the_oldest_jobs_are_forgotten() -> None:
    recent = Recent()
    for number in range(MOST_JOBS + 1):
        recent.joined([query(number, job=str(number))])
    assert ids(recent.joined([query(99, job="0")])) == [99]
    assert ids(recent.joined([query(99, job=str(MOST_JOBS))])) == [MOST_JOBS, 99]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12, unique=True))
def test_the_order_of_a_batch_does_not_matter(numbers: list[int]) -> None:
    batch = [query(number) for number in numbers]
    assert ids(Recent().joined(batch)) == sorted(numbers) == ids(Recent().joined(batch[::-1]))
