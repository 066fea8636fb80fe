"""A deterministic backend without weights: for tests, fault runs and dry runs of a pool.

What it replies, and how it misbehaves, stands in the engine's `options`.
"""

import hashlib
import heapq
import itertools
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, JsonValue

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.logprobs import TokenLogprob, TokenLogprobs
from orchestrator.domain.tools import ToolCall
from orchestrator.domain.values import content_hash
from orchestrator.errors import BackendError, ContextExceededError, EngineCrashedError, EngineLoadError
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import (
    Engine,
    EngineEvent,
    EngineMemory,
    Failed,
    Finished,
    GenerationRequest,
    Tokens,
)
from orchestrator.prompts import without_fence
from workers.backends.features import OF_SCRIPTED
from workers.backends.options import Options, read_options
from workers.backends.refusal import fitted, refusal
from workers.backends.scripted_log import EventLog
from workers.backends.scripted_memory import Bed, ScriptedMemory
from workers.backends.stop_strings import cut_at_stop

_TOKEN = re.compile(r"\s*\S+|\s+\Z")
_HASH_CHARS = 16

Sleep = Callable[[float], None]


class ScriptedCall(Options):
    """A call of a tool that a rule makes; `arguments` may be given as JSON or as text."""

    name: str
    arguments: dict[str, JsonValue] | str = ""

    def made(self, call_id: str) -> ToolCall:
        """The call as an answer holds it, its arguments as text. Args: call_id: unique within the answer."""
        given = self.arguments
        text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        return ToolCall(id=call_id, name=self.name, arguments=text)


class Rule(Options):
    """Treatment of requests whose last message matches. The first rule that applies wins.

    Args:
        match: text that the message contains.
        regex: pattern found in the message.
        adapter: only requests of this adapter.
        times: the rule applies to the first n matching requests only. With `log`, the count
            outlives the process.
        reply: the text, instead of the engine's own.
        fail: end in Failed with this error code.
        hang: never answer.
        tool_calls: tools that are called, if the request offers them; `reply` is the text beside.
        reasoning: what was thought before, told apart from the text.
        truncate: cut the text after n words, as if max_tokens had been reached.
        delay_s: answer this much later.
        crash: the engine dies (EngineCrashedError).
        exit_code: the whole process exits with it, with no clean-up, as after a kill.
    """

    match: str | None = None
    regex: re.Pattern[str] | None = None
    adapter: str | None = None
    times: int | None = Field(default=None, ge=1)
    reply: str | None = None
    tool_calls: tuple[ScriptedCall, ...] = ()
    reasoning: str = ""
    fail: str | None = None
    hang: bool = False
    truncate: int | None = Field(default=None, ge=0)
    delay_s: float = Field(default=0.0, ge=0)
    crash: bool = False
    exit_code: int | None = Field(default=None, ge=0, le=255)

    def applies(self, request: GenerationRequest) -> bool:
        """True if `match`, `regex` and `adapter` all apply to the last message; `times` is not looked at."""
        text = request.messages[-1].content
        return (
            (self.match is None or self.match in text)
            and (self.regex is None or self.regex.search(text) is not None)
            and (self.adapter is None or self.adapter == request.adapter)
        )


NO_RULE = Rule()


class ScriptedOptions(Options):
    """`options` of an engine with backend `scripted`.

    Args:
        answers: replies by question: the exact last message, a line of it, or the
            `domain.values.content_hash` of the last message.
        rules: exceptions, first match wins.
        default: reply where `answers` has none: `answer` = "answer-<hash>", which depends on engine,
            adapter, prompt and (with a temperature) seed; `echo` = the last message.
        accuracy: share of `answers` that are given; the others become `wrong` replies. The choice is
            a fixed function of `seed`, engine, adapter, prompt (but for its fence) and sampling.
        wrong: replies to choose from when wrong; without any, "answer-<hash>".
        load_s: how long loading takes.
        fail_load: loading fails with this reason.
        tokens_per_s: speed of one request; None = at once.
        memory: what it says that it takes, and its sleep.
        log: file that gets one JSON line per load, sleep, wake, rule used and generation finished.
    """

    answers: dict[str, str] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    default: Literal["answer", "echo"] = "answer"
    accuracy: float = Field(default=1.0, ge=0, le=1)
    wrong: tuple[str, ...] = ()
    seed: int = 0
    load_s: float = Field(default=0.0, ge=0)
    fail_load: str | None = None
    tokens_per_s: float | None = Field(default=None, gt=0)
    memory: ScriptedMemory = Field(default_factory=ScriptedMemory)
    log: Path | None = None


