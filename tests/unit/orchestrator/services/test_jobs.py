import pytest

from orchestrator.domain.assignments import NOTHING_LEFT, Job, JobState
from orchestrator.errors import NotFoundError
from tests.fakes.app import FakeApp

JOB = Job(id="job", composition="org/mix")


def app_with(job: Job, state: JobState) -> FakeApp:
    app = FakeApp()
    app.store.submit(job, [])
    app.store.state = state
    return app


def test_what_is_left_of_a_running_job_counts_the_engines_of_its_later_stages() -> None:
    left = app_with(JOB, JobState.RUNNING).jobs.left("job")
    assert (left.order, left.loads_left) == (("later",), 1)


@pytest.mark.parametrize("state", [JobState.DONE, JobState.CANCELLED])
def test_nothing_is_left_of_a_job_that_has_ended(state: JobState) -> None:
    assert app_with(JOB, state).jobs.left("job") == NOTHING_LEFT


def test_a_composition_without_later_stages_has_none_of_their_engines() -> None:
    app = app_with(JOB.model_copy(update={"composition": "auto"}), JobState.RUNNING)
    assert app.jobs.left("job").order == ()


def test_an_unknown_job_has_no_plan() -> None:
    with pytest.raises(NotFoundError):
        FakeApp().jobs.left("nobody")
    with pytest.raises(NotFoundError):
        FakeApp().jobs.plan("nobody")


def test_the_plan_is_made_from_the_books() -> None:
    """4 s load and 10 s of work at 100 tokens/s, then the later load: not measured, taken to be 4 s."""
    made = app_with(JOB, JobState.RUNNING).jobs.plan("job")
    assert [stay.engine_id for stay in made.stays] == ["beta-engine", "later"]
    assert (made.loads_left, made.seconds_left) == (2, pytest.approx(18))


def test_a_batch_that_gives_no_id_has_one_that_follows_from_what_it_asks() -> None:
    jobs = FakeApp().jobs
    same = {jobs.batch_id("a", model=name) for name in ("knn", "muster/knn")}
    assert same == {FakeApp().jobs.batch_id("a", model="knn")}
    others = {
        jobs.batch_id("b", model="knn"),
        jobs.batch_id("a", model="auto"),
        jobs.batch_id("a", model="beta"),
    }
    assert len(same | others) == 4
