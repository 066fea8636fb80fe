"""Work without models: a composition that counts texts, an engine that replies at once, a clock by hand."""

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event

from orchestrator.domain.answers import Answer, FinishReason, Usage
from orchestrator.domain.assignments import (
    Ask,
    Call,
    CallRole,
    Done,
    Job,
    QueryState,
    Response,
    Sampling,
    Step,
)
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.domain.queries import Message, Query
from orchestrator.errors import EngineCrashedError, EngineLoadError
from orchestrator.ports.engines import Engine, EngineEvent, Failed, Finished, GenerationRequest
from orchestrator.ports.jobs import Completion


def make_pool(
    *engine_ids: str, backend: str = "fake", experts_per_engine: int = 1, **options: object
) -> Pool:
    """Experts `a/0`, `a/1`, ... on engine `a`, and so on."""
    specs = [EngineSpec(id=e, backend=backend, model=e, options=options) for e in engine_ids]
    return Pool(
        experts=tuple(
            Expert(id=f"{spec.id}/{n}", engine=spec, adapter=f"lora-{n}" if n else None)
            for spec in specs
            for n in range(experts_per_engine)
        )
    )


def make_queries(n: int, *, prefix: str = "q") -> list[Query]:
    return [Query(id=f"{prefix}{i}", question=f"question {prefix}{i}") for i in range(n)]


class TextMajority:
    """k experts by rotation, then the most frequent text (ties by text).

    With `final`, that expert is asked for the last word at a second stage.
    """

    name = "text-majority"

    def __init__(self, expert_ids: Sequence[str], *, k: int | None = None, final: str | None = None) -> None:
        self._expert_ids = tuple(expert_ids)
        self._k = k or len(self._expert_ids)
        self._final = final

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [self._step(state) for state in states]

    def later_engines(self, _job: Job) -> tuple[str, ...]:
        """As a catalogue tells them: the engine of the last word."""
        return () if self._final is None else (self._final.partition("/")[0],)

    def _step(self, state: QueryState) -> Step:
        if "misroute" in state.query.question:
            raise RuntimeError("a bug in the composition")
        if state.stage == 0:
            start = state.id % len(self._expert_ids)
            chosen = [self._expert_ids[(start + i) % len(self._expert_ids)] for i in range(self._k)]
            return Ask(calls=tuple(make_call(e, state.query) for e in chosen))
        if state.stage == 1 and self._final is not None:
            return Ask(calls=(make_call(self._final, state.query, role=CallRole.AGGREGATE),))
        return Done(answer=vote(state.responses))


def make_call(expert_id: str, query: Query, *, role: CallRole = CallRole.EXPERT, sample_ix: int = 0) -> Call:
    messages = (Message(role="user", content=query.text),)
    return Call(
        expert_id=expert_id,
        role=role,
        messages=messages,
        sampling=Sampling(max_tokens=8),
        sample_ix=sample_ix,
    )


def vote(responses: Sequence[Response]) -> Answer:
    texts = Counter(r.text for r in responses if not r.failed)
    if not texts:
        codes = sorted({r.error_code or "" for r in responses})
        return Answer(text="", error_code="no_answer", error=f"every expert failed: {', '.join(codes)}")
    best = min(texts, key=lambda text: (-texts[text], text))
    return Answer(text=best, value=best, aggregator="majority", degraded=any(r.failed for r in responses))


def make_response(expert_id: str, *, text: str = "yes", stage: int = 0, sample_ix: int = 0) -> Response:
    return Response(expert_id=expert_id, role=CallRole.EXPERT, stage=stage, sample_ix=sample_ix, text=text)


def answered(
    completions: Sequence[tuple[int, int]], *, expert_id: str = "a/0", text: str = "yes"
) -> list[Completion]:
    return [Completion(i, attempt, make_response(expert_id, text=text)) for i, attempt in completions]


class HandClock:
    """Moves when told to, and by `step_s` at each reading."""

    def __init__(self, *, step_s: float = 0.0) -> None:
        self.now = 1000.0
        self._step_s = step_s

    def __call__(self) -> float:
        self.now += self._step_s
        return self.now


