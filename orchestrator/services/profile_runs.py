"""Profiling over REST: started, followed, cancelled; a thread of the server that was asked measures."""

import logging
import threading
import uuid
from collections.abc import Callable, Sequence

from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.pages import Page, PageRequest
from orchestrator.domain.profile_runs import LIVE, ProfileRun, RunState
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError, MusterError, ProfileRunningError, SkillError, StoreError
from orchestrator.ports.clock import Clock, EpochClock
from orchestrator.ports.profile_runs import ProfileRuns
from orchestrator.ports.profiling import GradingReport, Judging, Scoring
from orchestrator.services.experts import Experts
from orchestrator.services.profiling import Profiling

log = logging.getLogger(__name__)

TELL_S = 1.0
JOIN_S = 10.0


_OF_SCORES = ("judge", "anchor", "answer_type")
"""Parameters of errors that name what is wrong with scores."""


class _CancelledError(Exception):
    """Somebody cancelled the run, or the server ends."""


class ProfileDesk:
    """Starts runs of profiling in threads of this process. One is live at a time in a whole stack.

    Args:
        check: raises SkillError for questions that cannot be graded, or scores that cannot be had.
    """

    def __init__(
        self,
        runs: ProfileRuns,
        *,
        profiling: Profiling,
        experts: Experts,
        check: Callable[[Sequence[Query], Scoring | None], None],
        now_s: EpochClock,
        clock: Clock,
    ) -> None:
        self._runs = runs
        self._profiling = profiling
        self._experts = experts
        self._check = check
        self._now_s = now_s
        self._clock = clock
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(
        self,
        questions: Sequence[Query],
        *,
        experts: Sequence[str] = (),
        exam: bool = True,
        scoring: Scoring | None = None,
    ) -> ProfileRun:
        """Begin to measure experts (none = everybody) on labelled questions. What is known already is not
        asked again.

        Args:
            scoring: of answers to open questions; None = scores of the newest cards' source hold.

        Raises:
            InputError: questions that cannot be graded, or scores that cannot be had.
            UnknownNameError: an expert that is not in the pool.
            ProfileRunningError: a run is live.
        """
        try:
            self._check(questions, scoring)
        except SkillError as error:
            param = error.param if error.param in _OF_SCORES else "questions"
            raise InputError(str(error), param=param, remedy=error.remedy) from error
        for expert_id in experts:
            self._experts.expert(expert_id)
        run = ProfileRun(
            id=f"profile-run-{uuid.uuid4().hex}",
            experts=tuple(experts),
            exam=exam,
            judge=scoring.judge if scoring is not None else None,
            anchor=scoring.anchor if isinstance(scoring, Judging) else None,
            n_questions=len(questions),
            created_at=self._now_s(),
        )
        if not self._runs.add(run):
            raise ProfileRunningError(
                "the pool is being measured.", remedy="Wait for its end, or cancel it first."
            )
        thread = threading.Thread(
            target=self._measure, args=(run, list(questions), scoring), name="muster-profile", daemon=True
        )
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()
        return run

    def run(self, run_id: str) -> ProfileRun:
        """One run as it is now.

        Raises:
            NotFoundError: no such run.
        """
        return self._runs.run(run_id)

    def page(self, request: PageRequest) -> Page[ProfileRun]:
        """Runs in the order in which they were asked for."""
        return self._runs.page(request)

    def cancel(self, run_id: str) -> ProfileRun:
        """End a run at its next sign of progress; what was measured is kept. One that has ended stays so.

        Raises:
            NotFoundError: no such run.
        """
        return self._runs.change(
            run_id, lambda r: r.replaced(state=RunState.CANCELLING) if r.state is RunState.RUNNING else r
        )

    def stop(self) -> None:
        """End the runs of this process."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(JOIN_S)

    def _measure(self, run: ProfileRun, questions: Sequence[Query], scoring: Scoring | None) -> None:
        try:
            report = self._profiling.run(
                questions,
                experts=run.experts or None,
                exam=run.exam,
                scoring=scoring,
                on_progress=_Teller(self._noted(run.id), self._clock),
            )
        except _CancelledError:
            state = RunState.INTERRUPTED if self._stopping.is_set() else RunState.CANCELLED
            self._end(run.id, state=state)
        except MusterError as error:
            self._end(run.id, state=RunState.FAILED, error=str(error))
        except Exception:  # the server outlives it
            log.exception("profile %s failed", run.id)
            self._end(run.id, state=RunState.FAILED, error="internal error; see the log.")
        else:
            self._end(
                run.id,
                state=RunState.COMPLETED,
                n_asked=report.n_asked,
                n_reused=report.n_reused,
                n_experts=len(report.cards),
                **_of_grading(report.grading),
            )

    def _noted(self, run_id: str) -> Callable[[JobProgress], None]:
        def note(progress: JobProgress) -> None:
            if self._stopping.is_set():
                raise _CancelledError
            done, of = progress.n_responses, progress.n_assignments
            run = self._runs.change(run_id, lambda r: r.replaced(done=done, of=of), alive=True)
            if run.state is not RunState.RUNNING:
                raise _CancelledError

        return note

    def _end(self, run_id: str, **said: object) -> None:
        ended = {**said, "finished_at": self._now_s()}
        try:
            self._runs.change(run_id, lambda r: r.replaced(**ended) if r.state in LIVE else r)
        except StoreError:  # it is interrupted when it has been silent for long enough
            log.warning("the end of profile %s could not be stored", run_id, exc_info=True)


def _of_grading(grading: GradingReport | None) -> dict[str, object]:
    if grading is None:
        return {}
    return {
        "judge": grading.judge,
        "source": grading.source.value,
        "n_scored": grading.n_scored,
        "n_unscored": sum(grading.unscored.values()),
        "agreement": None if grading.check is None else grading.check.agreement,
    }


class _Teller:
    """Tells of progress now and then."""

    def __init__(self, tell: Callable[[JobProgress], None], clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._told_at: float | None = None

    def __call__(self, progress: JobProgress) -> None:
        now = self._clock()
        if self._told_at is None or now - self._told_at >= TELL_S or progress.state.is_over:
            self._told_at = now
            self._tell(progress)
