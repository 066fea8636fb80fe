"""The step loop: admit waiting rows, decode one token for all, report what ended."""

import gc
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import BATCH, Sampling
from orchestrator.domain.features import NO_FEATURES, Feature
from orchestrator.errors import (
    BackendError,
    ContextExceededError,
    EngineCrashedError,
    InputError,
    UnknownNameError,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import EngineEvent, EngineMemory, Failed, Finished, GenerationRequest, Tokens
from orchestrator.runtime.threads import Threaded, set_threads
from workers.backends.decoding.batch import Batch
from workers.backends.decoding.rows import Limits, Row, Step, WaitingRows
from workers.backends.decoding.sampling import greedy_tokens, pick_tokens
from workers.backends.decoding.shaping import shaped, token_logprobs
from workers.backends.decoding.sources import Source
from workers.backends.decoding.texts import Prompter, Texts
from workers.backends.decoding.weighing import Scale
from workers.backends.refusal import fitted, refusal
from workers.backends.stop_strings import cut_at_stop, held_back

logger = logging.getLogger(__name__)

TORCH = Threaded(torch.get_num_threads, torch.set_num_threads)

JOIN_SHARE = 4
"""Newcomers wait until they make up 1/JOIN_SHARE of the batch: each joining costs a pass of its own."""
DEAD_SHARE = 8
"""A batch is compacted when 1/DEAD_SHARE of its rows are dead: compacting copies the cache."""


Mixer = Callable[[tuple[tuple[str, float], ...]], int]
"""(expert, share) pairs to the number of the adapter that rows use; raises UnknownNameError."""
Strengths = Callable[[tuple[tuple[str, float], ...]], tuple[float, ...]]
"""(expert, share) pairs to the strengths of a fusion's members, in their order; raises InputError."""


class DecodingOptions(NamedTuple):
    """Options of one engine's decoding.

    Attributes:
        eos_ids: tokens that end an output.
        stream_from_priority: requests of at least this priority report Tokens.
        threads: CPU threads that compute, >= 1.
        backend: what refuses a request that it cannot do, for messages; `features`: what it can.
    """

    engine_id: str
    max_model_len: int
    limits: Limits
    eos_ids: frozenset[int]
    pad_id: int
    stream_from_priority: int
    threads: int = 1
    backend: str = "transformers"
    features: frozenset[Feature] = NO_FEATURES


class DecodingEngine:
    """Implements `ports.Engine` over a source of logits. Not thread-safe.

    Args:
        others: of the prompts of further sequences, where the source wants several of each request.
        mixer: number of the adapter that is composed for a mixture; None = none can be.
        strengths: of a fusion's members, for a mixture; None = it has none that a request may set.

    `poll` decodes until something is to be reported or `timeout_s` has passed, at least one token;
    without work it returns at once, for nothing can happen.
    """

    def __init__(
        self,
        source: Source,
        texts: Texts,
        options: DecodingOptions,
        *,
        adapters: Sequence[str] = (),
        others: Sequence[Prompter] = (),
        mixer: Mixer | None = None,
        strengths: Strengths | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._source: Source | None = source
        self._device = source.device
        self._texts = texts
        self._others = others
        self._options = options
        self._limits = options.limits
        self._eos = torch.tensor(sorted(options.eos_ids), device=source.device)
        self._adapters = {folder: number for number, folder in enumerate(adapters, start=1)}
        self._mixer = mixer
        self._strengths = strengths
        self._clock = clock
        self._waiting = WaitingRows()
        self._batch: Batch | None = None
        self._newcomers: Batch | None = None
        self._unfinished: set[str] = set()
        self._events: list[EngineEvent] = []
        self._scale = Scale(source.tensors(), source.device)

    def weigh(self) -> EngineMemory | None:
        """Weights and caches, counted; None once it is closed."""
        return None if self._source is None else self._scale.weigh()

    # ── ports.Engine ──────────────────────────────────────────────────────────────────────────────

    def submit(self, request: GenerationRequest) -> None:
        self._require_open()
        if request.id in self._unfinished:
            raise BackendError(f"request '{request.id}' is in the engine already.", param="id")
        self._unfinished.add(request.id)
        mixes = self._mixer is not None or self._strengths is not None
        refused = refusal(request, self._options.backend, mixes=mixes, has=self._options.features)
        if refused is not None:
            self._end(refused)
            return
        try:
            self._waiting.push(self._row(request))
        except (InputError, ContextExceededError) as error:
            self._end(Failed(request.id, error.code, error.message))

    @torch.inference_mode()
    def poll(self, timeout_s: float) -> list[EngineEvent]:
        self._require_open()
        set_threads(TORCH, self._options.threads)  # another engine may have been here before, in this thread
        deadline = self._clock() + timeout_s
        while not self._events and self._unfinished:
            self._guarded_step()
            if self._clock() >= deadline:
                break
        events, self._events = self._events, []
        return events

    @torch.inference_mode()
    def abort(self, request_id: str) -> None:
        if request_id not in self._unfinished:
            return
        if not self._waiting.remove(request_id):
            self._bury_running(request_id)
        self._end(Failed(request_id, "aborted", "the request was aborted."))

    def close(self) -> None:
        self._source = self._batch = self._newcomers = None
        self._mixer = None  # it holds the source, and with it the weights
        self._waiting = WaitingRows()
        self._unfinished.clear()
        self._events.clear()
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    # ── admission ─────────────────────────────────────────────────────────────────────────────────

    def _row(self, request: GenerationRequest) -> Row:
        """The request as a row.

        Raises:
            InputError: unknown adapter, or a prompt that cannot be rendered.
            ContextExceededError: prompt plus output do not fit.
        """
        if request.adapter is not None and request.adapter not in self._adapters:
            raise UnknownNameError("adapter", request.adapter, self._adapters, param="adapter")
        mixture = request.sampling.mixture
        self._require_tokens(request.sampling)
        row = Row(
            request=request,
            prompt_ids=self._texts.encode_request(request),
            adapter=self._number(request),
            streams=request.priority >= self._options.stream_from_priority,
            others=tuple(other.encode(request.messages) for other in self._others),
            strengths=self._strengths(mixture) if self._strengths is not None and mixture else None,
        )
        room = self._options.max_model_len - max(map(len, row.prompts))
        row.request = fitted(request, room=room)
        if row.n_final > self._options.max_model_len:
            raise ContextExceededError.of(
                n_prompt=max(map(len, row.prompts)),
                max_tokens=row.sampling.max_tokens,
                limit=self._options.max_model_len,
                engine_id=self._options.engine_id,
            )
        return row

    def _require_tokens(self, sampling: Sampling) -> None:
        biased = sampling.extras.logit_bias if sampling.extras else ()
        beyond = next((token for token, _ in biased if token >= self._texts.n_tokens), None)
        if beyond is not None:
            raise InputError(
                f"logit_bias: token id {beyond} is beyond the {self._texts.n_tokens} tokens of engine "
                f"'{self._options.engine_id}'.",
                param="logit_bias",
            )

    def _number(self, request: GenerationRequest) -> int:
        """Number of the adapter of a request; 0 = the base weights."""
        if self._mixer is not None and request.sampling.mixture:
            return self._mixer(request.sampling.mixture)
        return self._adapters[request.adapter] if request.adapter is not None else 0

    def _admit(self) -> None:
        """Move waiting rows into the batch when that pays."""
        n_new = self._n_admissible()
        if not n_new:
            return
        rows = self._waiting.first(n_new)
        assert self._source is not None, "checked by whoever steps"
        for row in rows:
            row.restart(self._clock())
        self._newcomers = Batch.start(
            rows, pad_id=self._options.pad_id, device=self._device, layout=self._source.layout
        )
        self._waiting.drop(n_new)
        self._advance(self._newcomers)
        self._batch = _united(self._batch, self._newcomers, pad_id=self._options.pad_id)
        self._newcomers = None

    def _n_admissible(self) -> int:
        n_running = self._batch.n_alive if self._batch else 0
        if not len(self._waiting) or n_running >= self._limits.rows:
            return 0
        widest = self._batch.widest if self._batch else 0
        n_new = self._waiting.count_fitting(self._limits, n_running=n_running, widest=widest)
        all_join = n_new == len(self._waiting)
        enough = n_new * JOIN_SHARE >= n_running + n_new
        return n_new if all_join or enough or self._waiting.top_priority > BATCH else 0

    # ── decoding ──────────────────────────────────────────────────────────────────────────────────

    def _guarded_step(self) -> None:
        try:
            self._step()
            return
        except (RuntimeError, IndexError) as error:
            if not _is_out_of_memory(error):
                raise self._broken(error) from error
            full = error.with_traceback(None)  # its frames hold the tensors of the step
        if not self._shrink():
            raise self._broken(full) from full

    def _broken(self, error: Exception) -> EngineCrashedError:
        """Close, and say why."""
        self.close()
        return EngineCrashedError(
            f"engine '{self._options.engine_id}' broke while decoding: {error}.",
            remedy="Lower options.max_batch_tokens or max_model_len if memory ran out; "
            "otherwise check the weights.",
        )

    def _step(self) -> None:
        self._admit()
        batch = self._batch
        if batch is None:
            return
        self._advance(batch)
        if not batch.n_alive:
            self._batch = None
        elif (len(batch.rows) - batch.n_alive) * DEAD_SHARE >= len(batch.rows):
            batch.compact()
        self._scale.note(self._batch)

    def _advance(self, batch: Batch) -> None:
        """Decode one token of every row of the batch and report the rows that end with it."""
        assert self._source is not None, "checked by whoever steps"
        logits, alphas, losses = self._source.next_logits(batch)
        if batch.traced:
            _record(batch, alphas, losses)
        plain = logits
        if batch.shaped:
            logits = self._shape(batch, logits)
        tokens, usable = greedy_tokens(logits)
        if batch.sampled:
            tokens[batch.sampled] = self._sample(batch, logits[batch.sampled])
        if batch.scored:
            self._score(batch, plain, tokens)
        batch.append(tokens)
        ended = batch.alive & ((tokens[:, None] == self._eos).any(1) | (batch.remaining <= 0) | ~usable)
        if batch.watched:
            self._watch(batch, ended)
        if ended.any():
            self._finish(batch, ended.nonzero().flatten().tolist(), usable)

    def _shape(self, batch: Batch, logits: Tensor) -> Tensor:
        """The logits with those rows changed that have extras."""
        changed, remaining = logits.float().clone(), batch.remaining.tolist()
        for at in batch.shaped:
            row = batch.rows[at]
            sampling = row.sampling
            assert sampling.extras is not None, "only such rows are shaped"
            changed[at] = shaped(
                logits[at],
                sampling.extras,
                prompt=torch.tensor(row.prompt_ids, device=logits.device),
                output=batch.output(at, sampling.max_tokens - remaining[at]),
                temperature=sampling.temperature,
            )
        return changed

    def _score(self, batch: Batch, logits: Tensor, tokens: Tensor) -> None:
        """Keep log probabilities of this step, also that of the end of a text."""
        chosen, alive = tokens.tolist(), batch.alive.tolist()
        for at in batch.scored:
            row = batch.rows[at]
            if alive[at]:
                n_top = row.sampling.logprobs or 0
                row.logprobs.append(token_logprobs(logits[at], chosen[at], n_top=n_top, texts=self._texts))

    def _sample(self, batch: Batch, logits: Tensor) -> Tensor:
        rows = [batch.rows[at] for at in batch.sampled]
        return pick_tokens(
            logits,
            temperature=logits.new_tensor([row.sampling.temperature for row in rows], dtype=torch.float32),
            top_p=logits.new_tensor([row.sampling.top_p for row in rows], dtype=torch.float32),
            uniforms=logits.new_tensor([next(row.uniforms) for row in rows], dtype=torch.float32),
        )

    # ── endings ───────────────────────────────────────────────────────────────────────────────────

    def _watch(self, batch: Batch, ended: Tensor) -> None:
        """Stream new text and mark rows that reached a stop string, in `ended` (changed in place)."""
        remaining, is_ended, alive = batch.remaining.tolist(), ended.tolist(), batch.alive.tolist()
        for at in batch.watched:
            row = batch.rows[at]
            if is_ended[at] or not alive[at]:
                continue
            ids = batch.output_ids(at, remaining[at])
            if self._texts.hits_stop(ids, row.sampling.stop, after=row.prompt_ids):
                ended[at] = True
            elif row.streams:
                self._stream(row, ids)

    def _stream(self, row: Row, ids: Sequence[int]) -> None:
        text = held_back(self._texts.settled(ids, after=row.prompt_ids), row.sampling.stop)
        if text.startswith(row.streamed) and len(text) > len(row.streamed):
            self._events.append(Tokens(row.request.id, text[len(row.streamed) :]))
            row.streamed = text

    def _finish(self, batch: Batch, ended: Sequence[int], usable: Tensor) -> None:
        remaining, is_usable = batch.remaining.tolist(), usable.tolist()
        for at in ended:
            row = batch.rows[at]
            batch.bury(at)
            if is_usable[at]:
                self._end(self._finished(row, batch.output_ids(at, remaining[at])))
            else:
                self._end(
                    Failed(
                        row.request.id,
                        BackendError.code,
                        f"engine '{self._options.engine_id}' gave logits that are not numbers. "
                        "Try dtype float32, or check the weights.",
                    )
                )

    def _finished(self, row: Row, ids: Sequence[int]) -> Finished:
        assert self._source is not None, "checked by whoever steps"
        is_over = ids[-1] in self._options.eos_ids  # what ends a text is no part of it, special or not
        said = self._texts.said(ids[:-1] if is_over else ids, after=row.prompt_ids)
        text, stopped = cut_at_stop(said.text, row.sampling.stop)
        stopped = stopped or is_over
        return Finished(
            row.request.id,
            text,
            FinishReason.STOP if stopped else FinishReason.LENGTH,
            Usage(prompt_tokens=len(row.prompt_ids), completion_tokens=len(ids)),
            logprobs=tuple(row.logprobs),
            fusion=self._source.trace(row, ids, self._clock() - row.began_at),
            reasoning=said.reasoning,
        )

    def _end(self, event: Finished | Failed) -> None:
        self._unfinished.discard(event.id)
        self._events.append(event)

    # ── trouble ───────────────────────────────────────────────────────────────────────────────────

    def _shrink(self) -> bool:
        """After running out of memory: requeue all rows under half the limits. False = no use."""
        rows = [row for batch in (self._batch, self._newcomers) if batch for row in batch.live_rows()]
        self._batch = self._newcomers = None
        if len(rows) < 2:
            return False
        self._limits = Limits(len(rows), max(row.n_final for row in rows) * len(rows)).halved()
        logger.warning(
            "engine %s ran out of memory; batch limits now %s", self._options.engine_id, self._limits
        )
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        for row in rows:
            self._waiting.push(row)
        return True

    def _bury_running(self, request_id: str) -> None:
        batch = self._batch
        assert batch is not None
        alive = batch.alive.tolist()
        ids = [row.request.id if alive[at] else None for at, row in enumerate(batch.rows)]
        batch.bury(ids.index(request_id))
        if not batch.n_alive:
            self._batch = None

    def _require_open(self) -> None:
        if self._source is None:
            raise EngineCrashedError(
                f"engine '{self._options.engine_id}' is closed.", remedy="Load it again."
            )


def _united(running: Batch | None, newcomers: Batch, *, pad_id: int) -> Batch | None:
    """One batch without dead rows; both arguments are used up."""
    batches = [batch for batch in (running, newcomers) if batch is not None and batch.n_alive]
    for batch in batches:
        if batch.n_alive < len(batch.rows):
            batch.compact()
    if len(batches) == 2:
        batches[0].join(batches[1], pad_id=pad_id)
    return batches[0] if batches else None


def _record(batch: Batch, alphas: Tensor | None, losses: Tensor | None) -> None:
    """Keep what a fusion chose at this step, of the rows that want it."""
    chosen = None if alphas is None else alphas.tolist()
    left = None if losses is None else losses.tolist()
    for at in batch.traced:
        batch.rows[at].steps.append(
            Step(None if chosen is None else tuple(chosen[at]), None if left is None else left[at])
        )


def _is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the host ran out of memory (the CPU allocator has no exception of its own)."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
