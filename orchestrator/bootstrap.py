"""The composition root: settings in, a wired `App` out. The one module that names concrete classes."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aggregators.outputs import AggregatorContext, make_aggregator
from aggregators.outputs.votes import settled_words
from orchestrator.annotators import make_annotator
from orchestrator.bench import Bench, BenchReport, OnBench
from orchestrator.compositions import (
    EXPERT_PREFIX,
    ROUTE_PREFIX,
    STOCK_COMPOSITIONS,
    AnnotationRound,
    DryRun,
    Ensemble,
    RollCall,
    SkillReader,
)
from orchestrator.conditions import EngineWatch
from orchestrator.domain.assignments import CallRole, Job
from orchestrator.domain.cards import CompetenceCard, Profile, deck_hash, measured_version
from orchestrator.domain.devices import Conditions
from orchestrator.domain.experts import Pool
from orchestrator.domain.feedback import Drift
from orchestrator.domain.queries import Query
from orchestrator.domain.values import content_hash
from orchestrator.errors import ConfigError, InputError, MusterError, NotProfiledError, UnknownNameError
from orchestrator.feedback import FeedbackDesk
from orchestrator.pool import build_pool, engine_access
from orchestrator.ports import Clock, Composition, Embedder, Grader, Piece, SkillAnnotator, SkillMatcher
from orchestrator.routing import RouterContext, make_router
from orchestrator.service import OnProgress, Service
from orchestrator.settings import CompositionSettings, Settings
from orchestrator.store import SqlCardStore, SqlFeedbackStore, SqlJobStore, open_database
from orchestrator.swiss import Standing, swiss_standings
from orchestrator.waves import make_waves
from skills.embedding import embedder_of
from skills.grading.grader import AnswerGrader
from skills.matcher import EmbeddingMatcher
from skills.profiler import ANNOTATE, EXAM, ROLL_CALL, Profiler, ProfileReport
from skills.vector_file import FileBackedEmbedder
from workers.backends.registry import REMOTE_BACKENDS, get_backend
from workers.dispatch import LocalDispatcher
from workers.owners import loop_of
from workers.weights import weights_hash

if TYPE_CHECKING:
    from workers.stack.dispatch import StackDispatcher
    from workers.stack.news import News

log = logging.getLogger(__name__)

SYNTHESIZE, FIRST = "synthesize", "first"
REFRESH_S = 5.0
FEEDBACK_S = 60.0
"""Feedback reaches routing this often: all of it is read, and every composition fitted anew."""
DISPENSABLE = frozenset({"broker", "workers"})
"""Checks of the stack that may fail while questions are still taken."""
AUTO, UNPROFILED = "auto", "skills"
ONLY = CompositionSettings(router="all", aggregator=FIRST)


class Diagnosis(NamedTuple):
    """One check of `muster doctor` and `/health/ready`. One that is not `required` costs speed only."""

    check: str
    ok: bool
    detail: str
    remedy: str | None = None
    required: bool = True


class Knowledge(NamedTuple):
    """What was learnt about the pool: its cards, and the outcomes behind them unless these were imported."""

    cards: Mapping[str, CompetenceCard]
    profile: Profile | None

    @property
    def texts(self) -> Sequence[str]:
        return self.profile.texts if self.profile else ()

    @property
    def skills(self) -> tuple[str, ...]:
        """Names of the profile questions' skills, or of those that the cards know; sorted."""
        if self.profile is None:
            return tuple(sorted({name for card in self.cards.values() for name in card.skills}))
        return tuple(sorted({tag.name for tags in self.profile.skills for tag in tags}))


NOTHING = Knowledge({}, None)


