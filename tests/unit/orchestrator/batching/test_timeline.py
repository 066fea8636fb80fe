"""Plans for people. The clock of the books: the job was submitted at 1000."""

from collections.abc import Sequence

import pytest

from orchestrator.batching import PlanInput, Stay, job_plan
from orchestrator.domain.assignments import EngineBacklog, Job, JobProgress, JobState
from orchestrator.domain.devices import DeviceReport, EngineLoad, LoadKind, Rate
from tests.fakes.backlog import item

RATES = {(engine_id, "gpu"): Rate(10.0, 100.0) for engine_id in "abc"}
"""Every load takes 10 s; 100 tokens are a second."""


def load(engine_id: str, *, at: float, left_at: float | None = None, owner: str = "w0") -> EngineLoad:
    """A load of 10 s that began `at` seconds after the job."""
    left = None if left_at is None else 1000 + left_at
    return EngineLoad(engine_id, f"gpu-{owner}", owner, 1000.0 + at, 10.0, left)


def books(
    *loads: EngineLoad,
    backlog: Sequence[EngineBacklog] = (),
    devices: Sequence[DeviceReport] = (),
    state: JobState = JobState.RUNNING,
    now: float = 0.0,
) -> PlanInput:
    ended_at = None if state is JobState.RUNNING else 1000 + now
    job = Job(id="job", composition="auto")
    progress = JobProgress(
        job=job, state=state, total=1, completed=0, failed=0, created_at=1000.0, finished_at=ended_at
    )
    return PlanInput(progress, backlog, devices, loads, RATES, now_s=1000 + now)


def device(owner: str, engine_id: str | None = None, **fields: object) -> DeviceReport:
    state = "resident" if engine_id else "idle"
    return DeviceReport.model_validate(
        {"owner": owner, "device": owner, "engine_id": engine_id, "state": state, **fields}
    )


def test_a_plan_is_what_was_and_what_will_be() -> None:
    """a was loaded from 0 to 10 s; at 30 s it has 5 s of work left; then b: 10 s + 20 s."""
    made = job_plan(books(load("a", at=0), backlog=[item("a", tokens=500), item("b", tokens=2000)], now=30))
    assert made.stays == (
        Stay("gpu-w0", "a", 0, 10, 30, is_past=True, kind=LoadKind.COLD),
        Stay("gpu-w0", "a", 30, 30, 35, is_past=False),
        Stay("gpu-w0", "b", 35, 45, 65, is_past=False),
    )
    assert (made.loads_done, made.loads_left, made.ratio) == (1, 1, None)
    assert (made.seconds_done, made.seconds_left, made.lower_bound_s) == (30, 35, pytest.approx(35))
    assert made.overlapped_bound_s == pytest.approx(30)


def test_every_live_device_has_a_line() -> None:
    """w1 has had half of its load of b: 5 s and 20 s of work; w0 is free: 10 s and 15 s."""
    devices = [device("w0"), device("w1", "b", state="loading", state_s=5.0)]
    made = job_plan(books(backlog=[item("a", tokens=1500), item("b", tokens=2000)], devices=devices))
    assert made.stays == (
        Stay("w0", "a", 0, 10, 25, is_past=False),
        Stay("w1", "b", 5, 5, 25, is_past=False),
    )
    assert made.loads_left == 1


def test_an_engine_of_the_last_stage_counts_before_its_work_is_known() -> None:
    made = job_plan(books(backlog=[item("a", tokens=1000)]), later=frozenset({"c"}))
    assert [stay.engine_id for stay in made.stays] == ["a", "c"]
    assert (made.loads_left, made.seconds_left) == (2, pytest.approx(30))


def test_a_job_that_is_done_says_how_close_to_the_bound_it_came() -> None:
    """Two devices: a from 0, ready at 10, left at 40; b from 0, ready at 10, to the end at 50. With the
    loads of 10 s: (40 + 50) / 2 = 45 s, and b split needs 10 s more: (90 + 10) / 2 = 50 s, as it took."""
    made = job_plan(
        books(load("a", at=0, left_at=40), load("b", at=0, owner="w1"), state=JobState.DONE, now=50)
    )
    assert (made.seconds_done, made.loads_done, made.loads_left) == (50, 2, 0)
    assert made.lower_bound_s == pytest.approx(50)
    assert made.ratio == pytest.approx(1.0)


def test_a_job_that_hid_a_load_beats_the_first_bound_but_not_the_second() -> None:
    """a: loaded from 0 to 10, until 30; b: loaded from 20 to 30 beside it, until 50. Without hiding that is
    10 + 20 + 10 + 20 = 60 s, with it 10 + 40."""
    made = job_plan(
        books(load("a", at=0, left_at=30), load("b", at=20, left_at=50), state=JobState.DONE, now=50)
    )
    assert (made.lower_bound_s, made.overlapped_bound_s) == (pytest.approx(60), pytest.approx(50))
    assert (made.ratio, made.overlapped_ratio) == (pytest.approx(5 / 6), pytest.approx(1.0))


def test_an_idle_device_shows_in_the_ratio() -> None:
    """10 s + 40 s, then 50 s of nothing."""
    made = job_plan(books(load("a", at=0, left_at=50), state=JobState.DONE, now=100))
    assert made.ratio == pytest.approx(2.0)


def test_an_engine_without_a_recorded_end_left_when_its_device_loaded_the_next() -> None:
    made = job_plan(books(load("a", at=0), load("b", at=30), state=JobState.DONE, now=60))
    assert [(stay.serve_from_s, stay.until_s) for stay in made.stays] == [(10, 30), (40, 60)]


@pytest.mark.parametrize("state", [JobState.DONE, JobState.CANCELLED])
def test_a_job_without_loads_has_no_ratio(state: JobState) -> None:
    made = job_plan(books(state=state, now=5))
    assert (made.ratio, made.stays, made.lower_bound_s) == (None, (), 0)


def test_a_cancelled_job_is_not_measured_against_work_it_did_not_do() -> None:
    assert job_plan(books(load("a", at=0), state=JobState.CANCELLED, now=50)).ratio is None


def test_an_exact_plan_is_proven() -> None:
    """60, 60 and 60 s on two devices: one family is split, 190 / 2 = 95 s."""
    backlog = [item(engine_id, tokens=5000) for engine_id in "abc"]
    made = job_plan(books(backlog=backlog, devices=[device("w0"), device("w1")]), exact=True)
    assert made.is_optimal
    assert made.seconds_left == pytest.approx(95, rel=0.005)
    assert made.loads_left == 4


def test_places_of_one_loop_are_one_line() -> None:
    """The device has a and b: 5 s and 20 s of work, one after the other; two devices would need 20 s."""
    devices = [device("w0", "a", host="h"), device("w0+1", "b", device="w0", host="h")]
    given = books(backlog=[item("a", tokens=500), item("b", tokens=2000)], devices=devices)
    made = job_plan(given._replace(loop_of=lambda owner: owner.partition("+")[0]))
    assert [(stay.device, stay.engine_id, stay.until_s) for stay in made.stays] == [
        ("h/w0", "a", 5),
        ("h/w0", "b", 25),
    ]
    assert made.loads_left == 0
