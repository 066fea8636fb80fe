"""What the kernel needs from the outside, as Protocols. Plug-ins implement them; the root wires them.

Shapes: Q queries, E experts, D embedding width.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, runtime_checkable

from orchestrator.domain.answers import Answer, Decision, FinishReason, Usage
from orchestrator.domain.assignments import (
    BATCH,
    Ask,
    Assignment,
    Done,
    EngineBacklog,
    Job,
    JobProgress,
    JobState,
    LoadPlan,
    QueryState,
    Response,
    Sampling,
    Step,
)
from orchestrator.domain.cards import CompetenceCard, FloatMatrix
from orchestrator.domain.devices import DeviceReport, EngineLoad, Rate
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.feedback import Feedback, FeedbackCount
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.skills import SkillTag


class Clock(Protocol):
    """Seconds, monotonic; tests and the simulator pass their own."""

    def __call__(self) -> float: ...


# ── backends ──────────────────────────────────────────────────────────────────────────────────────


class GenerationRequest(NamedTuple):
    """One prompt for a loaded engine. `adapter` names a LoRA directory; None = base weights.

    `priority`: larger is admitted first. `id` is unique among the engine's unfinished requests.
    """

    id: str
    messages: tuple[Message, ...]
    sampling: Sampling
    adapter: str | None = None
    priority: int = 0


class Tokens(NamedTuple):
    """New text of an unfinished request (transient; for streaming)."""

    id: str
    text: str


class TokenLogprob(NamedTuple):
    """A token's text and log probability: natural logarithm, finite."""

    token: str
    logprob: float