class Catalogue:
    """Builds compositions by name from the cards of the moment (`service.CompositionCatalogue`).

    For any number of threads.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pool: Pool,
        grader: Grader,
        embedder: Callable[[], Embedder],
        annotator: Callable[[Knowledge], SkillAnnotator],
        matcher: Callable[[Knowledge], SkillMatcher | None],
        cards: Callable[[], Mapping[str, CompetenceCard]],
        knowledge: Callable[[], Knowledge],
        measured: Callable[[], Mapping[str, CompetenceCard]] | None = None,
        conditions: Callable[[], Conditions] = Conditions,
        clock: Clock = time.monotonic,
    ) -> None:
        """
        Args:
            measured: the cards without feedback; None = `cards` hold none.
            conditions: the engines at the moment.
        """
        self._settings = settings
        self._pool = pool
        self._grader = grader
        self._embedder = embedder
        self._annotator = annotator
        self._matcher = matcher
        self._load_measured = measured or cards
        self._load_cards = cards
        self._load_knowledge = knowledge
        self._conditions = conditions
        self._clock = clock
        self._checked_at = clock()
        self._fed_at = -math.inf
        self._lock = threading.RLock()
        self._specs = {**_stock_compositions(pool), **settings.muster.compositions}
        self.forget()

    def forget(self) -> None:
        """Read cards and profile anew at the next use: they changed."""
        with self._lock:
            self._knowledge: Knowledge | None = None
            self._reader: SkillReader | None = None
            self._built: dict[str, Composition] = {}

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._specs)

    def refresh(self) -> None:
        """Follow what was profiled and judged since, by any process; looks every `REFRESH_S`."""
        with self._lock:
            known, now = self._knowledge, self._clock()
            if known is None or now < self._checked_at + REFRESH_S:
                return
            self._checked_at = now
            if measured_version(self._load_measured()) != measured_version(known.cards):
                self.forget()
            elif now >= self._fed_at + FEEDBACK_S:
                self._fed_at = now
                self._follow_feedback(known)

    def _follow_feedback(self, known: Knowledge) -> None:
        cards = self._load_cards()
        if deck_hash(cards) != deck_hash(known.cards):
            self._knowledge = known._replace(cards=cards)
            self._built = {}

    @property
    def cards(self) -> Mapping[str, CompetenceCard]:
        """As of now, for people; what routes are those of `knowledge`. Needs no embedder."""
        return self._load_cards()

    @property
    def knowledge(self) -> Knowledge:
        with self._lock:
            if self._knowledge is None:
                self._knowledge = self._load_knowledge()
            return self._knowledge

    def build(self, job: Job) -> Composition:
        """The composition of a job; equal jobs share one.

        Raises:
            UnknownNameError: no such composition.
            ConfigError: options that its router or aggregator refuses.
        """
        self.refresh()
        key = content_hash(job.model_dump(mode="json", include=_SHAPING_FIELDS))
        with self._lock:
            if key not in self._built:
                self._built[key] = self._make(job)
            return self._built[key]

    def _make(self, job: Job) -> Composition:
        if job.composition in (ROLL_CALL, EXAM):
            role = CallRole.AGGREGATE if job.composition == EXAM else CallRole.EXPERT
            return RollCall(job.composition, pool=self._pool, job=job, role=role)
        if job.composition == ANNOTATE:
            return AnnotationRound(self._annotator(NOTHING))
        if job.composition.startswith(ROUTE_PREFIX):
            inner = job.model_copy(update={"composition": job.composition.removeprefix(ROUTE_PREFIX)})
            return DryRun(job.composition, self.build(inner))
        only = (
            job.composition.removeprefix(EXPERT_PREFIX) if job.composition.startswith(EXPERT_PREFIX) else None
        )
        if only is not None:
            return self._ensemble(ONLY, job, expert_ids=(only,))
        if job.composition not in self._specs:
            raise UnknownNameError("composition", job.composition, self._specs, param="composition")
        spec = self._specs[job.composition]
        if spec is STOCK_COMPOSITIONS[AUTO] and self.knowledge.profile is None:
            spec = STOCK_COMPOSITIONS[UNPROFILED]  # a pool that was never measured still answers
        answerers = [e.id for e in self._pool.answerers]
        allowed = tuple(e for e in answerers if spec.experts is None or e in spec.experts)
        return self._ensemble(spec, job, expert_ids=allowed)

    def _ensemble(self, spec: CompositionSettings, job: Job, *, expert_ids: tuple[str, ...]) -> Ensemble:
        cards, profile = self.knowledge
        routing = RouterContext(
            cards=cards,
            profile=profile,
            expert_ids=expert_ids,
            seed=job.seed,
            experts=self._pool.by_id,
            conditions=self._conditions,
        )
        voting = AggregatorContext(
            grader=self._grader, pool=self._pool, cards=cards, profile=profile, seed=job.seed
        )
        aggregator = make_aggregator(spec.aggregator, voting, spec.aggregator_options)
        if job.temperature is None and spec.temperature is not None:
            job = job.model_copy(update={"temperature": spec.temperature})
        return Ensemble(
            job.composition,
            pool=self._pool,
            reader=self._skill_reader(),
            router=make_router(spec.router, routing, spec.router_options),
            aggregator=aggregator,
            job=job,
            later_engines=self._later_engines(spec),
            quotes=spec.aggregator == FIRST and spec.waves is None and spec.abstain_below is None,
            waves=None if spec.waves is None else make_waves(aggregator, spec.waves),
            abstain_below=spec.abstain_below,
        )

    def later_engines(self, job: Job) -> tuple[str, ...]:
        spec = self._specs.get(job.composition)
        return () if spec is None else self._later_engines(spec)

    def _later_engines(self, spec: CompositionSettings) -> tuple[str, ...]:
        if spec.aggregator != SYNTHESIZE:
            return ()
        return tuple(dict.fromkeys(e.engine.id for e in self._pool.aggregators))

    def _skill_reader(self) -> SkillReader:
        if self._reader is None:
            known = self.knowledge
            self._reader = SkillReader(self._annotator(known), self._matcher(known), self._embedder())
        return self._reader


_SHAPING_FIELDS = {"composition", "seed", "max_tokens", "temperature", "experts", "stream"}


class App:
    """Everything wired. Heavy parts (embedder, engines) are made when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pool = build_pool(settings, weights_hash=weights_hash)
        _check_references(settings, self.pool)
        self._database = open_database(settings.database_url)
        self.jobs = SqlJobStore(self._database)
        self.card_store = SqlCardStore(self._database)
        self.grader: Grader = AnswerGrader()
        self.feedback = FeedbackDesk(
            jobs=self.jobs,
            store=SqlFeedbackStore(self._database),
            grader=self.grader,
            pool=self.pool,
            settings=settings.muster.feedback,
            now_s=time.time,
        )
        self.catalogue = Catalogue(
            settings,
            pool=self.pool,
            grader=self.grader,
            embedder=lambda: self.embedder,
            annotator=self._annotator,
            matcher=self._matcher,
            measured=self.measured_cards,
            cards=self._cards,
            knowledge=self._knowledge,
            conditions=EngineWatch(
                self.jobs,
                engine_ids=frozenset(
                    e.id for e in self.pool.engines.values() if e.backend not in REMOTE_BACKENDS
                ),
                loop_of=loop_of,
                clock=time.monotonic,
            ),
        )
        self.dispatcher: LocalDispatcher | StackDispatcher = (
            self._stack_dispatcher() if settings.is_stack else self.device_driver()
        )
        self.service = Service(
            pool=self.pool,
            jobs=self.jobs,
            dispatcher=self.dispatcher,
            catalogue=self.catalogue,
            seed=settings.muster.seed,
            config_hash=config_hash(settings, self.pool),
            routes_here=not settings.is_stack,
        )

    def device_driver(
        self,
        *,
        steps: bool = True,
        on_committed: Callable[[], None] | None = None,
        on_piece: Callable[[Piece], None] | None = None,
    ) -> LocalDispatcher:
        """A loop over the configured device; see `LocalDispatcher` for the arguments."""
        return LocalDispatcher(
            store=self.jobs,
            backends=partial(get_backend, access=engine_access(self.settings, self.pool)),
            pool=self.pool,
            compositions=self.catalogue.build,
            settings=self.settings.muster.scheduler,
            device=self.settings.muster.device,
            steps=steps,
            on_committed=on_committed,
            settled=settled_words,
            on_piece=on_piece,
        )

    @cached_property
    def news(self) -> "News":
        """Where this process tells and hears of answers, in the stack."""
        from workers.stack.news import open_news

        return open_news(self.settings)

    def _stack_dispatcher(self) -> "StackDispatcher":
        try:
            from workers.app import make_celery
            from workers.stack.bells import Bells
            from workers.stack.dispatch import StackDispatcher
        except ImportError as error:
            raise ConfigError(
                f"muster.broker_url is set, but a library of the stack is missing: {error}.",
                param="muster.broker_url",
                remedy="Run `pip install 'muster[stack]'`, or unset it to run in one process.",
            ) from error
        return StackDispatcher(store=self.jobs, bells=Bells(make_celery(self.settings)), news=self.news)

    @cached_property
    def embedder(self) -> FileBackedEmbedder:
        options = self.settings.muster.embedder
        inner = embedder_of(options.model, cache_size=options.cache_size)
        return FileBackedEmbedder(inner, self.settings.muster.data_dir / "vectors")

    def profile(
        self,
        queries: Sequence[Query],
        *,
        experts: Sequence[str] | None = None,
        exam: bool = True,
        on_progress: OnProgress | None = None,
    ) -> ProfileReport:
        """Measure experts on labelled questions; what is known already is not asked again."""
        self.embedder.keep([q.text for q in queries])
        report = self._profiler([q.text for q in queries]).run(
            queries, experts=experts, exam=exam, on_progress=on_progress
        )
        self.catalogue.forget()
        return report

    def bench(
        self, queries: Sequence[Query], compositions: Sequence[str], *, on_progress: OnBench | None = None
    ) -> BenchReport:
        """As `Bench.run`.

        Raises:
            InputError: as there, or a question that the experts were profiled on.
        """
        newest = self.card_store.latest_profile_hash()
        profiled = {q.content_hash for q, _ in (newest and self.card_store.profile_set(newest)) or ()}
        known = [query for query in queries if query.content_hash in profiled]
        if known:
            raise InputError(
                f"{len(known)} of {len(queries)} questions were profiled on, '{known[0].id}' is the first.",
                remedy="Compare on questions that nothing was learnt from.",
            )
        bench = Bench(service=self.service, jobs=self.jobs, grader=self.grader)
        return bench.run(queries, compositions, on_progress=on_progress)

    def check_compositions(self) -> None:
        """Build what the file defines, as far as that needs no profile.

        Raises:
            ConfigError: a router, an aggregator or an option that does not exist.
        """
        for name in self.settings.muster.compositions:
            try:
                self.catalogue.build(Job(id="check", composition=name))
            except NotProfiledError:
                continue
            except (ConfigError, UnknownNameError) as error:
                place = f"muster.compositions.{name}"
                raise ConfigError(f"{place}: {error}", file=self.settings.source, param=place) from error

    def diagnose(self) -> list[Diagnosis]:
        """Check what a question needs to be answered; never raises."""
        return [self._diagnose(name, check) for name, check in self._checks().items()]

    def close(self) -> None:
        self.dispatcher.stop()
        self._database.close()

    def _checks(self) -> Mapping[str, Callable[[], str]]:
        if self.settings.is_stack:  # the workers embed, load and route; this process only looks
            return {
                "database": lambda: f"{len(self.jobs.jobs(limit=1000))} jobs",
                "cards": self._check_cards,
                "broker": self._check_broker,
            }
        return {
            "database": lambda: f"{len(self.jobs.jobs(limit=1000))} jobs",
            "backends": lambda: ", ".join(
                sorted({get_backend_name(e.backend) for e in self.pool.engines.values()})
            ),
            "weights": self._check_weights,
            "cards": self._check_cards,
            "compositions": self._check_compositions,
        }

    def _diagnose(self, name: str, check: Callable[[], str]) -> Diagnosis:
        try:
            return Diagnosis(name, True, check(), required=name not in DISPENSABLE)
        except MusterError as error:
            return Diagnosis(name, False, str(error), required=name not in DISPENSABLE)
        except Exception as error:  # a broken part must not hide the state of the others
            log.exception("check %s failed", name)
            detail = f"{type(error).__name__}: {error}"
            return Diagnosis(name, False, detail, required=name not in DISPENSABLE)

    def _check_broker(self) -> str:
        from workers.app import check_broker

        return check_broker(self.settings)

    def _check_weights(self) -> str:
        folders = {e.engine.model for e in self.pool.experts} | {e.adapter for e in self.pool.experts}
        missing = sorted(f for f in folders if f and Path(f).is_absolute() and not Path(f).exists())
        if missing:
            raise ConfigError(f"not on this machine: {', '.join(missing)}.", remedy="Mend the pool file.")
        return f"{len(folders - {None})} models"

    def _check_cards(self) -> str:
        missing = [e.id for e in self.pool.answerers if e.id not in self.catalogue.cards]
        if missing:
            raise ConfigError(
                f"not profiled: {', '.join(missing)}.", remedy="Run `muster profile QUESTIONS.jsonl`."
            )
        return f"{len(self.catalogue.cards)} cards"

    def _check_compositions(self) -> str:
        """Imported cards serve all but those whose router reads the profile's outcomes themselves."""
        waiting = []
        for name in self.catalogue.names:
            try:
                self.catalogue.build(Job(id="check", composition=name))
            except NotProfiledError:
                if not self.catalogue.cards:
                    raise
                waiting.append(name)
        without = f", but not without a profile: {', '.join(waiting)}" if waiting else ""
        return f"{len(self.catalogue.names)} compositions{without}"

    def _cards(self) -> Mapping[str, CompetenceCard]:
        return self.feedback.on_cards(self.measured_cards())

    def swiss(self) -> list[Standing]:
        """The pool ranked by Swiss rounds over its profile.

        Raises:
            NotProfiledError: the pool was not profiled here.
        """
        profile = self.catalogue.knowledge.profile
        if profile is None or not profile.texts:
            raise NotProfiledError(
                "the pool has no profile to play on.", remedy="Run `muster profile` first."
            )
        return swiss_standings(profile, seed=self.settings.muster.seed)

    def drifts(self) -> list[Drift]:
        """Where recent feedback contradicts what was known of an expert."""
        return self.feedback.drifts(self.measured_cards())

    def measured_cards(self) -> Mapping[str, CompetenceCard]:
        """Cards last measured or imported that fit the pool as it is now; without feedback."""
        stored = self.card_store.cards()
        return {
            expert.id: stored[expert.id]
            for expert in self.pool.experts
            if expert.id in stored and stored[expert.id].fingerprint == expert.fingerprint
        }

    def _knowledge(self) -> Knowledge:
        """Outcomes only where the cards were counted from them."""
        cards = self._cards()
        newest = self.card_store.latest_profile_hash()
        if newest is None or any(card.profile_hash != newest for card in self.card_store.cards().values()):
            return Knowledge(cards, None)
        questions = [query for query, _ in self.card_store.profile_set(newest) or ()]
        self.embedder.keep([query.text for query in questions])
        return Knowledge(cards, self._profiler(()).profile())

    def _profiler(self, texts: Sequence[str]) -> Profiler:
        return Profiler(
            jobs=self.jobs,
            cards=self.card_store,
            dispatcher=self.dispatcher,
            grader=self.grader,
            annotator=self._annotator_for(texts),
            matcher=None,
            embedder=self.embedder,
            pool=self.pool,
            seed=self.settings.muster.seed,
        )

    def _annotator(self, known: Knowledge) -> SkillAnnotator:
        return self._annotator_for(known.texts, known.skills)

    def _annotator_for(self, texts: Sequence[str], skills: Sequence[str] = ()) -> SkillAnnotator:
        return make_annotator(self.settings, self.embedder, texts=texts, skills=skills)

    def _matcher(self, known: Knowledge) -> SkillMatcher | None:
        """Free names need matching; the embedding annotator speaks the cards' vocabulary already."""
        if self.settings.muster.skills.annotator != "llm" or not known.skills:
            return None
        return EmbeddingMatcher(self.embedder, known.skills, floor=self.settings.muster.skills.match_floor)


