"""Jobs: question sets submitted, run, followed, planned and ended."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from orchestrator.batching import JobPlan, PlanInput, job_plan
from orchestrator.domain.assignments import BATCH, NOTHING_LEFT, Job, JobProgress, JobState, LoadPlan
from orchestrator.domain.cards import CompetenceCard, measured_version
from orchestrator.domain.devices import LIVE_S
from orchestrator.domain.engines import EngineState
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import DEFAULT_OPTIONS, AskOptions
from orchestrator.domain.values import content_hash
from orchestrator.ports.clock import EpochClock
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.ports.jobs import AnsweredQuery, JobStore, QueryRecord, WorkReader
from orchestrator.services.engines import EngineBoard
from orchestrator.services.submitting import Submitter

OnProgress = Callable[[JobProgress], None]

_NOBODY = "nobody"
"""Owns no lease: to it, all devices are others."""


class Jobs:
    """Batches of questions, and every job's state.

    Args:
        later_engines: engines that a later stage of a job may need.
        end: called with a job that was cancelled, of which something may be left to end.
        measured: cards of the pool at the moment.
        engines: how those of the pool are at the moment; `engines_of`: those that a job has had calls for.
    """

    def __init__(
        self,
        *,
        submitter: Submitter,
        store: JobStore,
        work: WorkReader,
        dispatcher: Dispatcher,
        later_engines: Callable[[Job], Iterable[str]],
        measured: Callable[[], Mapping[str, CompetenceCard]],
        engines: EngineBoard,
        engines_of: Callable[[str], Collection[str]],
        now_s: EpochClock = time.time,
        end: Callable[[str], None] = lambda _job_id: None,
    ) -> None:
        self._submitter = submitter
        self._store = store
        self._work = work
        self._dispatcher = dispatcher
        self._engines_of_later_stages = later_engines
        self._measured = measured
        self._engines = engines
        self._engines_of = engines_of
        self._now_s = now_s
        self._end = end

    def submit(
        self,
        queries: Iterable[Query],
        options: AskOptions = DEFAULT_OPTIONS,
        *,
        label: str = "",
        deadline_s: float | None = None,
        compositions: Collection[str] = (),
        priority: int = BATCH,
        reuses: bool = False,
    ) -> str:
        """Store a batch in one transaction and return its job id. Equal id and content: a no-op.

        Args:
            compositions: that the queries' terms name, resolved.
            deadline_s: seconds from now after which what is open ends as `batch_expired`.
            reuses: what was answered before is not asked again.

        Raises:
            UnknownNameError: no such model.
        """
        job = self.job_of(options, label=label, deadline_s=deadline_s, compositions=compositions)
        known = measured_version(self._measured())
        job = job.replaced(priority=priority, reuses=reuses, knowledge=known)
        self._submitter.put(job, queries)
        return job.id

    def ring(self) -> None:
        """Say again that there is work: of a job that came twice, the first bell may be lost."""
        self._dispatcher.notify()

    def job_of(
        self,
        options: AskOptions,
        *,
        label: str = "",
        deadline_s: float | None = None,
        compositions: Collection[str] = (),
    ) -> Job:
        """The job that `submit` would store."""
        return self._submitter.job(
            options, kind="batch", label=label, deadline_s=deadline_s, compositions=compositions
        )

    def batch_id(self, content: str, *, model: str) -> str:
        """The id of a batch that gives none: equal content, composition, configuration and cards, equal id.

        Args:
            content: hash of the questions.
        """
        known = measured_version(self._measured())
        parts = [content, self._submitter.resolve(model), self._submitter.config_hash, known]
        return f"batch-{content_hash(parts)}"

    def run(self, job_id: str, *, on_progress: OnProgress | None = None) -> JobProgress:
        """Work until the job is done. Interrupting leaves a job that a next `run` resumes."""
        return self._dispatcher.run(job_id, on_progress=on_progress)

    def unload(self) -> None:
        """Free the devices, so that a measurement starts with nothing resident."""
        self._dispatcher.unload()

    def job(self, job_id: str) -> JobProgress:
        """Progress of one job.

        Raises:
            NotFoundError: no such job.
        """
        return self._store.job(job_id)

    def jobs(self, *, limit: int = 100, owner: str | None = None) -> list[JobProgress]:
        """Progress of jobs: running ones first, newest first within both kinds. `owner`: whose; None =
        everybody's."""
        return self._store.jobs(limit=limit, owner=owner)

    def answers(self, job_id: str) -> Iterator[AnsweredQuery]:
        """Answered and failed queries so far, in the order of submission, streamed."""
        return self._store.answers(job_id)

    def query_record(self, job_id: str, query_id: str | None = None) -> QueryRecord:
        """One question as far as it got; without an id the only one of its job.

        Raises:
            NotFoundError: no such job or question.
            InputError: the job has several, and none is named.
        """
        return self._store.query_record(job_id, query_id)

    def cancel(self, job_id: str) -> None:
        """End a job: nothing of it is begun any more, and its open queries fail as `cancelled`, those of a
        large one after this returns. One that has ended stays as it is."""
        self._store.cancel(job_id)
        if not self._store.job(job_id).state.is_over:
            self._end(job_id)
        self._dispatcher.notify()

    def waits_for(self, job_id: str) -> list[EngineState]:
        """Engines that a running job has work on and that cannot be served now; of one that has none yet,
        those that are paused.

        Raises:
            NotFoundError: no such job.
        """
        if self._store.job(job_id).state is not JobState.RUNNING:
            return []
        return self._engines.kept_away(among=self._engines_of(job_id))

    def left(self, job_id: str) -> LoadPlan:
        """The rest of a job: loads, seconds, and the order of engines.

        Work of other jobs counts where it waits too: jobs share loads.

        Raises:
            NotFoundError: no such job.
        """
        progress = self._store.job(job_id)
        if progress.state.is_over:
            return NOTHING_LEFT
        return self._dispatcher.plan(later=self._later_engines(progress.job))

    def plan(self, job_id: str, *, exact: bool = False) -> JobPlan:
        """Plan of a job: what every device did for it and will do, from the books alone.

        Args:
            exact: the shortest schedule by CP-SAT (extra `plan`) instead of the usual one.

        Raises:
            NotFoundError: no such job.
            ConfigError: `exact` without OR-Tools.
        """
        progress = self._store.job(job_id)
        given = PlanInput(
            progress=progress,
            backlog=self._work.backlog(owner=_NOBODY),
            devices=self._work.devices(LIVE_S),
            loads=self._work.engine_loads(job_id=job_id),
            rates=self._work.rates(),
            now_s=self._now_s(),
            loop_of=self._engines.loop_of,
        )
        return job_plan(given, later=self._later_engines(progress.job), exact=exact)

    def _later_engines(self, job: Job) -> frozenset[str]:
        return frozenset(self._engines_of_later_stages(job))