class TokenLogprobs(NamedTuple):
    """An output token, and the likeliest ones in its place, likeliest first."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...]


class Finished(NamedTuple):
    """A request's full output. `finish_reason` LENGTH marks a truncated text; `logprobs` has an entry
    per token if `Sampling.logprobs` asks for them."""

    id: str
    text: str
    finish_reason: FinishReason
    usage: Usage
    logprobs: tuple[TokenLogprobs, ...] = ()


class Failed(NamedTuple):
    """A request that yields no text: bad prompt, context exceeded, abort. The engine lives on."""

    id: str
    error_code: str
    error: str


EngineEvent = Tokens | Finished | Failed


class Engine(Protocol):
    """Loaded base weights, driven by its own step loop; every method returns quickly but `poll`.

    A request accepted by `submit` ends in exactly one Finished or Failed. A prompt that does not fit the
    context fails with `context_exceeded`, as does a `max_tokens` that leaves no room for one; a smaller one
    that does not fit beside its prompt fails likewise, or is lowered by the engine's server. `poll` raises
    EngineCrashedError when the engine is gone; its unfinished requests are then lost.
    """

    def submit(self, request: GenerationRequest) -> None: ...

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        """Advance and return events; waits at most about `timeout_s` when nothing happens."""

    def abort(self, request_id: str) -> None:
        """Stop a request; it ends in Failed('aborted') unless it has finished already."""

    def close(self) -> None:
        """Free the device memory; idempotent."""


class Backend(Protocol):
    """Loads one kind of engine."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        """Load base weights and the LoRA directories that will be used over them.

        Raises:
            EngineLoadError: with the reason and the remedy.
        """


# ── skills ────────────────────────────────────────────────────────────────────────────────────────


class Embedder(Protocol):
    """Text to unit vectors; caches by content."""

    name: str

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        """float32 [len(texts), D], rows of unit length, in order."""


class SkillMatcher(Protocol):
    """Maps free skill names to the vocabulary the cards know (methods 1.2)."""

    def match(self, tags: Sequence[Sequence[SkillTag]]) -> list[tuple[SkillTag, ...]]:
        """Per query: known skills, heaviest first, duplicates merged; below the floor = left out."""


class SkillAnnotator(Protocol):
    """Queries to skills. One that needs a model asks for calls first (methods 1.1)."""

    def calls(self, query: Query) -> Ask | None:
        """Generations needed before `annotate`, or None."""

    def annotate(
        self, queries: Sequence[Query], responses: Sequence[Sequence[Response]]
    ) -> list[tuple[SkillTag, ...]]:
        """Skills per query, heaviest first; empty = unknown. `responses[i]` answer `calls(queries[i])`."""


class Outcome(NamedTuple):
    """How a response was graded: RIGHT, WRONG or ABSTAINED of `domain.cards`, with the reading."""

    outcome: int
    value: str | None
    reason: str | None = None


class Grader(Protocol):
    """Reads, compares and grades answers of every answer type. Never guesses: unreadable = None."""

    def read(self, query: Query, response: Response) -> str | None:
        """Canonical answer stated by a response (choice: the letter); None = abstention."""

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        """Whether two canonical answers say the same."""

    def grade(self, query: Query, response: Response) -> Outcome:
        """Grade against `query.answer`.

        Raises:
            SkillError: the query has no reference answer.
        """


# ── use cases ─────────────────────────────────────────────────────────────────────────────────────


class RoutingInput(NamedTuple):
    """What a router may look at: the text, its embedding, its matched skills. Never a label."""

    query: Query
    skills: tuple[SkillTag, ...]
    embedding: FloatMatrix  # float32 [D]


class Router(Protocol):
    """`reads_text`: whether decisions depend on what a query says. If not, its skills and embedding, which
    cost milliseconds, may be missing."""

    name: str
    reads_text: bool

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        """One decision per input, in order. The same rng state gives the same decisions.

        Raises:
            NoCapableExpertError: the pool is empty for these queries.
        """


class Aggregator(Protocol):
    name: str

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        """Combine the experts' responses, or ask a model to (its response is in `state.responses`
        with role AGGREGATE at the next step). `state.decision` is set. Order of responses does not
        matter; failed and unreadable ones are abstentions.
        """


class Outlook(NamedTuple):
    """Where the vote stands before anybody else is asked.

    Attributes:
        n_votes: readable responses.
        n_agree: votes for the leading answer.
        lead: summed weight of the leading answer, less that of its best rival or of an answer that nobody
            gave (0).
        confidence: probability that the leading answer is right, where the aggregator estimates one.
        next_weights: the weight that a vote of each reserve would have, in order; same unit as `lead`.
    """

    n_votes: int
    n_agree: int
    lead: float
    confidence: float | None
    next_weights: tuple[float, ...]


@runtime_checkable
class SequentialAggregator(Aggregator, Protocol):
    """An aggregator that can say where the vote stands: what asking in waves needs."""

    def outlook(self, state: QueryState, expert_responses: Sequence[Response]) -> Outlook:
        """`next_weights` are for `state.decision.reserves`. Order of responses does not matter."""


class Composition(Protocol):
    """How k experts become one answer, as pure resumable steps; never calls a backend itself."""

    name: str

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        """The next step of each query, in order: Ask for calls (all responses so far are in), or Done."""

    def later_engines(self) -> tuple[str, ...]:
        """Engines that a later stage may need: best visited last."""


CompositionFactory = Callable[[Job], Composition]
"""The composition that answers a job's queries; the same job always gets an equal one."""


class Piece(NamedTuple):
    """Text of an answer that is being written, told to whoever reads along; any piece may be lost.

    `writer` is unique to one run of one call: an attempt that starts over has another. `at`: how many
    characters of the answer come before, by the same writer.
    """

    job_id: str
    writer: str
    at: int
    text: str


class Dispatcher(Protocol):
    """Gets submitted jobs done: embedded, a loop of this process; in the stack, the workers."""

    def notify(self) -> None:
        """Say that work was put on the books. Returns at once and never fails: it only saves time."""

    def run(self, job_id: str, *, on_progress: Callable[[JobProgress], None] | None = None) -> JobProgress:
        """Block until every query of the job is answered or failed, or the job is cancelled."""

    def wait(self, job_id: str, *, timeout_s: float) -> JobProgress:
        """Block until the job ends or the time is up; others may do the work."""

    def listen(self, job_id: str, *, timeout_s: float) -> AbstractContextManager[Iterator[Sequence[Piece]]]:
        """Hear from now on what is told of a job's answer; `wait` as an iterator.

        The iterator is asked once the job is submitted. It ends when the job has ended or the time is up;
        while nothing is told it yields an empty sequence about every second.
        """

    def plan(self, *, later: frozenset[str]) -> LoadPlan:
        """Loads and seconds left of all waiting work, as far as this process knows the devices.

        Args:
            later: engines that a later stage will need.
        """

    def unload(self) -> None:
        """Free the devices of this process, so that a measurement starts with nothing resident."""


