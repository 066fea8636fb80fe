"""Questions on the books: what is put there, and what ends them. (Streams: `test_streaming`)"""

from collections.abc import Callable

import pytest

from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.domain.names import model_names
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import GenerationTimeoutError, UnknownNameError
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


def test_a_dry_run_puts_nothing_on_the_books() -> None:
    app = FakeApp()
    assert app.asking.route([QUERY]) == [DECISION]
    assert app.store.submitted == []
