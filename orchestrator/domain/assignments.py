"""Work: calls that a composition asks for, assignments that a worker claims, responses that come back."""

import hashlib
import json
import math
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import Field, field_validator

from orchestrator.domain.answers import Answer, Decision, FinishReason, Usage
from orchestrator.domain.features import NO_FEATURES, Feature
from orchestrator.domain.fusions import FusionTrace
from orchestrator.domain.logprobs import TokenLogprobs
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.terms import NO_TERMS, SamplingExtras, StructuredOutput, Terms
from orchestrator.domain.tools import ToolCall, ToolUse
from orchestrator.domain.values import Value
from orchestrator.errors import ContextExceededError, InputError


class CallRole(StrEnum):
    """Purpose of a call; usage is reported by it."""

    ANNOTATE = "annotate"
    EXPERT = "expert"
    AGGREGATE = "aggregate"
    SAMPLE = "sample"
    DISCUSS = "discuss"
    JUDGE = "judge"
    VERIFY = "verify"
    REPAIR = "repair"


AGGREGATING = frozenset(CallRole) - {CallRole.ANNOTATE, CallRole.EXPERT}
"""Roles of calls that an aggregator asks for: it writes the answer (aggregate), hears an expert again
(sample: the same question, perhaps in other words; discuss: with what others said), has answers compared
(judge), or checked one by one (verify); or that mends what has not the form that was asked for (repair)."""


BACKGROUND, BATCH, INTERACTIVE = -10, 0, 10
"""Priorities: larger goes first; what is in the background is served when nothing else is to do."""


MOST_TOKENS = 1_000_000
EXPECTED_TOKENS = 4096
"""Longest output that is planned for where it is only bounded by what fits."""


LEAST_TEMPERATURE = 1e-5
"""Below, what engines divide by overflows, and the likeliest token is drawn anyway."""


class Sampling(Value):
    """temperature 0 = greedy, as is one below `LEAST_TEMPERATURE`; seed makes sampling repeatable, per
    request, whatever batch it runs in.

    `fits`: `max_tokens` is lowered to what the context leaves beside the prompt; else a prompt beside which
    it does not fit fails.
    `logprobs`: log probabilities of each output token and of so many likeliest ones in its place.
    Not every backend can do that, `extras`, `tools` or structured output: one that cannot fails the request.
    `raw`: the last message is the whole prompt, which is read as it is.
    `stream`: somebody reads the text while it is written, as the answer; `followed`: somebody watches how far
    it has got; `trace`: a fusion is to say what it chose at each token. None of these changes the text.
    `mixture`: experts of a store by `twin`, with their shares: one composed adapter for this call; or members
    of a fusion, with their strengths.
    """

    max_tokens: int = Field(default=512, ge=1, le=MOST_TOKENS)
    fits: bool = False
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    seed: int = 0
    stop: tuple[str, ...] = ()
    extras: SamplingExtras | None = None
    logprobs: int | None = Field(default=None, ge=0, le=20)
    reasoning_effort: str | None = None
    structured_output: StructuredOutput | None = None
    tools: ToolUse | None = None
    raw: bool = False
    stream: bool = False
    followed: bool = False
    trace: bool = False
    mixture: tuple[tuple[str, float], ...] = ()

    @field_validator("temperature")
    @classmethod
    def _tiny_is_greedy(cls, temperature: float) -> float:
        return temperature if temperature >= LEAST_TEMPERATURE else 0.0

    @property
    def expected_tokens(self) -> int:
        """Tokens of output that are planned for."""
        return min(self.max_tokens, EXPECTED_TOKENS) if self.fits else self.max_tokens

    @property
    def needs(self) -> frozenset[Feature]:
        """Features that an engine needs for it."""
        if not (self.tools or self.raw or self.structured_output or self.extras) and self.logprobs is None:
            return NO_FEATURES
        wanted = {
            Feature.LOGPROBS: self.logprobs,
            Feature.TOOLS: self.tools,
            Feature.PROMPT: self.raw or None,
        }
        found = frozenset(feature for feature, value in wanted.items() if value is not None)
        form = self.structured_output
        if form is not None:
            found |= {Feature.GUIDED_CHOICE if form.json_schema is None else Feature.STRUCTURED_OUTPUT}
        return found if self.extras is None else found | self.extras.features


