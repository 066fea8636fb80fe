"""A scripted App: the real services over a job store, a dispatcher and a catalogue that do as told."""

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.bootstrap.checks import Health
from orchestrator.compositions.ensemble import Ensemble
from orchestrator.compositions.reading import SkillReader
from orchestrator.domain.answers import Answer, Decision, Recruit, Usage, Vote
from orchestrator.domain.assignments import (
    Ask,
    Done,
    EngineBacklog,
    Job,
    JobProgress,
    JobState,
    LoadPlan,
    QueryState,
    Response,
)
from orchestrator.domain.cards import CompetenceCard, FloatMatrix, Tally
from orchestrator.domain.devices import DeviceReport, EngineLoad, Rate
from orchestrator.domain.diagnoses import Diagnosis
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.domain.feedback import Drift, Feedback
from orchestrator.domain.keyed import KeyedRequest, Reply, RequestKey
from orchestrator.domain.pauses import ExpertPause
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.domain.stages import CallProgress
from orchestrator.errors import MusterError, NotFoundError, StoppingError
from orchestrator.ports.composing import Composition, RoutingInput
from orchestrator.ports.dispatch import Piece, Told
from orchestrator.ports.jobs import AnsweredQuery
from orchestrator.ports.telemetry import NO_TRACER
from orchestrator.runtime.rates import LocalRates
from orchestrator.services.asking import Asking
from orchestrator.services.engines import EngineBoard
from orchestrator.services.experts import Experts
from orchestrator.services.jobs import Jobs
from orchestrator.services.keys import Keys
from orchestrator.services.pauses import PauseDesk
from orchestrator.services.rates import Rates
from orchestrator.services.stages import Stages
from orchestrator.services.submitting import Submitter
from orchestrator.settings.members import LitellmParams, Member
from orchestrator.settings.schema import MusterSettings, ServerSettings, Settings
from tests.fakes.keys import FakeKeyStore


def make_expert(expert_id: str) -> Expert:
    return Expert(id=expert_id, engine=EngineSpec(id=f"{expert_id}-engine", backend="scripted", model="/w"))


def make_card(expert_id: str) -> CompetenceCard:
    """7 right, 2 wrong, 1 abstained: accuracy 0.7."""
    tally = Tally(n_right=7, n_wrong=2, n_abstain=1)
    return CompetenceCard(
        expert_id=expert_id,
        fingerprint="f",
        profile_hash="p",
        outcomes_hash="o",
        total=tally,
        skills={"algebra": tally},
    )


DECISION = Decision(
    router="fake",
    recruits=(
        Recruit(expert_id="org/alpha", weight=0.75, score=3.0, accuracy=0.9),
        Recruit(expert_id="beta", weight=0.25, score=1.0, accuracy=0.6),
    ),
    skills=(SkillTag(name="algebra", weight=0.5),),
    would_change="one more right answer",
)

ANSWER = Answer(
    text="The answer is (B).",
    value="B",
    confidence=0.8,
    aggregator="weighted",
    votes=(
        Vote(expert_id="org/alpha", value="B", weight=0.75),
        Vote(expert_id="beta", value=None, weight=0.25, abstained_because="unread"),
    ),
    decision=DECISION,
    usage_by_role={
        "expert": Usage(prompt_tokens=20, completion_tokens=6),
        "aggregate": Usage(prompt_tokens=5, completion_tokens=1),
    },
    n_calls=3,
)