# ── stores ────────────────────────────────────────────────────────────────────────────────────────


class Claim(NamedTuple):
    """A shard under lease; `owner` and each assignment's `attempt` fence later writes."""

    owner: str
    assignments: tuple[Assignment, ...]


class Completion(NamedTuple):
    assignment_id: int
    attempt: int
    response: Response


class SweepReport(NamedTuple):
    """Assignments whose lease ran out, assignments given up, jobs past their deadline."""

    n_released: int = 0
    n_poisoned: int = 0
    n_expired: int = 0


class Bell(NamedTuple):
    """A row of the outbox: `job_id` was submitted and nobody was told yet."""

    id: int
    job_id: str


class AnsweredQuery(NamedTuple):
    query: Query
    answer: Answer


class QueryRecord(NamedTuple):
    """A query of a job as far as it got; `answer` None = not answered yet."""

    query: Query
    answer: Answer | None
    responses: tuple[Response, ...]


class JobStore(Protocol):
    """The database that owns the work. Times are database time; every method is one transaction.

    Rules: a claim is a lease (owner, expiry, attempt + 1); writes with an outdated attempt are
    ignored; a response per assignment and an answer per query are unique; a query advances only from
    the stage its step was computed for.
    """

    def submit(self, job: Job, queries: Iterable[Query]) -> int:
        """Store a job, its queries (streamed) and its bell, in one transaction; returns the number of
        queries. A job id that exists with equal content is a no-op."""

    def outbox(self, limit: int) -> list[Bell]:
        """Bells that nobody was seen to ring, oldest first. Ring, then `rung`: a bell may ring twice."""

    def rung(self, ids: Sequence[int]) -> None: ...

    def job(self, job_id: str) -> JobProgress: ...

    def jobs(self, *, limit: int = 100) -> list[JobProgress]: ...

    def set_state(self, job_id: str, state: JobState) -> None: ...

    def ready(self, *, limit: int, job_id: str | None = None) -> list[QueryState]:
        """Unfinished queries none of whose calls is outstanding: those of the highest priority only."""

    def take_ready(
        self, *, limit: int, for_s: float, job_id: str | None = None, min_priority: int = BATCH
    ) -> list[QueryState]:
        """Like `ready` of what nobody took, and nobody else is given these queries for `for_s` seconds or
        until `advance`. With `for_s` 0 nothing is marked: for a database that one process uses."""

    def is_routing(self) -> bool:
        """Whether queries wait for their first step."""

    def advance(self, steps: Sequence[tuple[QueryState, Step]], engine_of: Mapping[str, str]) -> int:
        """Store steps: Ask inserts assignments (`engine_of`: expert id to engine id) and moves the
        stage; Done stores the answer. Skips queries no longer at that stage; returns those applied."""

    def backlog(self, *, owner: str) -> list[EngineBacklog]: ...

    def claim(
        self, engine_id: str, *, owner: str, limit: int, lease_s: float, min_priority: int = 0
    ) -> Claim: ...

    def renew(self, owner: str, *, lease_s: float) -> int: ...

    def complete(self, owner: str, completions: Sequence[Completion]) -> int:
        """Store responses whose lease is still current; returns how many were accepted. Responses
        that already exist are counted as regenerated and ignored."""

    def release(self, owner: str, assignment_ids: Sequence[int], *, refund_attempt: bool) -> None:
        """Give assignments back unfinished."""

    def sweep(self, *, max_attempts: int) -> SweepReport:
        """Return expired leases to the queue; after `max_attempts` claims the assignment fails as poison.
        The open queries of a job past its deadline end as `batch_expired`."""

    def answers(self, job_id: str) -> Iterator[AnsweredQuery]:
        """Answered and failed queries in submission order, streamed."""

    def answer(self, job_id: str) -> Answer | None:
        """The answer of a job's first query: what an interactive ask waits for."""

    def query_record(self, job_id: str, query_id: str | None) -> QueryRecord:
        """One query of a job by its id; None = the only one.

        Raises:
            NotFoundError: no such job or query.
            InputError: None, and the job has several.
        """

    def responses(self, job_id: str) -> Iterator[tuple[Query, tuple[Response, ...]]]:
        """Queries with their responses, streamed in submission order."""

    def record_load(self, *, engine_id: str, device: str, owner: str, seconds: float) -> None: ...

    def record_leave(self, owner: str) -> None:
        """The engine that `owner` loaded last is no longer resident."""

    def loads(self, *, job_id: str | None = None) -> int: ...

    def engine_loads(self, *, job_id: str) -> list[EngineLoad]:
        """The loads that `loads` counts for a job, in the order they ended."""

    def report_device(self, report: DeviceReport) -> None:
        """A device is alive and serves this; replaces its owner's last report."""

    def touch_devices(self, owners: Sequence[str]) -> None:
        """These live: as if each repeated its last report. One that is forgotten stays so."""

    def devices(self, max_age_s: float) -> list[DeviceReport]:
        """Devices heard of in the last `max_age_s` seconds, by owner; failed loads are left out."""

    def failed_loads(self, max_age_s: float) -> list[DeviceReport]:
        """Loads that were reported as failed in the last `max_age_s` seconds, by owner."""

    def forget_device(self, owner: str) -> None: ...

    def announce(self, owner: str, engine_id: str, *, n_elsewhere: int) -> bool:
        """Report that `owner`'s device loads an engine, unless more than `n_elsewhere` other live devices
        have it by now: then nothing changes and False says to choose again. One announces at a time."""

    def rates(self) -> dict[tuple[str, str], Rate]:
        """Measured costs by (engine id, device)."""

    def record_rate(
        self,
        engine_id: str,
        device: str,
        *,
        load_s: float | None = None,
        tokens_per_s: float | None = None,
    ) -> None:
        """Measure again: the mean of the new value and the stored one replaces it."""

    def close(self) -> None: ...