class Call(Value):
    """One generation that a composition needs."""

    expert_id: str
    role: CallRole
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    sample_ix: int = Field(default=0, ge=0)


class Assignment(Value):
    """A call of one query at one stage, on the books: (query, expert, stage, sample) is unique in a job.

    `attempt` counts claims, including the present one; every write of a worker carries it (fencing).
    """

    id: int
    job_id: str
    query_id: int
    stage: int
    engine_id: str
    call: Call
    priority: int = BATCH
    attempt: int = 0


INVALID_OUTPUT = "invalid_output"
"""Error code of a response, or an answer, without the form that was asked for."""

MODEL_FAILURES = frozenset({ContextExceededError.code, InputError.code, INVALID_OUTPUT})
"""Error codes that say something about the expert; all others are the infrastructure's."""


class Response(Value):
    """Outcome of a call. `error_code` is set when no usable text exists: an abstention. `fusion`: what the
    text cost its members, where the expert is one; `reasoning`: what was thought, where the engine tells that
    apart from the text; `engine_s`: seconds of a device that it took, its share of those in which others ran
    beside it, 0 for engines elsewhere."""

    expert_id: str
    role: CallRole
    stage: int
    sample_ix: int = 0
    text: str = ""
    finish_reason: FinishReason = FinishReason.STOP
    usage: Usage = Usage()
    latency_ms: float = 0.0
    engine_s: float = 0.0
    error_code: str | None = None
    error: str | None = None
    fusion: FusionTrace | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    logprobs: tuple[TokenLogprobs, ...] = ()

    @property
    def failed(self) -> bool:
        """True if no usable text came; one that was cut off is no failure."""
        return self.error_code is not None

    @property
    def is_experts_own(self) -> bool:
        """True if it says what the expert can do, rather than that it could not be asked."""
        return self.error_code is None or self.error_code in MODEL_FAILURES


class Ask(Value):
    """A composition needs these generations next; `decision` is stored with the query when given."""

    calls: tuple[Call, ...] = Field(min_length=1)
    decision: Decision | None = None

    @property
    def followed(self) -> Self:
        """The same, with somebody who watches each call."""
        calls = tuple(
            call.model_copy(update={"sampling": call.sampling.model_copy(update={"followed": True})})
            for call in self.calls
        )
        return self.model_copy(update={"calls": calls})


class Done(Value):
    answer: Answer


Step = Ask | Done


class JobState(StrEnum):
    """A job that is ended early is on its way there for a while: nothing of it is claimed any more, and what
    is open is closed bit by bit."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    EXPIRING = "expiring"
    DONE = "done"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_over(self) -> bool:
        """True if every query of the job has ended."""
        return self not in UNDER_WAY


UNDER_WAY = (JobState.RUNNING, JobState.CANCELLING, JobState.EXPIRING)
"""States of a job that has not ended."""


NO_EXPERT = ("",)
"""Terms that nobody satisfies: no expert has this id."""


class Job(Terms):
    """A user's submission, and the terms on which its queries are answered that say nothing else themselves.
    `composition` names what answers it; `compositions` those that queries of it name. `deadline_s`: seconds
    after its submission at which it expires; None = never. `stream`: somebody reads its one answer while it
    is written, where it is in one expert's words; `followed`: somebody watches each of its calls.
    `fingerprint`: of the request, where the same request may come twice. `reuses`: what was answered before
    is not asked again, `knowledge` being the version of the cards at the time; "" = its answers are not
    reused either. `owner`: id of the key that it was submitted with; "" = nobody's. `allowed`: whom that key
    may ask, whatever the terms say; none = everybody. `traceparent`: the span that it was submitted in, as
    W3C's Trace Context writes it; "" = nobody traces it."""

    id: str
    kind: str = "batch"
    composition: str
    compositions: tuple[str, ...] = ()
    priority: int = BATCH
    seed: int = 0
    config_hash: str = ""
    label: str = ""
    deadline_s: float | None = Field(default=None, gt=0)
    stream: bool = False
    followed: bool = False
    fingerprint: str = ""
    owner: str = ""
    allowed: tuple[str, ...] = ()
    reuses: bool = False
    traceparent: str = ""
    knowledge: str = ""

    def under(self, terms: Terms | None) -> Self:
        """The job as it is for a query with terms of its own; its draws are the query's. Terms ask for nobody
        whom the key may not ask."""
        job = self if terms is None or not terms.said else self.model_copy(update=terms.said)
        if not self.allowed:
            return job
        left = tuple([expert_id for expert_id in job.experts or self.allowed if expert_id in self.allowed])
        return job.model_copy(update={"experts": left or NO_EXPERT})

    def reuse_key(self, query: Query) -> str | None:
        """Identity of all that a query's answer depends on, and of who may have it; None = not reused."""
        if not self.knowledge:
            return None
        held = self.under(query.terms).model_dump(mode="json", include=set(Terms.model_fields))
        parts = [self.owner, self.allowed, self.config_hash, self.knowledge, held, query.content_hash]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def shaped(self, terms: Terms | None) -> Self:
        """The job with the composition that a query's terms name, and its parts; nothing else of them."""
        said = {} if terms is None else {k: v for k, v in terms.shape._asdict().items() if v is not None}
        return self.model_copy(update=said) if said else self


