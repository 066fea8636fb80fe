"""Preparation of a server that answers already: its embedder is loaded, unprofiled experts are measured."""

import logging
import threading
from collections.abc import Callable, Sequence

from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.experts import Pool
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import MusterError
from orchestrator.runtime.garbage import collect_seldom
from orchestrator.services.asking import Asking
from orchestrator.services.experts import Experts
from orchestrator.services.jobs import OnProgress
from orchestrator.services.profiling import Profiling

log = logging.getLogger(__name__)

JOIN_S = 10.0
_ANY = (
    Query(id="warm", question="What is 1 + 1?"),
    Query(id="untyped", question="Hello!", answer_type=AnswerType.OPEN, infers=True),
)
"""Questions of both kinds: with a type, and with one to infer, which needs more to be read."""


class _StoppedError(Exception):
    """The server ends."""


class Preparation:
    """One thread beside a server.

    Until the profile is complete compositions answer from what was known before; `auto` of a pool that was
    never measured routes by its skills.

    Args:
        check: raises SkillError for questions that cannot be graded.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        asking: Asking,
        experts: Experts,
        profiling: Profiling,
        check: Callable[[Sequence[Query]], None],
    ) -> None:
        self._pool = pool
        self._check = check
        self._asking = asking
        self._experts = experts
        self._profiling = profiling
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._note: str | None = None

    def note(self) -> str | None:
        """Measuring at the moment, and how far it is; None = nothing."""
        return self._note

    def start(
        self, questions: Sequence[Query], *, on_progress: OnProgress, tell: Callable[[str], object]
    ) -> None:
        """Load what routing needs, and measure the experts without a card.

        Args:
            questions: labelled ones; none = nobody is measured.
            tell: given a line when the profile is complete, or has failed.

        Raises:
            SkillError: questions that cannot be graded.
        """
        if questions:
            self._check(questions)
        waits = any(expert.id not in self._experts.cards() for expert in self._pool.answerers)
        if questions and waits:
            self._note = "profiling: starting"
        wanted = questions if waits else ()
        self._thread = threading.Thread(
            target=self._run, args=(wanted, on_progress, tell), name="muster-prepare", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread at its next sign of progress; what was measured so far is kept for the next time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def _run(
        self, questions: Sequence[Query], on_progress: OnProgress, tell: Callable[[str], object]
    ) -> None:
        try:
            self._warm()
            if questions:
                self._measure(questions, on_progress, tell)
        except _StoppedError:
            log.info("profiling was stopped; the next start goes on with it")
        except MusterError as error:
            tell(f"Not profiled: {error}")
        except Exception:  # the server outlives it; its checks say what is missing
            if not self._stopping.is_set():
                log.exception("preparing failed")
                tell("Not profiled: see the log.")
        finally:
            self._note = None

    def _measure(
        self, questions: Sequence[Query], on_progress: OnProgress, tell: Callable[[str], object]
    ) -> None:
        def noted(progress: JobProgress) -> None:
            if self._stopping.is_set():
                raise _StoppedError
            self._note = f"profiling: {progress.n_responses} of {progress.n_assignments} calls"
            on_progress(progress)

        report = self._profiling.run(questions, on_progress=noted)
        tell(f"{len(report.cards)} experts profiled.")
        if report.n_open and report.grading is None:
            tell(f"{report.n_open} open questions have no scores yet: run `muster profile` with --judge.")
        self._warm()

    def _warm(self) -> None:
        """Decide on questions, so that the first one of a user waits for no model to load and no fit."""
        try:
            self._asking.route(_ANY)
            collect_seldom()  # of what the embedder brought, too
        except MusterError as error:
            log.debug("not warmed: %s", error)
