"""Questions on the books: what is put there, and what ends them. (Streams: `test_streaming`)"""

from collections.abc import Callable

import pytest

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import INTERACTIVE, JobState
from orchestrator.domain.names import model_names
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import (
    AnswerFailedError,
    GenerationTimeoutError,
    StoppingError,
    StoreUnavailableError,
    UnknownNameError,
)
from orchestrator.services.asking import Stay
from tests.fakes.app import ANSWER, DECISION, FakeApp

QUERY = Query(id="q", question="Why?")

Ask = Callable[[FakeApp, str], object]
WAYS: dict[str, Ask] = {
    "ask": lambda app, model: app.asking.ask(QUERY, AskOptions(model=model)),
    "stream": lambda app, model: list(app.asking.stream(QUERY, AskOptions(model=model))),
    "route": lambda app, model: app.asking.route([QUERY], model=model),
    "submit": lambda app, model: app.jobs.submit([QUERY], AskOptions(model=model)),
    "batch id": lambda app, model: app.jobs.batch_id("content", model=model),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", ["nobody", "expert:beta", "route:auto", "muster/beta"])
def test_a_name_that_nothing_has_puts_nothing_on_the_books(way: str, model: str) -> None:
    app = FakeApp()
    with pytest.raises(UnknownNameError) as refused:
        WAYS[way](app, model)
    assert (refused.value.kind, refused.value.param, app.store.submitted) == ("model", "model", [])


@pytest.mark.parametrize("way", WAYS)
def test_every_name_there_is_can_be_asked(way: str) -> None:
    app = FakeApp()
    for model in model_names(app.asking.compositions, app.experts.pool.by_id):
        WAYS[way](app, model)


def test_the_options_of_a_request_are_those_of_its_job() -> None:
    app = FakeApp()
    options = AskOptions(model="muster/knn", seed=3, max_tokens=9, temperature=0.5, job_id="mine")
    assert app.asking.ask(QUERY, options) == ANSWER
    list(app.asking.stream(QUERY, options))
    app.jobs.submit([QUERY], options)
    asked, streamed, batch = (job for job, _ in app.store.submitted)
    assert (asked.id, asked.composition, asked.seed, asked.max_tokens) == ("mine", "knn", 3, 9)
    assert streamed == asked.replaced(stream=True)
    assert batch == asked.replaced(kind="batch", priority=0, knowledge=batch.knowledge)
    assert asked.priority == INTERACTIVE


def test_a_question_that_is_not_answered_in_time_is_cancelled() -> None:
    app = FakeApp(answer=None)
    with pytest.raises(GenerationTimeoutError, match=r"no answer within 0\.5 s"):
        app.asking.ask(QUERY, AskOptions(job_id="late"), timeout_s=0.5)
    assert list(app.store.states) == ["late"]


ASKED: dict[str, Callable[[FakeApp, AskOptions, Stay], object]] = {
    "ask": lambda app, options, stay: app.asking.ask(QUERY, options, stay=stay),
    "runs": lambda app, options, stay: app.asking.ask_runs([QUERY], options, stay=stay),
    "stream": lambda app, options, stay: list(app.asking.stream(QUERY, options, stay=stay)),
    "streamed runs": lambda app, options, stay: list(app.asking.stream_runs([QUERY], options, stay=stay)),
}


@pytest.mark.parametrize("way", ASKED)
@pytest.mark.parametrize(("stay", "cancelled"), [(Stay.BRIEF, ["job"]), (Stay.KEPT, []), (Stay.AGAIN, [])])
def test_a_process_that_ends_takes_only_questions_with_it_that_nobody_asks_again(
    way: str, stay: Stay, cancelled: list[str]
) -> None:
    app = FakeApp(answer=None)
    app.store.state = JobState.RUNNING
    app.dispatcher.stops = True
    with pytest.raises(StoppingError):
        ASKED[way](app, AskOptions(job_id="job"), stay)
    assert list(app.store.states) == cancelled


def test_an_answer_is_looked_for_at_every_turn_until_it_is_there() -> None:
    app = FakeApp()
    app.dispatcher.n_turns = 5
    app.store.before = [None, StoreUnavailableError("away"), None]
    assert app.asking.ask(QUERY, AskOptions(job_id="job")) == ANSWER
    assert app.dispatcher.n_turns == 1, "the fourth look found it"


def test_a_database_that_is_away_at_the_last_look_is_told() -> None:
    app = FakeApp()
    app.dispatcher.n_turns = 1
    app.store.before = [StoreUnavailableError("away"), StoreUnavailableError("away")]
    with pytest.raises(StoreUnavailableError):
        app.asking.ask(QUERY, AskOptions(job_id="job"))


def test_a_question_whose_answer_is_stored_waits_for_no_turn() -> None:
    app = FakeApp()
    app.asking.ask(QUERY, AskOptions(job_id="job"))
    app.dispatcher.n_turns = 3
    assert app.asking.ask(QUERY, AskOptions(job_id="job"), stay=Stay.AGAIN) == ANSWER
    assert (app.dispatcher.n_turns, len(app.store.submitted)) == (3, 1)


def test_runs_are_waited_for_until_their_job_has_ended() -> None:
    app = FakeApp()
    app.store.state = JobState.RUNNING
    app.dispatcher.n_turns = 4
    with pytest.raises(GenerationTimeoutError):
        app.asking.ask_runs([QUERY], AskOptions(job_id="job"))
    assert app.dispatcher.n_turns == 0


@pytest.mark.parametrize("code", ["cancelled", "no_capable_expert"])
def test_a_dry_run_by_the_workers_fails_as_its_question_did(code: str) -> None:
    app = FakeApp(answer=Answer(text="", error_code=code, error="Why."), routes_here=False)
    with pytest.raises(AnswerFailedError, match=r"Why\.") as failed:
        app.asking.route([QUERY])
    assert failed.value.code == code


def test_a_dry_run_by_the_workers_is_their_decision() -> None:
    assert FakeApp(routes_here=False).asking.route([QUERY]) == [DECISION]


def test_a_dry_run_puts_nothing_on_the_books() -> None:
    app = FakeApp()
    assert app.asking.route([QUERY]) == [DECISION]
    assert app.store.submitted == []
