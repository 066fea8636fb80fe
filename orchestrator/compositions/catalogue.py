"""The catalogue: compositions by name, built from the cards of the moment."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from orchestrator.compositions.dry_run import DryRun
from orchestrator.compositions.ensemble import Ensemble
from orchestrator.compositions.floors import floor_of, not_measured
from orchestrator.compositions.graded import open_knowledge, open_settings
from orchestrator.compositions.grading import GRADING, REGRADING, GradingRound
from orchestrator.compositions.inferring import AS_OPEN, AS_TEXT, Inferring, TypeReader
from orchestrator.compositions.knowledge import NOTHING, Knowledge
from orchestrator.compositions.mixing import MixedMembers, Mixing, mixed_names, no_members
from orchestrator.compositions.reading import SkillReader
from orchestrator.compositions.roll_call import ANNOTATE, EXAM, ROLL_CALL, AnnotationRound, RollCall
from orchestrator.compositions.shots import Shots
from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.compositions.typed import OpenAnswers, Routing, Typed, Unmeasured
from orchestrator.compositions.voting import AggregatorContext, AggregatorRow, quotes_one
from orchestrator.compositions.waves import pace_of
from orchestrator.domain.assignments import CallRole, Job
from orchestrator.domain.cards import CompetenceCard, Profile, deck_hash, measured_version
from orchestrator.domain.devices import Conditions
from orchestrator.domain.experts import Pool
from orchestrator.domain.names import AUTO, EXPERT_PREFIX, ROUTE_PREFIX
from orchestrator.domain.terms import Shape
from orchestrator.errors import MusterError, NotProfiledError, UnknownNameError
from orchestrator.ports.clock import Clock
from orchestrator.ports.composing import Aggregator, Composition, Pace, Router
from orchestrator.ports.memory import MemoryReader
from orchestrator.ports.sessions import SessionReader
from orchestrator.ports.skills import Embedder, Grader, SkillAnnotator, SkillMatcher
from orchestrator.ports.telemetry import StageWatch, unwatched
from orchestrator.routing import RouterContext, make_router
from orchestrator.settings.schema import CompositionSettings, Settings

REFRESH_S = 5.0
FEEDBACK_S = 60.0
"""Feedback reaches routing this often: all of it is read, and every composition fitted anew."""
UNPROFILED = "skills"
ONLY = CompositionSettings(router="all", aggregator="first")


NOBODY: Mapping[str, str] = MappingProxyType({})

MOST_KEPT = 4096
"""Compositions whose parts are kept; more than any configuration has."""
MOST_SHAPED = 32
"""Of these, such as requests gave another router or number of recruits: there is no end to them."""


class Parts(NamedTuple):
    """Parts of a composition: chosen and fitted once, whatever its jobs ask for.

    Attributes:
        reader: None where the router reads no text.
        temperature: of the recruits' sampling, unless a job sets its own; None = each expert's.
        quoting: gives one expert's words, where a question may be asked of one only.
        shots: chooses the solved questions that experts are shown; None = they are shown none.
        note: what every answer says, of parts that stand in for others; None = nothing.
        floor: confidence of votes below which the best recruit answers.
    """

    reader: SkillReader | None
    router: Router
    aggregator: Aggregator
    quotes: bool
    waves: Pace | None
    temperature: float | None
    abstain_below: float | None
    quoting: Aggregator | None = None
    shots: Shots | None = None
    note: str | None = None
    floor: float = 0.0


class Asked(NamedTuple):
    """Key that parts are kept under."""

    shape: Shape
    is_open: bool = False


class Catalogue:
    """Builds compositions by name from the cards of the moment. For any number of threads."""

    def __init__(
        self,
        settings: Settings,
        *,
        pool: Pool,
        aggregators: Mapping[str, AggregatorRow],
        grader: Grader,
        embedder: Callable[[], Embedder],
        annotator: Callable[[Knowledge], SkillAnnotator],
        matcher: Callable[[Knowledge], SkillMatcher | None],
        cards: Callable[[], Mapping[str, CompetenceCard]],
        knowledge: Callable[[], Knowledge],
        measured: Callable[[], Mapping[str, CompetenceCard]] | None = None,
        conditions: Callable[[], Conditions] = Conditions,
        sessions: SessionReader | None = None,
        memory: MemoryReader | None = None,
        clock: Clock = time.monotonic,
        seed: int | None = None,
        members: MixedMembers = no_members,
        watch: StageWatch = unwatched,
    ) -> None:
        """
        Args:
            aggregators: the table of aggregators.
            members: of fusions, whose strengths a question may set.
            seed: of what is fitted once; None = the settings'. What is drawn for a query has its job's.
            measured: the cards without feedback; None = `cards` hold none.
            conditions: the engines at the moment.
            watch: times the stages of questions.
            sessions: turns of conversations; None = none is looked at.
            memory: answered questions, for shots; None = nothing is remembered.
        """
        self._watch = watch
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
        self._sessions = sessions
        self._memory = memory
        self._clock = clock
        self._seed = settings.muster.seed if seed is None else seed
        self._checked_at = clock()
        self._fed_at = -math.inf
        self._lock = threading.RLock()
        self._aggregators = aggregators
        self._members = members
        self.forget()

    def forget(self) -> None:
        """Look at the pool, cards and profile anew at the next use: they changed."""
        with self._lock:
            self._specs = {**self._stock(), **self._settings.muster.compositions}
            self._knowledge: Knowledge | None = None
            self._of_open: Knowledge | None = None
            self._reader: SkillReader | None = None
            self._types = TypeReader(lambda: self.knowledge.profile, self._embedder)
            self._kept: OrderedDict[Asked, Parts] = OrderedDict()
            self._shaped: OrderedDict[Asked, Parts] = OrderedDict()
            self._rounds: AnnotationRound | None = None

    @property
    def names(self) -> Sequence[str]:
        """Names of compositions: the stock ones that this pool can run, and those of the settings."""
        return tuple(self._specs)

    @property
    def n_kept(self) -> int:
        """Compositions whose parts are in memory."""
        return len(self._kept) + len(self._shaped)

    def refresh(self) -> None:
        """Follow what was profiled and judged since, by any process; looks every `REFRESH_S`."""
        with self._lock:
            known, now = self._knowledge, self._clock()
            if now < self._checked_at + REFRESH_S:
                return
            self._checked_at = now
            if known is None:
                self._drop_parts()  # of what needs no profile
            elif measured_version(self._load_measured()) != measured_version(known.cards):
                self.forget()
            elif now >= self._fed_at + FEEDBACK_S:
                self._fed_at = now
                self._follow_feedback(known)

    def _follow_feedback(self, known: Knowledge) -> None:
        cards = self._load_cards()
        if deck_hash(cards) != deck_hash(known.cards):
            self._knowledge = known._replace(cards=cards)
            self._drop_parts()

    def _drop_parts(self) -> None:
        self._of_open = None
        self._kept.clear()
        self._shaped.clear()

    @property
    def cards(self) -> Mapping[str, CompetenceCard]:
        """Cards as they are now, for people; what routes are those of `knowledge`. Needs no embedder."""
        return self._load_cards()

    @property
    def knowledge(self) -> Knowledge:
        """Knowledge that compositions are built from: read when first needed, and kept until `forget`."""
        with self._lock:
            if self._knowledge is None:
                self._knowledge = self._load_knowledge()
            return self._knowledge

    def build(self, job: Job) -> Composition:
        """The composition of a job. Jobs of one composition share its parts; what a job asks of its calls
        (seed, temperature, longest response) is not kept.

        Raises:
            UnknownNameError: no such composition.
            ConfigError: options that its router or aggregator refuses.
        """
        self.refresh()
        with self._lock:
            return self._make(job)

    def _make(self, job: Job) -> Composition:
        name = job.composition
        if name in (ROLL_CALL, EXAM):
            role = CallRole.AGGREGATE if name == EXAM else CallRole.EXPERT
            return RollCall(name, pool=self._pool.now, job=job, role=role)
        if name in (GRADING, REGRADING):
            return GradingRound(name, pool=self._pool.now, job=job)
        if name == ANNOTATE:
            self._rounds = self._rounds or AnnotationRound(self._annotator(NOTHING))
            return self._rounds
        if name.startswith(ROUTE_PREFIX):
            return DryRun(name, self._make(job.replaced(composition=name.removeprefix(ROUTE_PREFIX))))
        shape = Shape(name, job.router, job.k)
        typed = Typed(self._exact_answers(job, shape), partial(self._open_answers, job, shape), job=job)
        infers = self._settings.muster.infer_types
        return Inferring(
            typed,
            job=job,
            types=self._types if infers and self._votes(name) else None,
            grader=self._grader,
            otherwise=AS_OPEN if infers else AS_TEXT,
        )

    def _votes(self, name: str) -> bool:
        """True if more than one expert's words may count: only then does the type of a question matter that
        says none, and is a text embedded for it. Who routes by grades answers open questions."""
        spec = self._specs.get(name)
        return spec is not None and spec.router != "graded" and not self._aggregator_row(spec).quotes_one

    def _exact_answers(self, job: Job, shape: Shape) -> Routing:
        """The composition of questions with exact answers. Where it needs a profile of such, and the pool was
        only graded, open questions can still be answered."""
        try:
            parts = self._parts(Asked(shape))
            return self._ensemble(job, parts, note=parts.note)
        except NotProfiledError as error:
            if self.knowledge.profile is None or self.knowledge.profile.open is None:
                raise
            return Unmeasured(job.composition, error)

    def _open_answers(self, job: Job, shape: Shape) -> OpenAnswers:
        """The composition of the open questions of a job, made when the first of them comes."""
        with self._lock:
            parts = self._parts(Asked(shape, is_open=True))
            is_one = (shape.composition or AUTO).startswith(EXPERT_PREFIX)
            cards = self._load_cards() if is_one else self._graded.cards
            return OpenAnswers(self._ensemble(job, parts), cards, parts.note)

    def _ensemble(self, job: Job, parts: Parts, *, note: str | None = None) -> Ensemble:
        if job.temperature is None and parts.temperature is not None:
            job = job.model_copy(update={"temperature": parts.temperature})
        return Ensemble(
            job.composition,
            pool=self._pool.now,
            reader=parts.reader,
            router=parts.router,
            aggregator=parts.aggregator,
            job=job,
            quotes=parts.quotes,
            waves=parts.waves,
            abstain_below=parts.abstain_below,
            quoting=parts.quoting,
            watch=self._watch,
            kept=partial(self._last_experts, job.owner),
            shots=parts.shots,
            floor=parts.floor,
            note=note,
        )

    def _last_experts(self, owner: str, session: str) -> tuple[str, ...]:
        """Experts of the last turn of a session, in the order in which they were asked."""
        last = None if self._sessions is None else self._sessions.last_decision(owner, session)
        return () if last is None else tuple(dict.fromkeys(last.expert_ids))

    def _parts(self, asked: Asked) -> Parts:
        is_shaped = asked.shape != Shape(asked.shape.composition)
        kept, most = (self._shaped, MOST_SHAPED) if is_shaped else (self._kept, MOST_KEPT)
        if asked in kept:
            kept.move_to_end(asked)
            return kept[asked]
        made = kept[asked] = self._fit(asked)
        if len(kept) > most:
            kept.popitem(last=False)
        return made

    @property
    def _graded(self) -> Knowledge:
        """What is known of answers to open questions."""
        if self._of_open is None:
            self._of_open = open_knowledge(self.knowledge)
        return self._of_open

    def _fit(self, asked: Asked) -> Parts:
        name = asked.shape.composition or AUTO
        if name.startswith(EXPERT_PREFIX):
            # Nothing is chosen or voted on: no profile is read, and no text is embedded.
            only = name.removeprefix(EXPERT_PREFIX)
            return self._fitted(ONLY, expert_ids=(only,), known=Knowledge(self._load_cards(), None))
        if name not in self._specs:
            raise UnknownNameError("composition", name, self._specs, param="composition")
        spec = self._specs[name]
        if asked.is_open:
            return self._fit_open(name, reshaped(spec, asked.shape))
        if spec is STOCK_COMPOSITIONS[AUTO] and self.knowledge.exact is None:
            # A pool that was never measured still answers, and says so.
            shaped = reshaped(STOCK_COMPOSITIONS[UNPROFILED], asked.shape)
            note = not_measured(self.knowledge.cards.values())
            return self._chosen(name, shaped, self.knowledge)._replace(note=note)
        known = self.knowledge
        return self._chosen(name, reshaped(spec, asked.shape), known._replace(profile=known.exact))

    def _fit_open(self, name: str, spec: CompositionSettings) -> Parts:
        changed = open_settings(name, spec, reads_prose=self._aggregator_row(spec).reads_prose)
        return self._chosen(name, changed.spec, self._graded)._replace(note=changed.note)

    def _chosen(self, name: str, spec: CompositionSettings, known: Knowledge) -> Parts:
        """The parts of a composition that chooses among the members that it may ask."""
        answerers = [e.id for e in self._pool.answerers]
        allowed = tuple(e for e in answerers if spec.experts is None or e in spec.experts)
        if spec.mixture is None:
            return self._fitted(spec, expert_ids=allowed, known=known)
        mixed = mixed_names(self._pool, spec.mixture, composition=name, members=self._members)
        return self._fitted(
            spec, expert_ids=tuple(e for e in allowed if e in mixed), known=known, mixed=mixed
        )

    def _fitted(
        self,
        spec: CompositionSettings,
        *,
        expert_ids: tuple[str, ...],
        known: Knowledge,
        mixed: Mapping[str, str] = NOBODY,
    ) -> Parts:
        """
        Args:
            known: of the kind of questions that the parts answer.
        """
        cards, profile = known
        pool = self._pool.now
        routing = RouterContext(
            cards=cards,
            profile=profile,
            expert_ids=expert_ids,
            seed=self._seed,
            experts=pool.known,
            conditions=self._conditions,
            within=self._settings.muster.sessions.within,
        )
        voting = AggregatorContext(
            grader=self._grader,
            pool=pool,
            cards=cards,
            profile=profile,
            seed=self._seed,
            embedder=self._embedder,
        )
        row = self._aggregator_row(spec)
        aggregator = row.make(voting, spec.aggregator_options)
        router = make_router(spec.router, routing, spec.router_options)
        if spec.mixture is not None:
            router = Mixing(router, pool.known[spec.mixture], mixed)
        return Parts(
            reader=self._skill_reader() if router.reads_text else None,
            router=router,
            aggregator=aggregator,
            quotes=quotes_one(row, aggregator) and spec.waves is None and spec.abstain_below is None,
            waves=pace_of(aggregator, spec.waves),
            temperature=spec.temperature,
            abstain_below=spec.abstain_below,
            floor=floor_of(profile) if spec.answer_floor is None else spec.answer_floor,
            quoting=self._quoting(voting),
            shots=self._shots(spec, profile),
        )

    def _shots(self, spec: CompositionSettings, profile: Profile | None) -> Shots | None:
        if spec.shots is None:
            return None
        return Shots(spec.shots, embedder=self._embedder, profile=profile, memory=self._memory)

    def later_engines(self, job: Job) -> tuple[str, ...]:
        """Engines that a later stage of a job may need (`ports.LaterEngines`): a function of its settings.
        A job whose composition cannot be built has none; its queries fail when they are stepped."""
        specs = [self._specs.get(name) for name in (job.composition, *job.compositions)]
        if not any(spec is not None and self._asks_model(spec) for spec in specs):
            return ()
        return tuple(dict.fromkeys(e.engine.id for e in self._pool.aggregators))

    def _asks_model(self, spec: CompositionSettings) -> bool:
        """False where there is no such aggregator, or its package is broken."""
        try:
            return self._aggregator_row(spec).asks(spec.aggregator_options)
        except MusterError:
            return False

    def _stock(self) -> dict[str, CompositionSettings]:
        """The stock compositions that the pool can run: nobody synthesizes where no member has the role."""
        return {
            name: spec
            for name, spec in STOCK_COMPOSITIONS.items()
            if self._pool.aggregators or not self._asks_model(spec)
        }

    def _quoting(self, voting: AggregatorContext) -> Aggregator | None:
        row = self._aggregators.get(ONLY.aggregator)
        return None if row is None else row.make(voting, {})

    def _aggregator_row(self, spec: CompositionSettings) -> AggregatorRow:
        if spec.aggregator not in self._aggregators:
            raise UnknownNameError("aggregator", spec.aggregator, self._aggregators, param="aggregator")
        return self._aggregators[spec.aggregator]

    def _skill_reader(self) -> SkillReader:
        if self._reader is None:
            known = self.knowledge
            self._reader = SkillReader(self._annotator(known), self._matcher(known), self._embedder())
        return self._reader


def reshaped(spec: CompositionSettings, shape: Shape) -> CompositionSettings:
    """The settings with another router, which has none of the old one's options, or another number of
    recruits."""
    changes: dict[str, object] = {}
    if shape.router is not None and shape.router != spec.router:
        changes = {"router": shape.router, "router_options": {}}
    if shape.k is not None:
        options = changes.get("router_options", spec.router_options)
        assert isinstance(options, dict)
        changes["router_options"] = {**options, "k": shape.k}
    return spec.model_copy(update=changes)
