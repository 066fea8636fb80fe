"""One loaded vLLM engine as a step loop. Runs in a child process, where vLLM is installed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vllm.exceptions import VLLMClientError
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.logprobs import TokenLogprobs
from orchestrator.errors import (
    BackendError,
    ContextExceededError,
    EngineCrashedError,
    InputError,
    UnknownNameError,
    UnsupportedError,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import EngineEvent, Failed, Finished, GenerationRequest, Tokens
from workers.backends.decoding.texts import Texts
from workers.backends.features import OF_VLLM
from workers.backends.refusal import fitted, refusal
from workers.backends.stop_strings import cut_at_stop, held_back
from workers.backends.thoughts import Said
from workers.backends.vllm.sampling import sampling_params, token_logprobs
from workers.checkpoints.defects import adapter_defects, told
from workers.checkpoints.formats import require_adapter
from workers.engine_host.wire import EngineStats

if TYPE_CHECKING:
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.v1.engine.llm_engine import LLMEngine

GRAMMAR_WAIT_S = 0.001
"""Pause between two looks at a grammar that another thread compiles, when nothing else runs."""
FINISH = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class Serving(NamedTuple):
    """Options of one engine's serving.

    Attributes:
        can_sleep: its weights can be moved out of the device's memory.
        stream_from_priority: requests of at least this priority report Tokens.
    """

    engine_id: str
    max_model_len: int
    can_sleep: bool
    stream_from_priority: int


@dataclass(slots=True, eq=False)
class _Running:
    """A request inside vLLM and what it has yielded so far."""

    request: GenerationRequest
    prompt_ids: Sequence[int]
    streams: bool
    streamed: str = ""
    ids: list[int] = field(default_factory=list)
    n_output: int = 0
    pieces: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)


class VllmEngine:
    """Implements `ports.Engine`, and the calls beyond it that the engine host offers. Not thread-safe.

    Args:
        engine: with its core in this process, so that a step runs here.
        texts: renders prompts; vLLM gets token ids, the same that the other backends decode from.
        adapters: LoRA directories, loaded at once; only with an engine that has LoRA enabled.

    Raises:
        BackendError: an adapter that does not fit.
    """

    def __init__(
        self,
        engine: "LLMEngine",
        texts: Texts,
        serving: Serving,
        *,
        adapters: Sequence[str] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        self._engine: LLMEngine | None = engine
        self._texts = texts
        self._serving = serving
        self._clock = clock
        self._adapters: dict[str, LoRARequest] = {}
        self._n_adapters_ever = 0
        self._running: dict[str, _Running] = {}
        self._events: list[EngineEvent] = []
        self._sleep_level = 0
        self._n_prompt = self._n_cached = self._n_output = 0
        for folder in adapters:
            self.add_adapter(folder)

    # ── ports.Engine ──────────────────────────────────────────────────────────────────────────────

    def submit(self, request: GenerationRequest) -> None:
        engine = self._open()
        if request.id in self._running:
            raise BackendError(f"request '{request.id}' is in the engine already.", param="id")
        if self._sleep_level:
            raise BackendError(f"engine '{self._serving.engine_id}' is asleep.", remedy="Wake it first.")
        if (refused := refusal(request, "vllm", has=OF_VLLM)) is not None:
            self._events.append(refused)
            return
        try:
            self._add(engine, request)
        except (InputError, ContextExceededError) as error:
            self._events.append(Failed(request.id, error.code, error.message))

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        engine = self._open()
        deadline = self._clock() + timeout_s
        while not self._events and self._running:
            self._step(engine)
            if self._clock() >= deadline:
                break
        events, self._events = self._events, []
        return events

    def abort(self, request_id: str) -> None:
        engine = self._open()
        if self._running.pop(request_id, None) is not None:
            engine.abort_request([request_id])
            self._events.append(Failed(request_id, "aborted", "the request was aborted."))

    def close(self) -> None:
        """Stop the engine's workers, if it has any, and let go of weights and cache."""
        engine, self._engine = self._engine, None
        self._running.clear()
        self._events.clear()
        if engine is not None:
            engine.engine_core.shutdown()

    # ── beyond the port ───────────────────────────────────────────────────────────────────────────

    @property
    def sleep_levels(self) -> tuple[int, ...]:
        """Levels of `sleep`: none without the option `sleep_mode`; with adapters only 1, as 2 loses them."""
        if not self._serving.can_sleep:
            return ()
        return (1,) if self._adapters else (1, 2)

    def sleep(self, level: int = 1) -> None:
        """Free the device's memory; level 1 keeps the weights in the host's memory, 2 drops them.

        Raises:
            UnsupportedError: without the option `sleep_mode`; level 2 with adapters, which it would lose.
            BackendError: requests are running.
        """
        engine = self._open()
        if not self._serving.can_sleep:
            raise UnsupportedError("sleep needs CUDA and the option sleep_mode.", param="options.sleep_mode")
        if level not in (1, 2) or (level == 2 and self._adapters):
            raise UnsupportedError("sleep levels are 1 and, without adapters, 2.", param="level")
        if self._running:
            raise BackendError(f"{len(self._running)} requests are running.", remedy="Let them end first.")
        engine.sleep(level)
        self._sleep_level = level

    def wake(self) -> None:
        """Undo `sleep`; weights that were dropped are read again. Harmless when awake."""
        engine = self._open()
        if not self._sleep_level:
            return
        if self._sleep_level == 2:
            engine.wake_up(["weights"])
            engine.collective_rpc("reload_weights")
            engine.wake_up(["kv_cache"])
        else:
            engine.wake_up()
        self._sleep_level = 0

    def add_adapter(self, path: str) -> None:
        """Load a LoRA directory; harmless when it is loaded.

        Raises:
            UnsupportedError: the engine was loaded without room for adapters.
            BackendError: it cannot be read, or does not fit the model or the largest rank.
        """
        engine = self._open()
        if path in self._adapters:
            return
        if engine.vllm_config.lora_config is None:
            raise UnsupportedError(
                "the engine was loaded without room for adapters.",
                param="options.enable_lora",
                remedy="Set options.enable_lora.",
            )
        require_adapter(path)
        defects = adapter_defects(Path(path), None, by_vllm=True)
        if defects:
            remedy = " ".join(dict.fromkeys(defect.remedy for defect in defects))
            raise BackendError(f"{told(defects)}.", param="adapter", remedy=remedy)
        # Ids are never used twice: vLLM's caches know adapters and their prompts by them.
        self._n_adapters_ever += 1
        adapter = LoRARequest(path, self._n_adapters_ever, path)
        try:
            engine.add_lora(adapter)
        except Exception as error:  # a broken adapter raises anything
            raise BackendError(
                f"adapter '{path}' cannot be used: {one_line(error)}.",
                param="adapter",
                remedy="Give a directory with adapter_config.json and adapter_model.safetensors of a plain "
                "LoRA over this base model, of a rank within options.max_lora_rank.",
            ) from error
        self._adapters[path] = adapter

    def remove_adapter(self, path: str) -> None:
        """Forget an adapter.

        Raises:
            UnknownNameError: it is not loaded.
            BackendError: requests are using it.
        """
        engine = self._open()
        if path not in self._adapters:
            raise UnknownNameError("adapter", path, self._adapters, param="adapter")
        n_using = sum(running.request.adapter == path for running in self._running.values())
        if n_using:
            raise BackendError(f"{n_using} requests are using adapter '{path}'.", param="adapter")
        engine.remove_lora(self._adapters.pop(path).lora_int_id)

    def stats(self) -> EngineStats:
        """Counts of vLLM's scheduler now, and tokens of requests that finished since the load."""
        scheduler = self._open().engine_core.engine_core.scheduler
        n_running, n_waiting = scheduler.get_request_counts()
        return EngineStats(
            n_running=n_running,
            n_waiting=n_waiting,
            kv_cache_usage=scheduler.get_kv_cache_usage(),
            n_prompt_tokens=self._n_prompt,
            n_cached_tokens=self._n_cached,
            n_output_tokens=self._n_output,
        )

    # ── the step loop ─────────────────────────────────────────────────────────────────────────────

    def _add(self, engine: "LLMEngine", request: GenerationRequest) -> None:
        """Hand a request to vLLM.

        Raises:
            InputError: an unknown adapter, a prompt that cannot be rendered, or what vLLM refuses.
            ContextExceededError: prompt plus output do not fit.
        """
        if request.adapter is not None and request.adapter not in self._adapters:
            raise UnknownNameError("adapter", request.adapter, self._adapters, param="adapter")
        ids = self._texts.encode_request(request)
        request = fitted(request, room=self._serving.max_model_len - len(ids))
        self._require_room(len(ids), request.sampling.max_tokens)
        streams = request.priority >= self._serving.stream_from_priority
        try:
            engine.add_request(
                request.id,
                tokens_input(ids),
                sampling_params(request.sampling, streams=streams),
                lora_request=self._adapters[request.adapter] if request.adapter is not None else None,
                priority=-request.priority,  # vLLM's smaller goes first
            )
        except (ValueError, VLLMClientError) as error:
            raise InputError(f"vLLM refuses the request: {one_line(error)}.") from error
        self._running[request.id] = _Running(request, ids, streams)

    def _require_room(self, n_prompt: int, max_tokens: int) -> None:
        if n_prompt + max_tokens > self._serving.max_model_len:
            raise ContextExceededError.of(
                n_prompt=n_prompt,
                max_tokens=max_tokens,
                limit=self._serving.max_model_len,
                engine_id=self._serving.engine_id,
            )

    def _step(self, engine: "LLMEngine") -> None:
        try:
            outputs = engine.step()
        except Exception as error:  # whatever a model or a kernel raises, the engine is of no use after it
            raise EngineCrashedError(
                f"engine '{self._serving.engine_id}' broke in a step: {type(error).__name__}: "
                f"{one_line(error)}.",
                remedy="Give it less (max_model_len, max_num_seqs, kv_cache_gib) if memory ran out.",
            ) from error
        for output in outputs:
            self._take(output)
        if not outputs and not engine.engine_core.engine_core.scheduler.get_request_counts()[0]:
            time.sleep(GRAMMAR_WAIT_S)

    def _take(self, output: "RequestOutput") -> None:
        running = self._running.get(output.request_id)
        if running is None:  # aborted in the meantime
            return
        news = output.outputs[0]
        running.pieces.append(news.text)
        running.n_output += len(news.token_ids)
        running.logprobs += token_logprobs(news, running.request.sampling)
        if self._reads_tokens:
            # What ends a text is no part of it, special or not, as in vLLM's own pieces.
            is_over = news.finish_reason == "stop" and not isinstance(news.stop_reason, str)
            running.ids += news.token_ids[:-1] if is_over else news.token_ids
        if running.streams and (text := self._news(running, news.text, is_last=output.finished)):
            self._events.append(Tokens(output.request_id, text))
        if output.finished:
            del self._running[output.request_id]
            self._n_prompt += len(running.prompt_ids)
            self._n_cached += output.num_cached_tokens or 0
            self._n_output += running.n_output
            self._events.append(_end(running, news, self._said(running)))

    @property
    def _reads_tokens(self) -> bool:
        """True if an output is more than its pieces: thoughts have marks, or its tokenizer tidies blanks."""
        return self._texts.thoughts.are_marked or self._texts.tidies

    def _said(self, running: _Running) -> Said:
        """The text so far; where thoughts have marks, apart from them and as the tokens say."""
        if not self._reads_tokens:
            return Said("".join(running.pieces))
        said = self._texts.said(running.ids, after=running.prompt_ids)
        return said._replace(text=cut_at_stop(said.text, running.request.sampling.stop).text)

    def _news(self, running: _Running, piece: str, *, is_last: bool) -> str:
        """New text of a request that streams."""
        if not self._reads_tokens:
            return piece
        if is_last:
            text = self._said(running).text
        else:
            settled = self._texts.settled(running.ids, after=running.prompt_ids)
            text = held_back(settled, running.request.sampling.stop)
        if not text.startswith(running.streamed):
            return ""
        piece, running.streamed = text[len(running.streamed) :], text
        return piece

    def _open(self) -> "LLMEngine":
        if self._engine is None:
            raise EngineCrashedError(
                f"engine '{self._serving.engine_id}' is closed.", remedy="Load it again."
            )
        return self._engine


def _end(running: _Running, last: "CompletionOutput", said: Said) -> Finished | Failed:
    request_id = running.request.id
    reason = FINISH.get(str(last.finish_reason))
    if reason is None:
        return Failed(request_id, BackendError.code, f"vLLM ended the request with '{last.finish_reason}'.")
    return Finished(
        request_id,
        said.text,
        reason,
        Usage(prompt_tokens=len(running.prompt_ids), completion_tokens=running.n_output),
        tuple(running.logprobs),
        reasoning=said.reasoning,
    )


def one_line(error: Exception) -> str:
    """The error's message on one line, 500 characters at most, without a full stop; its type where it says
    nothing."""
    return " ".join(str(error).split())[:500].rstrip(".") or type(error).__name__