class FakeEngine:
    """Replies `<question>` to everything at the next poll, `batch` requests at a time.

    A question that contains `crash` kills it, `hang` is never answered, `refuse` fails, and
    `surrogate` comes back with a text that no database takes.
    """

    def __init__(self, spec: EngineSpec, journal: list[str], *, batch: int, clock: HandClock | None) -> None:
        self._spec = spec
        self._journal = journal
        self._batch = batch
        self._clock = clock
        self._waiting: list[GenerationRequest] = []
        self.closed = False

    def submit(self, request: GenerationRequest) -> None:
        self._waiting.append(request)
        self._waiting.sort(key=lambda waiting: -waiting.priority)

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        ready = [r for r in self._waiting if "hang" not in _question(r)][: self._batch]
        if not ready and self._clock is not None:
            self._clock.now += timeout_s
        if any("crash" in _question(r) for r in ready):
            self._journal.append(f"crash {self._spec.id} under {len(self._waiting)}")
            raise EngineCrashedError(f"engine '{self._spec.id}' crashed.")
        self._waiting = [r for r in self._waiting if r not in ready]
        return [self._event(request) for request in ready]

    def abort(self, request_id: str) -> None:
        self._waiting = [
            r._replace(messages=(Message(role="user", content="refuse"),)) if r.id == request_id else r
            for r in self._waiting
        ]

    def close(self) -> None:
        self.closed = True

    def _event(self, request: GenerationRequest) -> EngineEvent:
        question = _question(request)
        if "refuse" in question:
            return Failed(request.id, "refused", "will not")
        self._journal.append(f"{self._spec.id} {question}")
        text = "\ud800" if "surrogate" in question else f"<{question}>"
        return Finished(request.id, text, FinishReason.STOP, Usage(prompt_tokens=3, completion_tokens=2))


class FakeBackend:
    """`journal` lists loads, crashes and generations in order; `broken` engines have no weights, `ailing`
    ones do not load for now.
    """

    def __init__(
        self,
        *,
        batch: int = 1000,
        broken: Sequence[str] = (),
        ailing: Sequence[str] = (),
        clock: HandClock | None = None,
    ) -> None:
        self.journal: list[str] = []
        self.adapters: dict[str, tuple[str, ...]] = {}
        self._batch = batch
        self._broken = broken
        self.ailing = set(ailing)
        self._clock = clock

    def __call__(self, name: str) -> "FakeBackend":
        return self

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        self.journal.append(f"load {spec.id}")
        self.adapters[spec.id] = tuple(adapters)
        if spec.id in self._broken:
            raise EngineLoadError(f"engine '{spec.id}' does not load.", is_lasting=True)
        if spec.id in self.ailing:
            raise EngineLoadError(f"engine '{spec.id}' is away.", remedy="Wait for it.")
        return FakeEngine(spec, self.journal, batch=self._batch, clock=self._clock)

    @property
    def loads(self) -> list[str]:
        return [line.removeprefix("load ") for line in self.journal if line.startswith("load ")]


class GatedBackend(FakeBackend):
    """Its loads end when the test opens the gate."""

    def __init__(
        self, *, batch: int = 1000, gated: Sequence[str] = (), clock: HandClock | None = None
    ) -> None:
        super().__init__(batch=batch, clock=clock)
        self.gate = Event()
        self._gated = gated

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        if not self._gated or spec.id in self._gated:
            assert self.gate.wait(60)
        return super().load(spec, adapters)


class PreparingFakeBackend(FakeBackend):
    """Notes what it is asked to do ahead; says that engines fit, up to `n_fit` side by side."""

    def __init__(self, *, batch: int = 1000, clock: HandClock | None = None, n_fit: int = 2) -> None:
        super().__init__(batch=batch, clock=clock)
        self.is_closed = False
        self._n_fit = n_fit
        self._engines: list[Engine] = []

    def warm_up(self, spec: EngineSpec) -> None:
        self.journal.append(f"warm up {spec.id}")

    def prepare(self, spec: EngineSpec, adapters: Sequence[str]) -> bool:
        self.journal.append(f"prepare {spec.id}")
        return self.fits(spec)

    def discard_prepared(self) -> None:
        self.journal.append("discard")

    def fits(self, spec: EngineSpec) -> bool:
        return sum(not engine.closed for engine in self._engines) < self._n_fit

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        if not self.fits(spec):
            raise EngineLoadError(f"engine '{spec.id}' does not fit.")
        self._engines.append(super().load(spec, adapters))
        return self._engines[-1]

    def close(self) -> None:
        self.is_closed = True


def always(composition: TextMajority) -> Callable[[Job], TextMajority]:
    return lambda _job: composition


def _question(request: GenerationRequest) -> str:
    return request.messages[-1].content
