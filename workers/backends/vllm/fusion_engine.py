"""A fusion in vLLM as a step loop: groups of requests that go in, come apart and end together.

Runs in a child process, where vLLM is installed.
"""

import time
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vllm.exceptions import VLLMClientError
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind, SamplingParams

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.errors import (
    BackendError,
    ContextExceededError,
    EngineCrashedError,
    InputError,
    UnknownNameError,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import EngineEvent, Failed, Finished, GenerationRequest, Tokens
from workers.backends.decoding.fused import Fusing, MemberTexts
from workers.backends.refusal import refusal
from workers.backends.stop_strings import cut_at_stop, held_back
from workers.backends.vllm.engine import one_line
from workers.backends.vllm.fusion_groups import MARK, Fuser, Group
from workers.engine_host.wire import EngineStats

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine


class OfRequest:
    """In place of a row's adapter: the one that the request names."""


class FusionServing(NamedTuple):
    """Options of one fusion's serving.

    Attributes:
        max_model_len: the tightest of all models.
        max_groups: most questions decoded together, >= 1.
        step_tokens: most tokens that vLLM computes in a step.
        eos_ids: tokens that end an output: any member's.
        stream_from_priority: requests of at least this priority report Tokens.
    """

    engine_id: str
    max_model_len: int
    max_groups: int
    step_tokens: int
    eos_ids: frozenset[int]
    stream_from_priority: int


@dataclass(slots=True, eq=False)
class _Question:
    """A request and its group.

    Attributes:
        place: its place in the queue, kept when it goes back there.
        rows: ids of its vLLM requests; empty while it waits.
        began_at: when they first went there, on the engine's clock.
        n_seen: tokens whose text was looked at.
        streamed: text already sent as Tokens.
    """

    request: GenerationRequest
    group: Group
    place: tuple[int, int]
    streams: bool
    rows: tuple[str, ...] = ()
    began_at: float = 0.0
    n_seen: int = 0
    streamed: str = ""


class FusionEngine:
    """Implements `ports.Engine` over one vLLM engine and the models beside it. Not thread-safe.

    Args:
        engine: with its core in this process; its logits processor works for `fuser`.
        prompters: of each sequence, vLLM's rows first; the first one decodes the outputs.
        rows: adapter of each row; None = the model's own weights.
        adapters: those that are loaded, by their folders.
    """

    def __init__(
        self,
        engine: "LLMEngine",
        fuser: Fuser,
        fusing: Fusing,
        prompters: Sequence[MemberTexts],
        serving: FusionServing,
        *,
        rows: Sequence[str | OfRequest | None],
        adapters: Mapping[str, LoRARequest],
        clock: Clock = time.monotonic,
    ) -> None:
        self._engine: LLMEngine | None = engine
        self._fuser = fuser
        self._fusing = fusing
        self._prompters = tuple(prompters)
        self._texts = prompters[0].texts
        self._rows = tuple(rows)
        self._serving = serving
        self._adapters = adapters
        self._clock = clock
        self._waiting: list[_Question] = []
        self._running: dict[str, _Question] = {}
        self._owners: dict[str, str] = {}
        self._ceiling = serving.max_groups
        self._events: list[EngineEvent] = []
        self._n_ever = 0
        self._n_restarts = self._n_prompt = self._n_cached = self._n_output = 0

    # ── ports.Engine ──────────────────────────────────────────────────────────────────────────────

    def submit(self, request: GenerationRequest) -> None:
        self._open()
        if self._find(request.id) is not None:
            raise BackendError(f"request '{request.id}' is in the engine already.", param="id")
        if (refused := refusal(request, "fusion")) is not None:
            self._events.append(refused)
            return
        try:
            self._enqueue(self._question(request))
        except (InputError, ContextExceededError) as error:
            self._events.append(Failed(request.id, error.code, error.message))

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        engine = self._open()
        deadline = self._clock() + timeout_s
        while not self._events and (self._running or self._waiting):
            self._admit(engine)
            self._step(engine)
            if self._clock() >= deadline:
                break
        events, self._events = self._events, []
        return events

    def abort(self, request_id: str) -> None:
        engine = self._open()
        question = self._find(request_id)
        if question is not None:
            self._withdraw(engine, question)
            self._waiting = [other for other in self._waiting if other is not question]
            self._events.append(Failed(request_id, "aborted", "the request was aborted."))

    def close(self) -> None:
        """Stop the engine and let go of weights and caches, also of the models beside it."""
        engine, self._engine = self._engine, None
        self._running.clear()
        self._waiting.clear()
        self._owners.clear()
        self._events.clear()
        self._fuser.close()
        if engine is not None:
            engine.engine_core.shutdown()

    # ── beyond the port ───────────────────────────────────────────────────────────────────────────

    def stats(self) -> EngineStats:
        """Questions that run and wait; tokens of finished ones, prompts of all rows counted."""
        scheduler = self._open().engine_core.engine_core.scheduler
        return EngineStats(
            n_running=len(self._running),
            n_waiting=len(self._waiting),
            kv_cache_usage=scheduler.get_kv_cache_usage(),
            n_prompt_tokens=self._n_prompt,
            n_cached_tokens=self._n_cached,
            n_output_tokens=self._n_output,
            n_restarts=self._n_restarts,
        )

    # ── admission ─────────────────────────────────────────────────────────────────────────────────

    def _question(self, request: GenerationRequest) -> _Question:
        """The request, ready to wait.

        Raises:
            InputError: an unknown adapter, or a prompt that cannot be rendered.
            ContextExceededError: a sequence's prompt plus output do not fit, or all rows' do not into a step.
        """
        if request.adapter is not None and request.adapter not in self._adapters:
            raise UnknownNameError("adapter", request.adapter, self._adapters, param="adapter")
        prompts = tuple(prompter.encode(request.messages) for prompter in self._prompters)
        self._require_room(prompts, request.sampling.max_tokens)
        self._n_ever += 1
        return _Question(
            request,
            Group(request.id, prompts, request.sampling),
            place=(-request.priority, self._n_ever),
            streams=request.priority >= self._serving.stream_from_priority,
        )

    def _require_room(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> None:
        longest = max(map(len, prompts))
        if longest + max_tokens > self._serving.max_model_len:
            raise ContextExceededError.of(
                n_prompt=longest,
                max_tokens=max_tokens,
                limit=self._serving.max_model_len,
                engine_id=self._serving.engine_id,
            )
        all_rows = sum(len(prompt) + max_tokens for prompt in prompts[: len(self._rows)])
        if all_rows > self._serving.step_tokens:
            raise ContextExceededError(
                f"the {len(self._rows)} rows of this question take {all_rows} tokens; a step of engine "
                f"'{self._serving.engine_id}' takes {self._serving.step_tokens}.",
                param="max_tokens",
                remedy="Shorten the question, lower max_tokens or raise options.max_num_batched_tokens.",
            )

    def _enqueue(self, question: _Question) -> None:
        insort(self._waiting, question, key=lambda other: other.place)

    def _admit(self, engine: "LLMEngine") -> None:
        """Hand waiting groups to vLLM while a step has room for all their rows."""
        room = self._serving.step_tokens - len(self._rows) * len(self._running)
        while self._waiting and len(self._running) < self._ceiling:
            group = self._waiting[0].group
            room -= sum(len(prompt) + len(group.tokens) for prompt in self._row_prompts(group))
            if room < 0:
                return
            self._start(engine, self._waiting.pop(0))

    def _row_prompts(self, group: Group) -> tuple[list[int], ...]:
        return group.prompts[: len(self._rows)]

    def _start(self, engine: "LLMEngine", question: _Question) -> None:
        group, request = question.group, question.request
        group.start()
        if group.attempt == 1:
            question.began_at = self._clock()
        question.rows = tuple(f"{group.id}/{group.attempt}/{row}" for row in range(len(self._rows)))
        self._fuser.add(group)
        self._running[group.id] = question
        self._owners |= dict.fromkeys(question.rows, group.id)
        try:
            for row, prompt in enumerate(self._row_prompts(group)):
                adapter = self._rows[row]
                folder = request.adapter if isinstance(adapter, OfRequest) else adapter
                engine.add_request(
                    question.rows[row],
                    tokens_input(prompt + group.tokens),
                    _row_params(group, row),
                    lora_request=None if folder is None else self._adapters[folder],
                    arrival_time=float(question.place[1]),
                    priority=-request.priority,  # vLLM's smaller goes first
                )
        except (ValueError, VLLMClientError) as error:
            self._fail(engine, question, InputError.code, f"vLLM refuses the request: {one_line(error)}.")

    # ── the step loop ─────────────────────────────────────────────────────────────────────────────

    def _step(self, engine: "LLMEngine") -> None:
        if not self._running:
            return
        try:
            outputs = engine.step()
        except Exception as error:  # whatever a model or a kernel raises, the engine is of no use after it
            raise EngineCrashedError(
                f"engine '{self._serving.engine_id}' broke in a step: {type(error).__name__}: "
                f"{one_line(error)}.",
                remedy="Give it less (max_model_len, max_num_seqs, kv_cache_gib) if memory ran out.",
            ) from error
        for output in outputs:
            self._note_end(output.request_id, output.num_cached_tokens or 0)
        was_alone = len(self._running) == 1
        for question in list(self._running.values()):
            self._take(engine, question, was_alone=was_alone)

    def _note_end(self, row: str, n_cached: int) -> None:
        """A row ended in vLLM: with its group, or it has left it."""
        self._n_cached += n_cached
        question = self._running.get(self._owners.get(row, ""))
        if question is not None and len(question.group.tokens) < question.request.sampling.max_tokens:
            question.group.is_apart = True

    def _take(self, engine: "LLMEngine", question: _Question, *, was_alone: bool) -> None:
        group = question.group
        if group.is_apart:
            self._restart(engine, question, was_alone=was_alone)
        elif group.is_unusable:
            reason = f"engine '{self._serving.engine_id}' gave logits that are not numbers. "
            self._fail(
                engine, question, BackendError.code, reason + "Try dtype float32, or check the weights."
            )
        elif len(group.tokens) > question.n_seen:
            question.n_seen = len(group.tokens)
            self._look_at(engine, question)

    def _look_at(self, engine: "LLMEngine", question: _Question) -> None:
        """End a question whose newest token ends it, or stream its text."""
        ids, sampling, prompt = question.group.tokens, question.request.sampling, question.group.prompts[0]
        stopped = ids[-1] in self._serving.eos_ids
        stopped = stopped or self._texts.hits_stop(ids, sampling.stop, after=prompt)
        if stopped or len(ids) >= sampling.max_tokens:
            self._withdraw(engine, question)
            self._ceiling = min(self._serving.max_groups, self._ceiling + 1)
            self._events.append(self._finished(question))
        elif question.streams:
            text = held_back(self._texts.settled(ids, after=prompt), sampling.stop)
            if text.startswith(question.streamed) and len(text) > len(question.streamed):
                self._events.append(Tokens(question.request.id, text[len(question.streamed) :]))
                question.streamed = text

    def _restart(self, engine: "LLMEngine", question: _Question, *, was_alone: bool) -> None:
        """A group came apart: its rows are taken back, and start again with the tokens so far in their
        prompts once there is more room."""
        group = question.group
        if was_alone and len(group.tokens) == group.n_carried:
            reason = f"its {len(question.rows)} rows do not fit into the cache together. "
            self._fail(engine, question, BackendError.code, reason + "Raise options.kv_cache_gib.")
            return
        self._withdraw(engine, question)
        self._ceiling = max(1, len(self._running))
        self._n_restarts += 1
        self._enqueue(question)

    def _fail(self, engine: "LLMEngine", question: _Question, code: str, reason: str) -> None:
        self._withdraw(engine, question)
        self._events.append(Failed(question.request.id, code, reason))

    def _withdraw(self, engine: "LLMEngine", question: _Question) -> None:
        """Take a group out of vLLM; harmless when it waits."""
        engine.abort_request(list(question.rows))
        for row in question.rows:
            self._owners.pop(row, None)
        question.rows = ()
        self._running.pop(question.group.id, None)
        self._fuser.remove(question.group.id)

    def _finished(self, question: _Question) -> Finished:
        ids, sampling = question.group.tokens, question.request.sampling
        is_over = ids[-1] in self._serving.eos_ids  # what ends a text is no part of it, special or not
        said = self._texts.said(ids[:-1] if is_over else ids, after=question.group.prompts[0])
        text, stopped = cut_at_stop(said.text, sampling.stop)
        stopped = stopped or is_over
        n_prompt = len(question.group.prompts[0])
        self._n_prompt += sum(map(len, self._row_prompts(question.group)))
        self._n_output += len(ids)
        return Finished(
            question.request.id,
            text,
            FinishReason.STOP if stopped else FinishReason.LENGTH,
            Usage(prompt_tokens=n_prompt, completion_tokens=len(ids)),
            fusion=self._fusing.trace(
                question.group.steps if sampling.trace else (),
                ids,
                self._clock() - question.began_at,
                n_lost=question.group.n_lost,
            ),
            reasoning=said.reasoning,
        )

    def _find(self, request_id: str) -> _Question | None:
        waiting = (question for question in self._waiting if question.request.id == request_id)
        return self._running.get(request_id) or next(waiting, None)

    def _open(self) -> "LLMEngine":
        if self._engine is None:
            raise EngineCrashedError(
                f"engine '{self._serving.engine_id}' is closed.", remedy="Load it again."
            )
        return self._engine


def _row_params(group: Group, row: int) -> SamplingParams:
    """vLLM takes the only token that the processor leaves it, until it is told to stop."""
    return SamplingParams(
        max_tokens=group.sampling.max_tokens - len(group.tokens),
        temperature=0.0,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args={MARK: [group.id, group.attempt, row]},
    )
