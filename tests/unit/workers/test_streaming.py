"""Answers read while they are written, from the engine to the service, over real stores."""

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aggregators.outputs.votes import SettledWords, without_reasoning
from orchestrator.domain.answers import Answer, FinishReason, Usage
from orchestrator.domain.assignments import Ask, Call, Done, Job, JobState, QueryState, Sampling, Step
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import AnswerChangedError, EngineCrashedError, GenerationTimeoutError
from orchestrator.ports.dispatch import Excerpt
from orchestrator.ports.engines import Engine, EngineEvent, Finished, Tokens
from orchestrator.services.asking import Asking, Stay
from orchestrator.services.submitting import Submitter
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import make_setup
from tests.fakes.work import FakeBackend, FakeEngine, make_call, make_pool
from workers.device.pace import Pace
from workers.dispatch.local import LocalDispatcher

PACE = Pace(look_s=0.01, poll_s=0.001, commit_s=0.01)
QUERY = Query(id="q", question="Why?")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


class Quoting:
    """Asks one expert and answers in its words, as `expert:<id>` does."""

    name = "quoting"

    def __init__(self, job: Job) -> None:
        self._stream = job.stream

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [self._step(state) for state in states]

    def _step(self, state: QueryState) -> Step:
        if state.stage == 0:
            return Ask(calls=(self._call(state.query),))
        [response] = state.responses
        text = without_reasoning(response.text)
        return Done(answer=Answer(text=text, error_code=response.error_code, error=response.error))

    def _call(self, query: Query) -> Call:
        sampling = Sampling(max_tokens=8, stream=self._stream)
        return make_call("a/0", query).model_copy(update={"sampling": sampling})


READ = "(once something was read)"


class Writing(FakeBackend):
    """Its n-th engine writes the n-th script, a part at each poll, goes on at `READ` when something was read,
    and dies at a None; the second one only once `was_read`."""

    def __init__(self, *scripts: Sequence[str | None]) -> None:
        super().__init__()
        self.was_read = threading.Event()
        self._scripts = list(scripts)

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        assert not self.loads or self.was_read.wait(60)
        super().load(spec, adapters)
        return WritingEngine(spec, self.journal, self._scripts.pop(0), self.was_read)


class WritingEngine(FakeEngine):
    def __init__(
        self, spec: EngineSpec, journal: list[str], script: Sequence[str | None], was_read: threading.Event
    ) -> None:
        super().__init__(spec, journal, batch=1, clock=None)
        self._script = script
        self._was_read = was_read
        self._n_written = 0

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        if not self._waiting:
            return []
        request = self._waiting[0]
        if self._n_written == len(self._script):
            self._waiting.clear()
            text = "".join(part for part in self._script if part and part != READ)
            return [Finished(request.id, text, FinishReason.STOP, Usage())]
        part = self._script[self._n_written]
        self._n_written += 1
        if part is None:
            raise EngineCrashedError("it died in the middle of a word.")
        if part == READ:
            assert self._was_read.wait(60)
            return []
        return [Tokens(request.id, part)]


def make_asking(store: SqlJobStore, backend: FakeBackend) -> tuple[Asking, LocalDispatcher]:
    pool = make_pool("a")
    compose: Any = Quoting
    setup = make_setup(store, pool, backend)._replace(compositions=compose)
    dispatcher = LocalDispatcher(setup, pace=PACE, settled=SettledWords)
    submitter = Submitter(pool=pool, compositions=tuple, store=store, dispatcher=dispatcher)
    return Asking(submitter=submitter, store=store, dispatcher=dispatcher, compositions=compose), dispatcher


def streamed(
    store: SqlJobStore, backend: Writing, *, serving: bool = True
) -> Generator[str | Answer, None, None]:
    asking, dispatcher = make_asking(store, backend)
    if serving:
        dispatcher.start()
    try:
        for part in asking.stream(QUERY, AskOptions(model="a/0", job_id="job"), timeout_s=60):
            yield part
            if part:
                backend.was_read.set()
    finally:
        dispatcher.stop()