@dataclass
class FakeJobs:
    """Remembers what was submitted; `answers_with` is every question's answer, None = never.

    `before` are what looks for an answer come to before: nothing, or an error.
    """

    answers_with: Answer | None = ANSWER
    submitted: list[tuple[Job, tuple[Query, ...]]] = field(default_factory=list)
    states: dict[str, JobState] = field(default_factory=dict)
    fails_with: MusterError | Exception | None = None
    state: JobState = JobState.DONE
    before: list[Exception | None] = field(default_factory=list)

    def submit(self, job: Job, queries: Iterable[Query]) -> int:
        if self.fails_with is not None:
            raise self.fails_with
        self.submitted.append((job, tuple(queries)))
        return len(self.submitted[-1][1])

    def answer(self, job_id: str) -> Answer | None:
        if not self.before:
            return self.answers_with
        outcome = self.before.pop(0)
        if outcome is not None:
            raise outcome
        return None

    def answers(self, job_id: str) -> Iterator[AnsweredQuery]:
        [queries] = [queries for job, queries in self.submitted if job.id == job_id]
        if self.answers_with is not None:
            yield from (AnsweredQuery(query, self.answers_with) for query in queries)

    def call_progress(self, job_id: str) -> list[CallProgress]:
        return []

    def cancel(self, job_id: str) -> None:
        self.states[job_id] = JobState.CANCELLED

    def job(self, job_id: str) -> JobProgress:
        for job, queries in self.submitted:
            if job.id == job_id:
                return JobProgress(job=job, state=self.state, total=len(queries), completed=0, failed=0)
        raise NotFoundError(f"no job '{job_id}'.")

    def backlog(self, *, owner: str) -> list[EngineBacklog]:
        """An engine of 10 assignments that wait, 1000 tokens in all, while jobs run."""
        waiting = EngineBacklog(engine_id="beta-engine", n_waiting=10, est_tokens=1000)
        return [waiting] if self.state is JobState.RUNNING else []

    def devices(self, max_age_s: float) -> list[DeviceReport]:
        return []

    def faults(self, max_age_s: float) -> list[DeviceReport]:
        return []

    def engines_of(self, job_id: str) -> frozenset[str]:
        return frozenset({"beta-engine"})

    def engine_loads(self, *, job_id: str) -> list[EngineLoad]:
        return []

    def rates(self) -> dict[tuple[str, str], Rate]:
        return {("beta-engine", "cpu"): Rate(load_s=4.0, tokens_per_s=100.0)}


@dataclass
class FakeDispatcher:
    """Returns at once, or holds every question until `gate` opens; `entered` counts who waits.

    Who listens hears `told`, and nothing more while the gate is shut; `n_listening` counts them.
    Its plan visits the engines of the later stages, a second each. `n_turns` are left of all that it gives;
    `stops`: who waits is let go without the end.
    """

    gate: threading.Event | None = None
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    told: Sequence[Sequence[tuple[str, int, str]]] = ()
    n_listening: int = 0
    n_turns: int = 1_000
    stops: bool = False

    def notify(self) -> None:
        pass

    @contextmanager
    def expect(self, job_id: str, *, timeout_s: float) -> Iterator[Iterator[None]]:
        yield self._turns(job_id, timeout_s=timeout_s)

    def _turns(self, job_id: str, *, timeout_s: float) -> Iterator[None]:
        self.wait(job_id, timeout_s=timeout_s)
        while self.n_turns and not self.stops:
            self.n_turns -= 1
            yield
        self._require_end()

    def wait(self, job_id: str, *, timeout_s: float) -> None:
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(30), "the test never opened the gate"

    @contextmanager
    def listen(self, job_id: str, *, timeout_s: float) -> Iterator[Iterator[Sequence[Told]]]:
        self.n_listening += 1
        try:
            yield self._hear(job_id)
        finally:
            self.n_listening -= 1

    def _hear(self, job_id: str) -> Iterator[Sequence[Told]]:
        self.entered.release()
        for pieces in self.told:
            yield [Piece(job_id, *piece) for piece in pieces]
        while self.gate is not None and not self.gate.wait(0.01):
            yield ()
        self._require_end()

    def _require_end(self) -> None:
        if self.stops:
            raise StoppingError("the server stops.")

    def dismiss(self) -> None:
        pass

    def plan(self, *, later: frozenset[str]) -> LoadPlan:
        return LoadPlan(tuple(sorted(later)), len(later), *(float(len(later)) for _ in range(3)))


class FakeAnnotator:
    def calls(self, query: Query) -> Ask | None:
        return None

    def annotate(
        self,
        queries: Sequence[Query],
        responses: Sequence[Sequence[Response]],
        *,
        vectors: FloatMatrix | None = None,
    ) -> list[tuple[SkillTag, ...]]:
        return [() for _ in queries]


class FakeRouter:
    name = "fake"
    reads_text = True

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        return [DECISION for _ in batch]


class FakeAggregator:
    name = "fake"

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        return Done(answer=ANSWER)


@dataclass
class FakeCatalogue:
    pool: Pool
    names: tuple[str, ...] = ("auto", "knn", "org/mix")

    def build(self, job: Job) -> Composition:
        return Ensemble(
            job.composition,
            pool=self.pool,
            reader=SkillReader(FakeAnnotator(), None, None),
            router=FakeRouter(),
            aggregator=FakeAggregator(),
            job=job,
        )

    def later_engines(self, job: Job) -> tuple[str, ...]:
        return ("later",) if job.composition == "org/mix" else ()