def _stock_compositions(pool: Pool) -> Mapping[str, CompositionSettings]:
    """Those that the pool can run: nobody synthesizes where no member has the role."""
    return {
        name: spec
        for name, spec in STOCK_COMPOSITIONS.items()
        if pool.aggregators or spec.aggregator != SYNTHESIZE
    }


@contextmanager
def open_app(settings: Settings, *, background: bool = False) -> Iterator[App]:
    """A wired App, closed at the end. `background`: the device loop runs in a thread (a server).

    Raises:
        MusterError: configuration or database that cannot be used.
    """
    app = App(settings)
    try:
        if background:
            app.dispatcher.start()
        yield app
    finally:
        app.close()


def config_hash(settings: Settings, pool: Pool) -> str:
    """Identity of what answers depend on: the pool and the compositions, not ports or paths."""
    muster = settings.muster.model_dump(mode="json", include={"skills", "compositions", "embedder", "seed"})
    return content_hash([pool.fingerprint, muster])


def get_backend_name(name: str) -> str:
    get_backend(name)
    return name


def _check_references(settings: Settings, pool: Pool) -> None:
    """Names that the file refers to must exist; found at start, not at the first question."""
    annotator = settings.muster.skills.annotator_expert
    if settings.muster.skills.annotator == "llm" and annotator not in pool.by_id:
        raise ConfigError(
            f"muster.skills.annotator_expert '{annotator}' is not in the pool.",
            file=settings.source,
            remedy=f"Name one of: {', '.join(pool.by_id)}.",
        )
    for engine in pool.engines.values():
        get_backend(engine.backend)
    _check_names(settings, pool)
    _check_allowed(settings, pool)
    synthesized = [
        name for name, spec in settings.muster.compositions.items() if spec.aggregator == SYNTHESIZE
    ]
    if synthesized and not pool.aggregators:
        raise ConfigError(
            f"composition '{synthesized[0]}' synthesizes, but no member has the role 'aggregator'.",
            file=settings.source,
            remedy="Add `roles: [expert, aggregator]` to a member's model_info.muster.",
        )


def _check_names(settings: Settings, pool: Pool) -> None:
    """`model` of a request names a composition before an expert."""
    taken = {*STOCK_COMPOSITIONS, *settings.muster.compositions}
    hidden = next((expert.id for expert in pool.experts if expert.id in taken), None)
    if hidden is not None:
        raise ConfigError(
            f"expert '{hidden}' has the name of a composition and could not be asked by it.",
            file=settings.source,
            param="model_name",
            remedy="Give it another model_name.",
        )


def _check_allowed(settings: Settings, pool: Pool) -> None:
    answerers = [expert.id for expert in pool.answerers]
    for name, spec in settings.muster.compositions.items():
        unknown = sorted(set(spec.experts or ()).difference(answerers))
        if unknown:
            raise ConfigError(
                f"muster.compositions.{name}.experts: '{unknown[0]}' is no expert of the pool.",
                file=settings.source,
                param=f"muster.compositions.{name}.experts",
                remedy=f"Name some of: {', '.join(answerers)}.",
            )
