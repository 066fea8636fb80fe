"""What Muster does for its users: route, ask, run batches, look at experts. Entry points call this."""

import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from orchestrator.batching import JobPlan, PlanInput, job_plan
from orchestrator.compositions.ensemble import Ensemble
from orchestrator.compositions.roll_call import RollCall
from orchestrator.domain.answers import Answer, Decision
from orchestrator.domain.assignments import (
    BATCH,
    INTERACTIVE,
    NOTHING_LEFT,
    Job,
    JobProgress,
    JobState,
    LoadPlan,
)
from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.devices import LIVE_S
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.names import EXPERT_PREFIX, ROUTE_PREFIX
from orchestrator.domain.queries import Query
from orchestrator.errors import CardError, GenerationTimeoutError, MusterError, RoutingError, UnknownNameError
from orchestrator.ports.clock import EpochClock
from orchestrator.ports.composing import Composition
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.ports.jobs import AnsweredQuery, JobStore, WorkReader
from orchestrator.services.drafts import Draft

ROUTE_TIMEOUT_S = 60.0

OnProgress = Callable[[JobProgress], None]

_NOBODY = "nobody"
"""Owns no lease: to it, all devices are others."""


class CompositionCatalogue(Protocol):
    """The named compositions of a configuration, built from the cards of the moment."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def cards(self) -> Mapping[str, CompetenceCard]: ...

    def build(self, job: Job) -> Composition: ...

    def later_engines(self, job: Job) -> tuple[str, ...]:
        """Engines that a later stage of a job may need, without building its composition."""


class Service:
    """The use cases, over ports only."""

    def __init__(
        self,
        *,
        pool: Pool,
        jobs: JobStore,
        work: WorkReader,
        dispatcher: Dispatcher,
        catalogue: CompositionCatalogue,
        seed: int = 0,
        config_hash: str = "",
        now_s: EpochClock = time.time,
        routes_here: bool = True,
    ) -> None:
        self.pool = pool
        self.jobs = jobs
        self._work = work
        self._dispatcher = dispatcher
        self._catalogue = catalogue
        self._seed = seed
        self._config_hash = config_hash
        self._now_s = now_s
        self._routes_here = routes_here

    @property
    def composition_names(self) -> tuple[str, ...]:
        return tuple(self._catalogue.names)

    @property
    def cards(self) -> Mapping[str, CompetenceCard]:
        return self._catalogue.cards

    def expert(self, expert_id: str) -> Expert:
        if expert_id not in self.pool.by_id:
            raise UnknownNameError("expert", expert_id, self.pool.by_id, param="expert")
        return self.pool.by_id[expert_id]

    def card(self, expert_id: str) -> CompetenceCard:
        """Raises UnknownNameError for an unknown expert, CardError when it was not profiled yet."""
        self.expert(expert_id)
        if expert_id not in self.cards:
            raise CardError(
                f"expert '{expert_id}' has no competence card.", remedy="Run `muster profile` first."
            )
        return self.cards[expert_id]

    def resolve(self, model: str) -> str:
        """Composition named by a `model` field: `auto`, `muster/<composition>`, or an expert's id.

        Raises:
            UnknownNameError: listing what there is.
        """
        name = model.removeprefix("muster/")
        if name in self._catalogue.names:
            return name
        if model.startswith(EXPERT_PREFIX) and model.removeprefix(EXPERT_PREFIX) in self.pool.by_id:
            return model
        if model in self.pool.by_id:
            return EXPERT_PREFIX + model
        valid = ["auto", *(f"muster/{n}" for n in self._catalogue.names if n != "auto"), *self.pool.by_id]
        raise UnknownNameError("model", model, valid, param="model")

    def route(self, queries: Sequence[Query], *, composition: str = "auto") -> list[Decision]:
        """Dry run: the decisions, nobody asked.

        Raises:
            MusterError: the composition needs a model to annotate skills, so it has no dry run.
            GenerationTimeoutError: the workers that route did not do so in time.
        """
        name = self.resolve(composition)
        if not self._routes_here:
            return self._routed_by_job(name, queries)
        built = self._catalogue.build(self._job(name, kind="route"))
        if isinstance(built, RollCall) or not isinstance(built, Ensemble):
            raise MusterError(f"composition '{composition}' does not route.")
        return built.route(queries)

    def _routed_by_job(self, composition: str, queries: Sequence[Query]) -> list[Decision]:
        job = self._job(ROUTE_PREFIX + composition, kind="route", priority=INTERACTIVE)
        self._put(job, queries)
        if self._dispatcher.wait(job.id, timeout_s=ROUTE_TIMEOUT_S).waiting:
            self.jobs.cancel(job.id)
            raise GenerationTimeoutError(
                f"no decision within {ROUTE_TIMEOUT_S:g} s.", remedy="Is a worker running?"
            )
        return [_decision_of(item) for item in self.jobs.answers(job.id)]

    def _put(self, job: Job, queries: Iterable[Query]) -> None:
        """On the books first, then the bell: losing it costs time only."""
        self.jobs.submit(job, queries)
        self._dispatcher.notify()

    def ask(
        self,
        query: Query,
        *,
        composition: str = "auto",
        timeout_s: float = 120.0,
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        job_id: str | None = None,
    ) -> Answer:
        """Answer one question now, ahead of batch work; the job is stored like any other.

        Raises:
            GenerationTimeoutError: not answered in time; the job is cancelled.
            UnknownNameError: no such composition.
        """
        job = self._job(
            self.resolve(composition),
            kind="ask",
            job_id=job_id,
            priority=INTERACTIVE,
            seed=seed,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        self._put(job, [query])
        self._dispatcher.wait(job.id, timeout_s=timeout_s)
        return self._answer(job.id, timeout_s=timeout_s)

    def stream(
        self,
        query: Query,
        *,
        composition: str = "auto",
        timeout_s: float = 120.0,
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        job_id: str | None = None,
    ) -> Generator[str | Answer, None, None]:
        """`ask`, read while it is written: parts of the answer's text, and at last the answer.

        The parts together are its text, unless it failed. They come as the words come where the answer
        is in one expert's words (`expert:<id>`, or an aggregator `first` with one recruit), else at the
        end. An empty part about every second says that nothing new is known.

        Raises:
            AnswerChangedError: an attempt that started over ended in another text.
            GenerationTimeoutError, UnknownNameError: as `ask`.
        """
        job = self._job(
            self.resolve(composition),
            kind="ask",
            job_id=job_id,
            priority=INTERACTIVE,
            seed=seed,
            max_tokens=max_tokens,
            temperature=temperature,
            stream=True,
        )
        draft = Draft()
        with self._dispatcher.listen(job.id, timeout_s=timeout_s) as told:
            self._put(job, [query])
            for pieces in told:
                yield draft.add(pieces)
        answer = self._answer(job.id, timeout_s=timeout_s)
        if answer.error_code is None:
            yield draft.finish(answer.text)
        yield answer

    def _answer(self, job_id: str, *, timeout_s: float) -> Answer:
        """What a question came to; without an answer by now it is cancelled."""
        answer = self.jobs.answer(job_id)
        if answer is None:
            self.jobs.cancel(job_id)
            raise GenerationTimeoutError(
                f"no answer within {timeout_s:g} s.", remedy="Ask again, or allow more time."
            )
        return answer

    def submit(
        self,
        queries: Iterable[Query],
        *,
        composition: str = "auto",
        job_id: str | None = None,
        label: str = "",
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        deadline_s: float | None = None,
    ) -> str:
        """Store a batch in one transaction and return its job id. Equal id and content: a no-op.

        `deadline_s`: seconds from now after which what is open ends as `batch_expired`.
        """
        job = self._job(
            self.resolve(composition),
            kind="batch",
            job_id=job_id,
            seed=seed,
            max_tokens=max_tokens,
            temperature=temperature,
            label=label,
            deadline_s=deadline_s,
        )
        self._put(job, queries)
        return job.id

    def run(self, job_id: str, *, on_progress: OnProgress | None = None) -> JobProgress:
        """Work until the job is done. Interrupting leaves a job that a next `run` resumes."""
        return self._dispatcher.run(job_id, on_progress=on_progress)

    def left(self, job_id: str) -> LoadPlan:
        """What is left until a job ends: loads, seconds, and the order of engines.

        Work of other jobs counts where it waits too: jobs share loads.

        Raises:
            NotFoundError: no such job.
        """
        progress = self.jobs.job(job_id)
        if progress.state is not JobState.RUNNING:
            return NOTHING_LEFT
        return self._dispatcher.plan(later=self._later_engines(progress.job))

    def plan(self, job_id: str, *, exact: bool = False) -> JobPlan:
        """What every device did for a job and will do, from the books alone.

        Args:
            exact: the shortest schedule by CP-SAT (extra `plan`) instead of the usual one.

        Raises:
            NotFoundError: no such job.
            ConfigError: `exact` without OR-Tools.
        """
        progress = self.jobs.job(job_id)
        given = PlanInput(
            progress=progress,
            backlog=self._work.backlog(owner=_NOBODY),
            devices=self._work.devices(LIVE_S),
            loads=self._work.engine_loads(job_id=job_id),
            rates=self._work.rates(),
            now_s=self._now_s(),
        )
        return job_plan(given, later=self._later_engines(progress.job), exact=exact)

    def unload(self) -> None:
        """Free the devices, so that a measurement starts with nothing resident."""
        self._dispatcher.unload()

    def cancel(self, job_id: str) -> None:
        """End a job: its open queries fail as `cancelled`. One that has ended stays as it is."""
        self.jobs.cancel(job_id)
        self._dispatcher.notify()

    def results(self, job_id: str) -> Iterator[AnsweredQuery]:
        return self.jobs.answers(job_id)

    def _later_engines(self, job: Job) -> frozenset[str]:
        return frozenset(self._catalogue.later_engines(job))

    def _job(
        self,
        composition: str,
        *,
        kind: str,
        job_id: str | None = None,
        priority: int = BATCH,
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        label: str = "",
        deadline_s: float | None = None,
        stream: bool = False,
    ) -> Job:
        return Job(
            id=job_id or f"{kind}-{uuid.uuid4().hex}",
            kind=kind,
            composition=composition,
            priority=priority,
            seed=self._seed if seed is None else seed,
            max_tokens=max_tokens,
            temperature=temperature,
            config_hash=self._config_hash,
            label=label,
            deadline_s=deadline_s,
            stream=stream,
        )


def _decision_of(item: AnsweredQuery) -> Decision:
    if item.answer.decision is None:
        raise RoutingError(item.answer.error or "the composition does not route.")
    return item.answer.decision