class OutcomeRow(NamedTuple):
    """One graded profile response, kept so that profiling is incremental."""

    fingerprint: str
    query_hash: str
    outcome: int
    value: str | None
    text: str
    completion_tokens: int
    latency_ms: float


class CardStore(Protocol):
    """Profile outcomes and competence cards, by expert fingerprint and profile hash."""

    def known_outcomes(self, fingerprint: str, query_hashes: Sequence[str]) -> dict[str, OutcomeRow]: ...

    def save_outcomes(self, rows: Sequence[OutcomeRow]) -> None: ...

    def save_card(self, card: CompetenceCard) -> None: ...

    def cards(self, profile_hash: str | None = None) -> dict[str, CompetenceCard]:
        """Newest card per expert id, of one profile set or of the newest."""

    def save_profile_set(
        self, profile_hash: str, queries: Sequence[Query], skills: Sequence[tuple[SkillTag, ...]]
    ) -> None: ...

    def profile_set(self, profile_hash: str) -> list[tuple[Query, tuple[SkillTag, ...]]] | None: ...

    def latest_profile_hash(self) -> str | None: ...


class FeedbackStore(Protocol):
    """Judgements of answers; a judgement is unique on (job, query, key)."""

    def save_feedback(self, feedback: Feedback, counts: Sequence[FeedbackCount]) -> Feedback:
        """Store a judgement and add its counts up, or neither where its key is taken; returns what is
        stored under that key."""

    def feedback_counts(self, fingerprints: Sequence[str], *, since_day: int) -> list[FeedbackCount]: ...
