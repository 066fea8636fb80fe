"""Asking: one question now, or only who would answer it."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import NamedTuple

from orchestrator.compositions.typed import Routing
from orchestrator.domain.answers import Answer, Decision
from orchestrator.domain.assignments import INTERACTIVE, Job
from orchestrator.domain.keys import KEYLESS, Caller
from orchestrator.domain.names import AUTO, ROUTE_PREFIX
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import DEFAULT_OPTIONS, AskOptions
from orchestrator.errors import (
    AnswerFailedError,
    GenerationTimeoutError,
    MusterError,
    NotFoundError,
    RoutingError,
    StoppingError,
    StoreUnavailableError,
)
from orchestrator.ports.composing import CompositionFactory
from orchestrator.ports.dispatch import Dispatcher, Excerpt, Piece
from orchestrator.ports.jobs import AnsweredQuery, JobStore
from orchestrator.services.drafts import Draft
from orchestrator.services.leaving import Leavings
from orchestrator.services.submitting import Submitter

ROUTE_TIMEOUT_S = 60.0
ASK_TIMEOUT_S = 120.0
_OVER = object()
"""There are no more turns."""


class Stay(Enum):
    """Stay of a question on the books: while somebody waits for its answer (brief), or until it is answered
    (kept), also where it may be there already (again: its id is unique to one request)."""

    BRIEF = "brief"
    KEPT = "kept"
    AGAIN = "again"


class Runs(NamedTuple):
    """Answers of several runs of one question, those that failed left out; never empty."""

    answers: tuple[Answer, ...]


class Asking:
    """Answers questions ahead of batch work.

    Args:
        routes_here: whether this process decides by itself; else the workers do.
        on_answered: told of each answer, and of its job; returns at once.
    """

    def __init__(
        self,
        *,
        submitter: Submitter,
        store: JobStore,
        dispatcher: Dispatcher,
        compositions: CompositionFactory,
        routes_here: bool = True,
        on_answered: Callable[[Job, Answer], None] = lambda _job, _answer: None,
    ) -> None:
        self._submitter = submitter
        self._store = store
        self._leavings = Leavings(store.cancel)
        self._dispatcher = dispatcher
        self._compositions = compositions
        self._routes_here = routes_here
        self._on_answered = on_answered

    @property
    def compositions(self) -> tuple[str, ...]:
        """Names of the compositions that a request's `model` may name."""
        return self._submitter.compositions

    def resolve(self, model: str, *, allowed: Collection[str] = ()) -> str:
        """The composition that a request's `model` names.

        Args:
            allowed: experts that there are for the caller; none = all.

        Raises:
            UnknownNameError: listing what there is.
        """
        return self._submitter.resolve(model, allowed=allowed)

    def route(
        self, queries: Sequence[Query], *, model: str = AUTO, caller: Caller = KEYLESS
    ) -> list[Decision]:
        """Dry run: the decisions, nobody asked.

        Raises:
            MusterError: the composition needs a model to annotate skills, so it has no dry run.
            AnswerFailedError: workers route, and failed on a question, or somebody cancelled it.
            GenerationTimeoutError: the workers that route did not do so in time.
        """
        options = AskOptions(model=model).by(caller)
        if not self._routes_here:
            return self._routed_by_job(options, queries)
        built = self._compositions(self._submitter.job(options, kind="route"))
        if not isinstance(built, Routing):
            raise MusterError(f"composition '{model}' does not route.")
        return built.route(queries)

    def ask(
        self,
        query: Query,
        options: AskOptions = DEFAULT_OPTIONS,
        *,
        timeout_s: float = ASK_TIMEOUT_S,
        stay: Stay = Stay.BRIEF,
    ) -> Answer:
        """Answer one question; its job is stored like any other.

        Raises:
            GenerationTimeoutError: not answered in time; the job is cancelled, unless it is to stay.
            StoppingError: this process ends before; the job as above.
            UnknownNameError: no such model.
        """
        job = self._question(options)
        with self._staying(job.id, stay), self._dispatcher.expect(job.id, timeout_s=timeout_s) as turns:
            is_new = self._put(job, [query], stay)
            answer = None if is_new else self._store.answer(job.id)
            while answer is None and next(turns, _OVER) is not _OVER:
                answer = self._answered(job.id)
        if answer is None:
            answer = self._answer(job.id, timeout_s=timeout_s, stay=stay)
        self._on_answered(job, answer)
        return answer

    def ask_runs(
        self,
        runs: Sequence[Query],
        options: AskOptions = DEFAULT_OPTIONS,
        *,
        timeout_s: float = ASK_TIMEOUT_S,
        stay: Stay = Stay.BRIEF,
    ) -> Runs:
        """`ask` of one question several times, in one job: the queries differ in id and seed.

        Raises:
            AnswerFailedError: every run failed.
            GenerationTimeoutError, StoppingError, UnknownNameError: as `ask`.
        """
        job = self._question(options)
        with self._staying(job.id, stay), self._dispatcher.expect(job.id, timeout_s=timeout_s) as turns:
            if self._put(job, runs, stay) or not self._has_ended(job.id):
                self._await_end(job.id, turns)
        return self._runs(job.id, timeout_s=timeout_s, stay=stay)

    def stream_runs(
        self,
        runs: Sequence[Query],
        options: AskOptions = DEFAULT_OPTIONS,
        *,
        timeout_s: float = ASK_TIMEOUT_S,
        stay: Stay = Stay.BRIEF,
    ) -> Generator[str | Runs, None, None]:
        """`ask_runs` with an empty part about every second until all have ended: answers come whole."""
        job = self._question(options)
        with self._staying(job.id, stay), self._dispatcher.listen(job.id, timeout_s=timeout_s) as told:
            self._put(job, runs, stay)
            for _ in told:
                yield ""
        yield self._runs(job.id, timeout_s=timeout_s, stay=stay)

    def _runs(self, job_id: str, *, timeout_s: float, stay: Stay) -> Runs:
        if not self._store.job(job_id).state.is_over:
            raise self._too_late(job_id, timeout_s=timeout_s, stay=stay)
        answers = [item.answer for item in self._store.answers(job_id)]
        good = tuple(answer for answer in answers if answer.error_code is None)
        if not good:
            raise AnswerFailedError(answers[0].error or "every run failed.", code=answers[0].error_code)
        if len(good) < len(answers):
            note = f"{len(answers) - len(good)} of {len(answers)} runs failed"
            good = (good[0].model_copy(update={"notes": (*good[0].notes, note)}), *good[1:])
        return Runs(good)

    def leave(self, job_id: str) -> None:
        """Cancel a question that nobody waits for any more; whoever waits in `ask` returns. One that was
        answered, or that is not there, stays as it is. Where the database is away, that is done when it is
        back."""
        self._leavings.leave(job_id)
        self._dispatcher.notify()

    @contextmanager
    def _staying(self, job_id: str, stay: Stay) -> Iterator[None]:
        """Whoever goes before the end takes his question with him, unless it is to stay."""
        try:
            yield
        except (GeneratorExit, StoppingError):
            if stay is Stay.BRIEF:
                self.leave(job_id)
            raise

    def stream(
        self,
        query: Query,
        options: AskOptions = DEFAULT_OPTIONS,
        *,
        timeout_s: float = ASK_TIMEOUT_S,
        stay: Stay = Stay.BRIEF,
        excerpts: list[Excerpt] | None = None,
    ) -> Generator[str | Answer, None, None]:
        """`ask`, read while it is written: parts of the answer's text, and at last the answer.

        The parts together are its text, unless it failed. They come as the words come where the answer
        is in one expert's words (an expert asked by its id, or an aggregator `first` with one recruit),
        else at the end. An empty part about every second says that nothing new is known. Closed before its
        end, it cancels the job, unless that is to stay.

        Args:
            excerpts: filled with what each call has written so far; None = nobody follows that.

        Raises:
            AnswerChangedError: an attempt that started over ended in another text.
            GenerationTimeoutError, StoppingError, UnknownNameError: as `ask`.
        """
        job = self._question(options, stream=True, followed=excerpts is not None)
        draft = Draft()
        with self._staying(job.id, stay), self._dispatcher.listen(job.id, timeout_s=timeout_s) as told:
            self._put(job, [query], stay)
            for heard in told:
                if excerpts is not None:
                    excerpts += [one for one in heard if isinstance(one, Excerpt)]
                yield draft.add(one for one in heard if isinstance(one, Piece))
        answer = self._answer(job.id, timeout_s=timeout_s, stay=stay)
        self._on_answered(job, answer)
        if answer.error_code is None:
            yield draft.finish(answer.text)
        yield answer

    def _put(self, job: Job, queries: Sequence[Query], stay: Stay) -> bool:
        """Put a question on the books, unless it is there; whether it was not."""
        if stay is Stay.AGAIN and self._is_stored(job.id):
            self._dispatcher.notify()
            return False
        self._submitter.put(job, queries)
        return True

    def _await_end(self, job_id: str, turns: Iterator[None]) -> bool:
        """Whether a job ended before there were no more turns."""
        return any(self._has_ended(job_id) for _ in turns)

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self._store.job(job_id).state.is_over
        except StoreUnavailableError:  # the next turn sees
            return False

    def _answered(self, job_id: str) -> Answer | None:
        """The answer, if it is known and can be read now."""
        try:
            return self._store.answer(job_id)
        except StoreUnavailableError:
            return None

    def _is_stored(self, job_id: str) -> bool:
        try:
            self._store.job(job_id)
        except NotFoundError:
            return False
        return True

    def _question(self, options: AskOptions, *, stream: bool = False, followed: bool = False) -> Job:
        return self._submitter.job(
            options, kind="ask", priority=INTERACTIVE, stream=stream, followed=followed
        )

    def _routed_by_job(self, options: AskOptions, queries: Sequence[Query]) -> list[Decision]:
        job = self._submitter.job(options, kind="route", prefix=ROUTE_PREFIX, priority=INTERACTIVE)
        with (
            self._staying(job.id, Stay.BRIEF),
            self._dispatcher.expect(job.id, timeout_s=ROUTE_TIMEOUT_S) as turns,
        ):
            self._submitter.put(job, queries)
            has_ended = self._await_end(job.id, turns)
        if not has_ended:
            self.leave(job.id)
            raise GenerationTimeoutError(
                f"no decision within {ROUTE_TIMEOUT_S:g} s.", remedy="Is a worker running?"
            )
        return [_decision_of(item) for item in self._store.answers(job.id)]

    def _answer(self, job_id: str, *, timeout_s: float, stay: Stay) -> Answer:
        """What a question came to; without an answer by now it is cancelled, unless it is to stay."""
        answer = self._store.answer(job_id)
        if answer is None:
            raise self._too_late(job_id, timeout_s=timeout_s, stay=stay)
        return answer

    def _too_late(self, job_id: str, *, timeout_s: float, stay: Stay) -> GenerationTimeoutError:
        """The end of a question that has no answer by now."""
        if stay is not Stay.BRIEF:
            return GenerationTimeoutError(
                f"no answer within {timeout_s:g} s; the question goes on.",
                remedy="Ask again with the same Idempotency-Key.",
            )
        self.leave(job_id)
        return GenerationTimeoutError(
            f"no answer within {timeout_s:g} s.",
            remedy="Ask again, or allow more time: `muster.timeout_s` of a request (up to the server's "
            "`muster.server.request_timeout_s`), `--timeout` on the command line.",
        )


def _decision_of(item: AnsweredQuery) -> Decision:
    answer = item.answer
    if answer.error_code is not None:
        raise AnswerFailedError(answer.error or "no decision.", code=answer.error_code)
    if answer.decision is None:
        raise RoutingError("the composition does not route.")
    return answer.decision