class ScriptedBackend:
    """Implements `ports.Backend`."""

    def __init__(self, *, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> None:
        self._clock = clock
        self._sleep = sleep

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        """Read the script.

        Raises:
            EngineLoadError: invalid options, or `fail_load`.
        """
        options = read_options(ScriptedOptions, spec)
        if options.load_s:
            self._sleep(options.load_s)
        if options.fail_load is not None:
            raise EngineLoadError(
                f"engine '{spec.id}': {options.fail_load}.",
                param="options.fail_load",
                remedy="The script asks for this; remove fail_load.",
                is_lasting=True,
            )
        log = EventLog(options.log, spec.id)
        log.write(event="load")
        return ScriptedEngine(spec, options, adapters, log=log, clock=self._clock, sleep=self._sleep)


class _Due(NamedTuple):
    """A scheduled event; order: time, then larger priority, then submission."""

    at: float
    minus_priority: int
    number: int
    event: EngineEvent | Rule  # a rule: the engine breaks down as it says


class ScriptedEngine:
    """Implements `ports.Engine`. Requests run side by side, each at `tokens_per_s`."""

    def __init__(
        self,
        spec: EngineSpec,
        options: ScriptedOptions,
        adapters: Sequence[str],
        *,
        log: EventLog,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self._spec = spec
        self._options = options
        self._has_hashes = any(len(key) == _HASH_CHARS for key in options.answers)
        self._adapters = frozenset(adapters)
        self._log = log
        self._clock = clock
        self._sleep = sleep
        self._due: list[_Due] = []
        self._requests: dict[str, GenerationRequest] = {}
        self._rule_uses = log.rule_uses()
        self._numbers = itertools.count()
        self._dead: str | None = None
        self._bed = Bed(spec.id, options.memory, sleep=sleep)
        self._has_worked = False

    # ── memory ────────────────────────────────────────────────────────────────────────────────────

    def weigh(self) -> EngineMemory | None:
        return self._bed.weigh(has_worked=self._has_worked)

    @property
    def sleep_levels(self) -> tuple[int, ...]:
        return self._bed.levels

    def sleep(self, level: int = 1) -> None:
        self._require_alive()
        self._bed.lie_down(level, n_running=len(self._requests))
        self._log.write(event="sleep", level=level)

    def wake(self) -> None:
        self._require_alive()
        self._bed.get_up()
        self._log.write(event="wake")

    # ── ports.Engine ──────────────────────────────────────────────────────────────────────────────

    def submit(self, request: GenerationRequest) -> None:
        self._require_alive()
        if request.id in self._requests:
            raise BackendError(f"request '{request.id}' is in the engine already.", param="id")
        if self._bed.is_asleep:
            raise BackendError(f"engine '{self._spec.id}' is asleep.", remedy="Wake it first.")
        self._has_worked = True
        self._requests[request.id] = request
        rule = self._rule(request)
        if not rule.hang:
            self._schedule(request, rule)

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        self._require_alive()
        if self._requests:
            self._wait(timeout_s)
        events: list[EngineEvent] = []
        now = self._clock()
        while self._due and self._due[0].at <= now:
            event = self._due[0].event
            if isinstance(event, Rule):
                if events:  # what was finished before is still reported
                    break
                self._break_down(event)
            else:
                heapq.heappop(self._due)
                self._record(event)
                events.append(event)
        return events

    def abort(self, request_id: str) -> None:
        request = self._requests.get(request_id)
        if request is None:
            return
        self._due = [due for due in self._due if isinstance(due.event, Rule) or due.event.id != request_id]
        heapq.heapify(self._due)
        self._push(self._clock(), request, Failed(request_id, "aborted", "the request was aborted."))

    def close(self) -> None:
        self._dead = self._dead or "closed"
        self._due.clear()
        self._requests.clear()

    def _require_alive(self) -> None:
        if self._dead is not None:
            raise EngineCrashedError(f"engine '{self._spec.id}' is {self._dead}.", remedy="Load it again.")

    def _rule(self, request: GenerationRequest) -> Rule:
        """The rule in force for a request; an empty one if none applies."""
        for number, rule in enumerate(self._options.rules):
            spent = rule.times is not None and self._rule_uses[number] >= rule.times
            if not spent and rule.applies(request):
                self._rule_uses[number] += 1
                self._log.write(event="rule", rule=number, request=request.id)
                return rule
        return NO_RULE

    def _schedule(self, request: GenerationRequest, rule: Rule) -> None:
        # Requests without any delay are due "always", so that priority alone orders them.
        speed = self._options.tokens_per_s
        start = self._clock() + rule.delay_s if rule.delay_s or speed else 0.0
        if rule.crash or rule.exit_code is not None:
            self._push(start, request, rule)
            return
        outcome = self._outcome(request, rule)
        n_tokens = 0
        if isinstance(outcome, Finished):
            n_tokens = outcome.usage.completion_tokens
            if request.priority >= INTERACTIVE:
                for n_words, piece in enumerate(_pieces(outcome.text), start=1):
                    self._push(
                        start + (n_words / speed if speed else 0.0), request, Tokens(request.id, piece)
                    )
        self._push(start + (n_tokens / speed if speed else 0.0), request, outcome)

    def _push(self, at: float, request: GenerationRequest, event: EngineEvent | Rule) -> None:
        heapq.heappush(self._due, _Due(at, -request.priority, next(self._numbers), event))

    def due_s(self) -> float | None:
        return self._until_next_s if self._sleep is time.sleep else None

    @property
    def _until_next_s(self) -> float:
        return max(0.0, self._due[0].at - self._clock()) if self._due else math.inf

    def _wait(self, timeout_s: float) -> None:
        """Sleep until the next event, `timeout_s` at most."""
        wait_s = min(self._until_next_s, timeout_s)
        if wait_s > 0:
            self._sleep(wait_s)

    def _record(self, event: EngineEvent) -> None:
        if isinstance(event, Tokens):
            return
        request = self._requests.pop(event.id)
        if isinstance(event, Finished) and self._log.is_kept:
            self._log.write(
                event="generation",
                request=event.id,
                adapter=request.adapter,
                prompt=content_hash(without_fence(request.messages[-1].content)),
            )

    def _break_down(self, rule: Rule) -> None:
        if rule.exit_code is not None:
            os._exit(rule.exit_code)
        self._dead = "crashed, as its script asks"
        self._require_alive()

    def _outcome(self, request: GenerationRequest, rule: Rule) -> Finished | Failed:
        if rule.fail is not None:
            return Failed(request.id, rule.fail, "the script asks for this failure.")
        if (refused := refusal(request, "scripted", has=OF_SCRIPTED)) is not None:
            return refused
        if request.adapter is not None and request.adapter not in self._adapters:
            return Failed(request.id, "unknown_name", f"unknown adapter '{request.adapter}'.")
        n_prompt = sum(len(message.content.split()) for message in request.messages)
        request = fitted(request, room=self._spec.max_model_len - n_prompt)
        if n_prompt + request.sampling.max_tokens > self._spec.max_model_len:
            error = ContextExceededError.of(
                n_prompt=n_prompt,
                max_tokens=request.sampling.max_tokens,
                limit=self._spec.max_model_len,
                engine_id=self._spec.id,
            )
            return Failed(request.id, error.code, str(error))
        calls = _tool_calls(request, rule)
        if rule.reply is not None or calls:
            text = rule.reply or ""
        else:
            text = self._reply(request)
        finished = _finished(request, text, n_prompt=n_prompt, truncate=rule.truncate)
        if calls:
            finished = finished._replace(tool_calls=calls, finish_reason=FinishReason.TOOL_CALLS)
        return finished._replace(reasoning=rule.reasoning) if rule.reasoning else finished

    def _reply(self, request: GenerationRequest) -> str:
        question = without_fence(request.messages[-1].content)
        answer = _lookup(self._options.answers, question, hashed=self._has_hashes)
        if answer is None:
            return question if self._options.default == "echo" else f"answer-{self._digest(request)[:12]}"
        digest = self._digest(request)
        if int(digest[:8], 16) / 16**8 < self._options.accuracy:
            return answer
        wrong = [text for text in self._options.wrong if text != answer]
        return wrong[int(digest[8:16], 16) % len(wrong)] if wrong else f"answer-{digest[:12]}"

    def _digest(self, request: GenerationRequest) -> str:
        """Hex digits that depend on everything a real reply would depend on."""
        sampling = request.sampling
        parts = [
            str(self._options.seed),
            self._spec.id,
            request.adapter or "",
            str(sampling.seed) if sampling.temperature > 0 else "greedy",
            *(without_fence(message.content) for message in request.messages),
        ]
        return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _lookup(answers: dict[str, str], question: str, *, hashed: bool) -> str | None:
    """`hashed`: whether answers may be found by the hash of their question."""
    if not answers:
        return None
    hashes = (content_hash(question),) if hashed else ()
    keys: Iterator[str] = itertools.chain((question,), hashes, question.splitlines())
    return next((answers[key] for key in keys if key in answers), None)


def _pieces(text: str) -> list[str]:
    """Words with the blanks before them; joined they give the text."""
    return _TOKEN.findall(text)


def _finished(request: GenerationRequest, text: str, *, n_prompt: int, truncate: int | None) -> Finished:
    """A reply as a model would end it: a token is a word; stop strings, then the length limit."""
    sampling = request.sampling
    text = cut_at_stop(text, sampling.stop).text
    limit = sampling.max_tokens if truncate is None else min(truncate, sampling.max_tokens)
    n_words = len(text.split())
    reason = FinishReason.STOP
    if n_words > limit:
        text, n_words, reason = "".join(_pieces(text)[:limit]), limit, FinishReason.LENGTH
    usage = Usage(prompt_tokens=n_prompt, completion_tokens=n_words)
    logprobs = () if sampling.logprobs is None else tuple(map(_certain, _pieces(text)))
    return Finished(request.id, text, reason, usage, logprobs)


def _certain(piece: str) -> TokenLogprobs:
    """A word that nothing else could have been."""
    token = TokenLogprob(piece, 0.0)
    return TokenLogprobs(token, (token,))


def _tool_calls(request: GenerationRequest, rule: Rule) -> tuple[ToolCall, ...]:
    """Calls of a rule, of tools that the request offers; their ids are the same in every run."""
    use = request.sampling.tools
    if use is None or not rule.tool_calls:
        return ()
    offered = {tool.name for tool in use.tools}
    calls = [call for call in rule.tool_calls if call.name in offered]
    known = content_hash([without_fence(message.content) for message in request.messages])
    return tuple(call.made(f"call_{known}{place}") for place, call in enumerate(calls))