def read(parts: Iterable[str | Answer]) -> tuple[list[str], Answer]:
    *texts, answer = parts
    assert isinstance(answer, Answer)
    return [text for text in texts if isinstance(text, str) and text], answer


def test_the_parts_together_are_the_stored_answer(store: SqlJobStore) -> None:
    script = ["<think>", "hm</think> ", "one", READ, " two", " three "]
    texts, answer = read(streamed(store, Writing(script)))
    assert len(texts) > 1
    assert "".join(texts) == answer.text == "one two three"
    assert store.answer("job") == answer


def test_an_attempt_that_starts_over_repeats_nothing(store: SqlJobStore) -> None:
    texts, answer = read(streamed(store, Writing(["one", " two", None], ["one", " two", " three"])))
    assert "".join(texts) == answer.text == "one two three"
    assert store.answer("job") == answer


def test_an_attempt_that_ends_in_other_words_ends_the_stream(store: SqlJobStore) -> None:
    parts = streamed(store, Writing(["one", " two", None], ["uno", " due"]))
    assert "one two".startswith(str(next(part for part in parts if part)))
    with pytest.raises(AnswerChangedError):
        list(parts)
    answer = store.answer("job")
    assert answer is not None
    assert answer.text == "uno due"


def test_without_a_background_loop_the_answer_comes_whole(store: SqlJobStore) -> None:
    texts, answer = read(streamed(store, Writing(["one", " two"]), serving=False))
    assert texts == ["one two"] == [answer.text]


def test_only_a_job_that_is_streamed_is_told_of(store: SqlJobStore) -> None:
    asking, dispatcher = make_asking(store, Writing(["one"]))
    dispatcher.start()
    with dispatcher.listen("plain", timeout_s=60) as told:
        asking.ask(QUERY, AskOptions(model="a/0", job_id="plain"))
        assert [piece for pieces in told for piece in pieces] == []
    dispatcher.stop()


def test_a_question_that_is_followed_tells_what_its_calls_have_written_while_they_write(
    store: SqlJobStore,
) -> None:
    backend = Writing(["<think>hm", READ, "</think>", " so"])
    asking, dispatcher = make_asking(store, backend)
    dispatcher.start()
    excerpts: list[Excerpt] = []
    options = AskOptions(model="a/0", job_id="job")
    for _ in asking.stream(QUERY, options, timeout_s=60, excerpts=excerpts):
        if excerpts:
            backend.was_read.set()
    dispatcher.stop()
    [call] = store.call_progress("job")
    assert excerpts[0] == Excerpt("job", call.number, "a/0", "expert", 9, "<think>hm")


def test_a_stream_that_gets_no_answer_in_time_cancels_its_job(store: SqlJobStore) -> None:
    asking, dispatcher = make_asking(store, FakeBackend())
    dispatcher.start()
    hanging = QUERY.model_copy(update={"question": "hang"})
    parts = asking.stream(hanging, AskOptions(model="a/0"), timeout_s=0.2)
    with pytest.raises(GenerationTimeoutError):
        list(parts)
    [progress] = store.jobs()
    assert progress.state is JobState.CANCELLED
    dispatcher.stop()


@pytest.mark.parametrize(("stay", "end"), [(Stay.BRIEF, JobState.CANCELLED), (Stay.KEPT, JobState.DONE)])
def test_who_stops_reading_ends_a_question_that_is_not_to_be_kept(
    store: SqlJobStore, stay: Stay, end: JobState
) -> None:
    backend = Writing(["one", READ, " two"])
    asking, dispatcher = make_asking(store, backend)
    dispatcher.start()
    parts = asking.stream(QUERY, AskOptions(model="a/0", job_id="job"), timeout_s=60, stay=stay)
    next(part for part in parts if part)
    parts.close()
    backend.was_read.set()
    assert dispatcher.wait("job", timeout_s=60).state is end
    dispatcher.stop()