class QueryState(Value):
    """A query in flight: everything a composition may look at to take its next step.

    `stage` counts the steps taken; `responses` are those of all stages so far, in call order. `seed`: the
    job's, of what an aggregator draws for this query; None = the aggregator's own. `max_tokens`: the job's,
    of experts that an aggregator hears again; None = each expert's. `terms`: that hold for the query;
    `stream`: somebody reads its answer while it is written. `attempt`: how often the present step has failed.
    `job`: of a question, which comes with it; of a line of a batch None, as many share one.
    """

    id: int
    job_id: str
    query: Query
    stage: int = 0
    decision: Decision | None = None
    responses: tuple[Response, ...] = ()
    seed: int | None = None
    max_tokens: int | None = None
    terms: Terms = NO_TERMS
    stream: bool = False
    attempt: int = 0
    job: Job | None = None


class JobProgress(Value):
    """Counts of a job; completed + failed + waiting == total at every moment. `n_retries`: how often its
    failed queries were opened again.

    Times are seconds since the epoch by the database's clock.
    """

    job: Job
    state: JobState
    total: int
    completed: int
    failed: int
    n_assignments: int = 0
    n_responses: int = 0
    n_regenerated: int = 0
    n_loads: int = 0
    created_at: float = 0.0
    finished_at: float | None = None
    deadline_at: float | None = None
    n_retries: int = 0

    @property
    def waiting(self) -> int:
        """Queries that have no answer yet."""
        return self.total - self.completed - self.failed


class EngineBacklog(Value):
    """Open work of one engine, over all jobs and stages; times in seconds.

    `n_waiting` and what follows it count assignments that nobody holds; `n_leased` those under anybody's
    lease (an engine may have only those). `n_devices_elsewhere`: other live devices on which the engine
    is resident or loading; `loading_s`: for how long each that loads it has done so. `unserved_s`: since
    a device last gave the engine up; inf = not known, or never.
    """

    engine_id: str
    n_waiting: int
    est_tokens: int = 0
    oldest_wait_s: float = 0.0
    top_priority: int = BATCH
    n_devices_elsewhere: int = 0
    n_leased: int = 0
    leased_tokens: int = 0
    loading_s: tuple[float, ...] = ()
    unserved_s: float = math.inf

    @property
    def starved_s(self) -> float:
        """For how long the oldest waiting assignment has seen no device serve the engine."""
        return min(self.oldest_wait_s, self.unserved_s)


class Turns(NamedTuple):
    """Other jobs that wait for an engine which a job waits for, too: all take turns, each with a fair share.

    Attributes:
        n_jobs: the others; `n_before` of them were submitted earlier.
        n_calls: calls of theirs that wait for these engines.
    """

    n_jobs: int = 0
    n_before: int = 0
    n_calls: int = 0


class LoadPlan(NamedTuple):
    """The rest of a run on `n_devices`: engines in the order visited (one device), loads still to pay,
    estimated seconds, and the seconds below which no schedule can get: one that loads or works, and one
    that loads the next engine while it works for another (`overlapped_bound_s`)."""

    order: tuple[str, ...]
    loads_left: int
    seconds_left: float
    lower_bound_s: float
    overlapped_bound_s: float


NOTHING_LEFT = LoadPlan((), 0, 0.0, 0.0, 0.0)
