"""The composition root: settings in, a wired `App` out. The one module that names concrete classes."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from aggregators.outputs import AGGREGATORS
from aggregators.outputs.votes import settled_words
from orchestrator.bootstrap.annotators import make_annotator
from orchestrator.domain.assignments import Job
from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.feedback import Drift
from orchestrator.domain.queries import Query
from orchestrator.errors import ConfigError, InputError, MusterError, NotProfiledError, UnknownNameError
from orchestrator.evaluation.bench import Bench, BenchReport, OnBench
from orchestrator.evaluation.swiss import Standing, swiss_standings
from orchestrator.pool import build_pool, engine_access
from orchestrator.ports.dispatch import Piece
from orchestrator.ports.skills import Grader, SkillAnnotator, SkillMatcher
from orchestrator.services.conditions import EngineWatch
from orchestrator.services.feedback import FeedbackDesk
from orchestrator.services.service import OnProgress, Service
from orchestrator.settings.schema import Settings
from orchestrator.store import SqlCardStore, SqlFeedbackStore, SqlJobStore, open_database
from skills.embedding import embedder_of
from skills.grading.grader import AnswerGrader
from skills.matcher import EmbeddingMatcher
from skills.profiler import Profiler, ProfileReport
from skills.vector_file import FileBackedEmbedder
from workers.backends.registry import REMOTE_BACKENDS, get_backend
from workers.checkpoints.identity import weights_hash
from workers.dispatch.local import LocalDispatcher
from workers.leases.owners import loop_of

if TYPE_CHECKING:
    from workers.dispatch.stack import StackDispatcher
    from workers.stack.news import News
from orchestrator.bootstrap.checks import (
    DISPENSABLE,
    Diagnosis,
    _check_references,
    config_hash,
    get_backend_name,
)
from orchestrator.compositions.catalogue import Catalogue, Knowledge

log = logging.getLogger(__name__)


class App:
    """Everything wired. Heavy parts (embedder, engines) are made when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pool = build_pool(settings, weights_hash=weights_hash, remote=REMOTE_BACKENDS)
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
            aggregators=AGGREGATORS,
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
            work=self.jobs,
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
            stores=self.jobs.device_stores,
            backends=partial(get_backend, access=engine_access(self.settings, self.pool)),
            pool=self.pool,
            compositions=self.catalogue.build,
            later_engines=self.catalogue.later_engines,
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
            from workers.dispatch.stack import StackDispatcher
            from workers.stack.bells import Bells
            from workers.stack.celery_app import make_celery
        except ImportError as error:
            raise ConfigError(
                f"muster.broker_url is set, but a library of the stack is missing: {error}.",
                param="muster.broker_url",
                remedy="Run `pip install 'muster[stack]'`, or unset it to run in one process.",
            ) from error
        bells = Bells(make_celery(self.settings))
        return StackDispatcher(jobs=self.jobs, work=self.jobs, bells=bells, news=self.news)

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
        from workers.stack.celery_app import check_broker

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
