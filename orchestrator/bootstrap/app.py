"""The composition root: settings in, wired services out. Concrete classes are named in this folder only."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING

from aggregators.outputs import AGGREGATORS
from aggregators.outputs.votes import SettledWords
from orchestrator.bootstrap.annotators import SkillParts, make_annotator
from orchestrator.bootstrap.checks import Checks, config_hash
from orchestrator.bootstrap.compute import ComputeMeter
from orchestrator.bootstrap.costs import costs_of
from orchestrator.bootstrap.fleet import Fleet
from orchestrator.bootstrap.merge_runner import MergeRunner
from orchestrator.bootstrap.merged import PoolWatch
from orchestrator.bootstrap.merging import check_text
from orchestrator.bootstrap.own_resources import OwnResources
from orchestrator.bootstrap.published import make_pool
from orchestrator.bootstrap.stack_parts import rate_limiter, stack_dispatcher
from orchestrator.bootstrap.telemetry import Telemetry
from orchestrator.bootstrap.tracing import OtelTracer, open_tracer
from orchestrator.compositions.catalogue import Catalogue
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Job
from orchestrator.domain.experts import EngineSpec, Pool
from orchestrator.domain.merges import MergedExpert
from orchestrator.domain.names import EXPERT_PREFIX
from orchestrator.evaluation.bench import Bench
from orchestrator.evaluation.pool import PoolEvaluation
from orchestrator.evaluation.shadows import ShadowComparison
from orchestrator.pool import engine_access
from orchestrator.ports.batches import LineForms
from orchestrator.ports.cards import CardStore
from orchestrator.ports.composing import Composition
from orchestrator.ports.dispatch import Told
from orchestrator.ports.skills import Grader
from orchestrator.runtime.live import Live
from orchestrator.runtime.private import tighten_folder
from orchestrator.services.asking import Asking
from orchestrator.services.batch_work import BatchWork
from orchestrator.services.batches import BatchDesk
from orchestrator.services.clerk import Clerk
from orchestrator.services.embedding import Embedding
from orchestrator.services.ended import EndedJobs
from orchestrator.services.endings import Endings
from orchestrator.services.exchanges import Exchanges
from orchestrator.services.experts import Experts
from orchestrator.services.feedback import FeedbackDesk
from orchestrator.services.files import FileDesk
from orchestrator.services.following import Following
from orchestrator.services.jobs import Jobs
from orchestrator.services.keys import Keys
from orchestrator.services.merges import MergeDesk, bounds_of
from orchestrator.services.preparing import Preparation
from orchestrator.services.profiling import Profiling
from orchestrator.services.rates import Rates
from orchestrator.services.shadowing import Shadowing
from orchestrator.services.stages import Stages, sayings_in
from orchestrator.services.submitting import Submitter
from orchestrator.services.upkeep import Upkeep
from orchestrator.settings.schema import Settings
from orchestrator.store import (
    SqlBatchStore,
    SqlCardStore,
    SqlExchangeStore,
    SqlFeedbackStore,
    SqlFileStore,
    SqlJobStore,
    SqlKeyedRequestStore,
    SqlKeyStore,
    SqlMergeStore,
    open_database,
    shared_key,
)
from skills.grading.grader import GRADERS, LENIENT_GRADERS, AnswerGrader, check_reference
from skills.profiler import Profiler, check_labelled
from workers.backends.fusion import mixed_members
from workers.backends.registry import REMOTE_BACKENDS, get_backend
from workers.device.own_gpu import own_device
from workers.device.wiring import DeviceSetup
from workers.dispatch.local import LocalDispatcher

if TYPE_CHECKING:
    from workers.dispatch.stack import StackDispatcher
    from workers.stack.news import News


class App:
    """The services over a configuration. Heavy parts (embedder, engines) are made when they are first needed.

    Attributes:
        asking, jobs, ended, exchanges, embedding, following, experts, profiling, feedback, evaluation,
            checks, keys: what entry points speak to.
        store, catalogue, dispatcher: what processes of the stack are made of.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        applicants: Sequence[MergedExpert] = (),
        tracer: OtelTracer | None = None,
    ) -> None:
        """
        Args:
            applicants: experts that are tried here, and are nobody of the pool elsewhere.
            tracer: None = the configured one.
        """
        pool = make_pool(settings)
        tighten_folder(settings.muster.data_dir)
        self._database = open_database(settings.database_url)
        self.merges = SqlMergeStore(self._database)
        self._configured = settings
        self.members = PoolWatch(
            self.merges,
            settings=settings,
            pool=pool,
            applicants=applicants,
            on_changed=self._forget_knowledge,
        )
        self.pool: Pool = self.members.pool
        self.lineages = Live(lambda: self.members.lineages)
        self.store = SqlJobStore(self._database, costs=costs_of(lambda: self.pool, self._later_engines))
        self.keyed = SqlKeyedRequestStore(self._database)
        self.config_hash = config_hash(settings, pool)
        self.fleet = Fleet(self._database, self.store, settings=settings, pool=self.members.pool)
        is_lenient = settings.muster.grading.isolation == "available"
        self.check_reference = check_reference
        self._grader = AnswerGrader(LENIENT_GRADERS if is_lenient else GRADERS)
        self._skills = SkillParts(settings)
        self.keys = Keys(SqlKeyStore(self._database), experts=Live(lambda: self.pool.by_id))
        self.rates = Rates(rate_limiter(settings))
        self.telemetry = Telemetry(
            self._database,
            pool=lambda: self.pool,
            compositions=lambda: tuple(self.catalogue.names),
            otel=tracer or open_tracer(settings.muster.tracing),
        )
        self.tracer = self.telemetry.tracer
        self._own = OwnResources(self._database, pool=lambda: self.pool)
        self.pages, self.pauses = self._own.pages, self._own.pauses
        cards = SqlCardStore(self._database)
        self.feedback = FeedbackDesk(
            jobs=self.store,
            store=SqlFeedbackStore(self._database),
            grader=self._grader,
            pool=self.pool,
            settings=settings.muster.feedback,
            now_s=time.time,
            save_scores=cards.save_scores,
        )
        self.experts = Experts(
            pool=self.pool,
            cards=cards,
            feedback=self.feedback,
            on_changed=self._forget_knowledge,
            lineages=self.lineages,
            history=cards,
        )
        self.profiling = Profiling(
            profiler=partial(self._profiler, cards),
            keep=self._skills.keep,
            cards=cards,
            experts=self.experts,
            on_changed=self._forget_knowledge,
            paused=self._own.paused.experts,
        )
        self.catalogue = self._catalogue(self._grader)
        self.dispatcher: LocalDispatcher | StackDispatcher = (
            stack_dispatcher(settings, self.store, self.news) if settings.is_stack else self.device_driver()
        )
        submitter = Submitter(
            pool=self.pool,
            compositions=lambda: self.catalogue.names,
            store=self.store,
            dispatcher=self.dispatcher,
            seed=settings.muster.seed,
            config_hash=self.config_hash,
            tracer=self.tracer,
        )
        engines = Live(lambda: self.pool.engines)
        self.engines = self._own.board(self.store, engines)
        self.shadowing = Shadowing(settings.muster.shadow, submitter=submitter, reader=self.store)
        self.shadows = ShadowComparison(self.store, self._grader)
        self.asking = Asking(
            submitter=submitter,
            store=self.store,
            dispatcher=self.dispatcher,
            compositions=self.build,
            routes_here=not settings.is_stack,
            on_answered=self._answered,
        )
        self.stages = Stages(self.store, sayings=sayings_in(self.store, self._grader))
        self.endings = Endings(self.store)
        self.jobs = Jobs(
            end=self.endings.begin,
            submitter=submitter,
            store=self.store,
            dispatcher=self.dispatcher,
            work=self.store,
            later_engines=self.catalogue.later_engines,
            measured=self.experts.measured,
            engines=self.engines,
            engines_of=self.store.engines_of,
        )
        self.ended = EndedJobs(
            store=self.store,
            dispatcher=self.dispatcher,
            retention=settings.muster.retention,
            keyed=self.keyed,
        )
        self.embedding = Embedding(lambda: self._skills.embedder)
        self.exchanges = Exchanges(
            SqlExchangeStore(self._database), self.store, self.ended.delete, self.jobs.cancel
        )
        self.upkeep = Upkeep(self.ended)
        self.usage = self.telemetry.usage_desk(self.experts.measured)
        self.metrics = self.telemetry.metrics(self.store)
        self.following = Following(self.store)
        self._files, self._batches = SqlFileStore(self._database), SqlBatchStore(self._database)
        self.files = FileDesk(self._files, kept_s=_seconds(settings.muster.retention.file_days))
        self.batches = BatchDesk(self._batches, files=self._files, jobs=self.jobs, watcher=self.store)
        self.evaluation = PoolEvaluation(
            bench=Bench(
                service=self.jobs,
                pool=self.pool,
                jobs=self.store,
                grader=self._grader,
                compositions=self.build,
                flop=ComputeMeter(self.pool).flop,
            ),
            pool=self.pool,
            questions=self.profiling.questions,
            profile=lambda: self.catalogue.knowledge.profile,
            grader=self._grader,
            seed=settings.muster.seed,
        )
        self._bounds = bounds_of(settings)
        self.merging = MergeDesk(
            jobs=self.merges,
            bounds=self._bounds,
            check=check_text,
            has_profile=settings.muster.profile_set is not None,
            most_live=settings.muster.merges.max_live,
            now_s=time.time,
        )
        self.preparation = Preparation(
            pool=self.pool,
            asking=self.asking,
            experts=self.experts,
            profiling=self.profiling,
            check=check_labelled,
        )
        self.profiles = self._own.profiles(self.profiling, self.experts)
        self.checks = Checks(
            settings,
            pool=self.pool,
            store=self.store,
            catalogue=self.catalogue,
            revision=self.store.require_revision,
            devices=self.store,
            measuring=self.preparation.note,
            refused=lambda: self.news.n_refused,
            engines=self.engines,
            config_hash=self.config_hash,
        )

    def clerk(self, forms: LineForms) -> Clerk:
        """A thread that works on batches, whose lines have these forms; not started yet."""
        work = BatchWork(
            batches=self._batches,
            files=self._files,
            desk=self.files,
            jobs=self.jobs,
            forms=forms,
            resolve=self.asking.resolve,
            pool=self.pool.fingerprint,
        )
        return Clerk(work, self.files)

    def device_driver(
        self,
        *,
        steps: bool = True,
        on_committed: Callable[[], None] | None = None,
        on_told: Callable[[Told], None] | None = None,
    ) -> LocalDispatcher:
        """A loop over the configured device; `steps`: it also takes queries through their compositions."""
        own_device(self.settings.muster.device, os.environ)
        setup = DeviceSetup(
            stores=self.store.device_stores,
            backends=partial(get_backend, access=engine_access(self.settings, self.pool)),
            pool=self.pool,
            later_engines=self.catalogue.later_engines,
            compositions=self.build if steps else None,
            settings=self.settings.muster.scheduler,
            device=self.settings.muster.device,
            config_hash=self.config_hash,
            meter=self.telemetry.meter,
            traces=self.telemetry.call_traces,
            stage_traces=self.telemetry.stage_traces,
            paused=self._own.paused.engines,
            withheld=self.fleet.withheld,
        )
        return LocalDispatcher(setup, settled=SettledWords, on_told=on_told, on_committed=on_committed)

    @contextmanager
    def making_merges(self) -> Iterator[None]:
        """Merges that are asked for over REST are made by a thread of this process, if they are open."""
        if self._bounds is None:
            yield
            return
        runner = MergeRunner(self.merges, self._configured, self._bounds)
        runner.start()
        try:
            yield
        finally:
            runner.stop()

    @cached_property
    def news(self) -> "News":
        """The channel on which this process tells and hears of answers, in the stack."""
        from workers.stack.news import open_news

        return open_news(self.settings, key=lambda: shared_key(self._database, "news"))

    @property
    def settings(self) -> Settings:
        """Settings of the file, with the members that merges made."""
        return self.members.settings

    def build(self, job: Job) -> Composition:
        """The composition of a job; an expert that is not known here may have joined since the last look.

        Raises:
            UnknownNameError: no such composition.
            ConfigError: options that its router or aggregator refuses.
        """
        named = [name.partition(EXPERT_PREFIX) for name in (job.composition, *job.compositions)]
        if any(is_expert and expert_id not in self.pool.known for _, is_expert, expert_id in named):
            self.members.look()
        return self.catalogue.build(job)

    def _local_engines(self) -> Mapping[str, EngineSpec]:
        return {i: spec for i, spec in self.pool.engines.items() if spec.backend not in REMOTE_BACKENDS}

    @property
    def remote_engine_ids(self) -> frozenset[str]:
        """Engines of the pool that run elsewhere."""
        return frozenset(e.id for e in self.pool.engines.values() if e.backend in REMOTE_BACKENDS)

    def _later_engines(self, job: Job) -> Sequence[str]:
        return self.catalogue.later_engines(job)

    def _answered(self, job: Job, answer: Answer) -> None:
        self.rates.answered(job.owner, answer)
        self.shadowing.consider(job.id)

    def close(self) -> None:
        """End the app's threads and close its database; what is under way is left to others."""
        self.shadowing.stop()
        self.members.stop()
        self.profiles.stop()
        self.fleet.leave()
        self.upkeep.stop()
        self.endings.stop()
        self.dispatcher.stop()
        self.rates.close()
        self.telemetry.close()
        self._database.close()

    def _catalogue(self, grader: Grader) -> Catalogue:
        return Catalogue(
            self.settings,
            pool=self.pool,
            aggregators=AGGREGATORS,
            grader=grader,
            embedder=lambda: self._skills.embedder,
            annotator=self._skills.annotator,
            matcher=self._skills.matcher,
            measured=self.experts.measured,
            cards=self.experts.cards,
            knowledge=self.profiling.knowledge,
            members=mixed_members,
            sessions=self.store,
            memory=self._own.memory,
            conditions=self._own.conditions(self.store, Live(self._local_engines).keys()),
            watch=self.telemetry.watch,
        )

    def _forget_knowledge(self) -> None:
        self.catalogue.forget()

    def _profiler(self, cards: CardStore, texts: Sequence[str]) -> Profiler:
        return Profiler(
            jobs=self.store,
            cards=cards,
            dispatcher=self.dispatcher,
            grader=self._grader,
            annotator=make_annotator(self.settings, self._skills.embedder, texts=texts),
            matcher=None,
            embedder=self._skills.embedder,
            pool=self.pool.now,
            seed=self.settings.muster.seed,
        )


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * 86_400


@contextmanager
def open_app(
    settings: Settings,
    *,
    background: bool = False,
    serves: bool = True,
    applicants: Sequence[MergedExpert] = (),
    tracer: OtelTracer | None = None,
) -> Iterator[App]:
    """A wired App, closed at the end.

    Args:
        background: the device loop runs in a thread.
        serves: what is in the background is a server: it joins the fleet, publishes its pool, and does what
            is to be done beside questions. A command that is over with its question does none of that.

    Raises:
        MusterError: configuration or database that cannot be used.
    """
    app = App(settings, applicants=applicants, tracer=tracer)
    app.telemetry.keeper.start()
    try:
        if background:
            app.dispatcher.start()
            app.members.start()
        if background and serves:
            app.shadowing.start()
            app.fleet.join("api", config_hash=app.config_hash)
        is_alone = background and serves and not settings.is_stack  # in a stack others do it
        if is_alone:
            app.upkeep.start()
        with app.making_merges() if is_alone else nullcontext():
            yield app
    finally:
        app.close()