@dataclass
class FakeFeedback:
    """Every judgement counts for `org/alpha`; `judged` remembers them."""

    judged: list[tuple[str, str | None, float, str]] = field(default_factory=list)

    def judge(self, job_id: str, query_id: str | None, *, score: float, key: str = "") -> Feedback:
        self.judged.append((job_id, query_id, score, key))
        said = {"org/alpha": Tally(n_right=score, n_wrong=1 - score)}
        return Feedback(job_id=job_id, query_id=query_id or "q", key=key, score=score, day=0, experts=said)


class FakeExperts(Experts):
    """Knows these cards; `drifting` contradicts them."""

    def __init__(self, pool: Pool, cards: Mapping[str, CompetenceCard]) -> None:
        self.lineages = {}
        self.pool = pool
        self.drifting: list[Drift] = []
        self._known = cards

    def cards(self) -> Mapping[str, CompetenceCard]:
        return self._known

    def drifts(self) -> list[Drift]:
        return self.drifting

    def stored_at(self) -> Mapping[str, float]:
        return {}


class FakeChecks(NamedTuple):
    diagnose: Callable[[], list[Diagnosis]]
    engines: EngineBoard

    def health(self, *, within_s: float | None = None) -> Health:
        return Health(self.diagnose(), self.engines.look("").unwell)


@dataclass
class FakeKeyed:
    """Keyed requests in memory: `ports.KeyedRequests` for one thread at a time."""

    known: dict[RequestKey, KeyedRequest] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, key: RequestKey, *, unique: str, fingerprint: str) -> KeyedRequest:
        new = KeyedRequest(unique=unique, fingerprint=fingerprint, created_at=1.0)
        with self.lock:
            return self.known.setdefault(key, new)

    def finish(self, key: RequestKey, *, unique: str, reply: Reply) -> Reply:
        with self.lock:
            kept = self.known[key].reply or reply
            self.known[key] = self.known[key].replaced(reply=kept)
        return kept

    def abandon(self, key: RequestKey, *, unique: str) -> None:
        with self.lock:
            del self.known[key]


class FakeClerk:
    """Has nothing to do."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class NoPauses:
    """Nobody is paused."""

    def pauses(self) -> list[ExpertPause]:
        return []

    def pause(self, expert_id: str, *, reason: str) -> None:
        raise AssertionError("nobody asks for it")

    def resume(self, expert_id: str) -> bool:
        return False


class FakeApp:
    """Two experts, `org/alpha` (profiled) and `beta` (not)."""

    tracer = NO_TRACER
    pauses = PauseDesk(NoPauses(), pool=lambda: Pool(experts=()))

    def __init__(
        self,
        *,
        answer: Answer | None = ANSWER,
        server: ServerSettings | None = None,
        gate: threading.Event | None = None,
        told: Sequence[Sequence[tuple[str, int, str]]] = (),
        fails_with: Exception | None = None,
        routes_here: bool = True,
        diagnose: Callable[[], list[Diagnosis]] = lambda: [Diagnosis("database", True, "0 jobs")],
    ) -> None:
        self.pool = Pool(experts=(make_expert("org/alpha"), make_expert("beta")))
        self.settings = Settings(
            model_list=(Member(model_name="beta", litellm_params=LitellmParams(model="/w")),),
            muster=MusterSettings(server=server or ServerSettings()),
        )
        self.store = FakeJobs(answers_with=answer, fails_with=fails_with)
        self.keyed = FakeKeyed()
        self.dispatcher = FakeDispatcher(gate=gate, told=told)
        self.feedback = FakeFeedback()
        self.keys = Keys(FakeKeyStore(), experts=self.pool.by_id)
        self.rates = Rates(LocalRates())
        self.experts = FakeExperts(self.pool, {"org/alpha": make_card("org/alpha")})
        self.engines = EngineBoard(self.store, engine_ids=self.pool.engines, loop_of=str)
        self.checks = FakeChecks(diagnose, self.engines)
        self.clerk = lambda forms: FakeClerk()
        catalogue = FakeCatalogue(self.pool)
        submitter = Submitter(
            pool=self.pool,
            compositions=lambda: catalogue.names,
            store=self.store,
            dispatcher=self.dispatcher,
        )
        self.stages = Stages(self.store)
        self.asking = Asking(
            submitter=submitter,
            store=self.store,
            dispatcher=self.dispatcher,
            compositions=catalogue.build,
            routes_here=routes_here,
            on_answered=lambda job, answer: self.rates.answered(job.owner, answer),
        )
        self.jobs = Jobs(
            submitter=submitter,
            store=self.store,
            work=self.store,
            dispatcher=self.dispatcher,
            later_engines=catalogue.later_engines,
            measured=self.experts.cards,
            engines=self.engines,
            engines_of=self.store.engines_of,
        )
