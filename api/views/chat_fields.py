"""Fields of a chat request that are refused, and those that are ignored because they change no answer."""

from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches
from typing import Literal, NamedTuple

from api.errors import SHOWN_FIELDS, UnsupportedParameterError
from api.schemas.chat_request import ChatRequest
from orchestrator.domain.experts import Expert
from orchestrator.domain.features import Feature

Unknown = Literal["refuse", "ignore"]
SHOWN_CHARS = 64
MOST_NAMED = 32
"""Ignored fields that a response names."""


class Refusal(NamedTuple):
    """A value of OpenAI's API that is refused rather than ignored."""

    param: str
    applies: Callable[[ChatRequest], bool]
    message: str


REFUSALS = (
    Refusal(
        "stream_options",
        lambda r: r.stream_options is not None and not r.stream,
        "options of a stream that is not asked for. Set `stream` or leave them out",
    ),
    Refusal(
        "modalities",
        lambda r: r.modalities not in (None, [], ["text"]),
        "text only. Leave it out",
    ),
    Refusal("audio", lambda r: r.audio is not None, "text only. Leave it out"),
    Refusal(
        "top_logprobs",
        lambda r: bool(r.top_logprobs) and not r.logprobs,
        "needs `logprobs: true`",
    ),
    Refusal(
        "tool_choice",
        lambda r: r.tool_choice not in (None, "none", "auto") and not r.tools,
        "there are no tools to choose from. Send `tools` or leave it out",
    ),
    Refusal(
        "function_call",
        lambda r: r.function_call not in (None, "none", "auto") and not r.functions,
        "there are no functions to call. Send `functions` or leave it out",
    ),
    Refusal("functions", lambda r: bool(r.functions and r.tools), "the older name of `tools`. Send one"),
    Refusal(
        "response_format.json_schema",
        lambda r: (
            r.response_format is not None
            and r.response_format.type == "json_schema"
            and (r.response_format.json_schema is None or r.response_format.json_schema.schema_ is None)
        ),
        'a schema is missing: {"name": ..., "schema": {...}}',
    ),
)

_IDLE = (
    *("service_tier", "prompt_cache_key", "safety_identifier", "user"),
    *("metadata", "prediction", "verbosity"),
)
"""Fields that cannot change an answer here."""
_NEUTRAL: tuple[object, ...] = ("auto", "default", {}, "")


def require_known(request: ChatRequest, *, unknown: Unknown) -> None:
    """Refuse fields without which the answer would be another.

    Raises:
        UnsupportedParameterError: fields that Muster does not know, or cannot honour; the first
            `SHOWN_FIELDS` are named, the others counted.
    """
    faults = [(r.param, r.message) for r in REFUSALS if r.applies(request)]
    faults += _unknown(request, unknown)
    if not faults:
        return
    told = "; ".join(f"{param}: {message}" for param, message in faults[:SHOWN_FIELDS])
    more = f"; and {len(faults) - SHOWN_FIELDS} more" if len(faults) > SHOWN_FIELDS else ""
    raise UnsupportedParameterError(f"{told}{more}.", param=faults[0][0])


def _unknown(request: ChatRequest, unknown: Unknown) -> list[tuple[str, str]]:
    """Fields that nobody knows, with what is wrong; where they may be ignored, only likely slips."""
    known = list(ChatRequest.model_fields)
    faults = []
    for name, value in (request.model_extra or {}).items():
        near = get_close_matches(name[:SHOWN_CHARS], known, n=1, cutoff=0.85)
        if value is None or (unknown == "ignore" and not near):
            continue
        hint = f". Did you mean '{near[0]}'?" if near else ""
        faults.append((_shown(name), f"unknown field{hint}"))
    return faults


def ignored_fields(request: ChatRequest, experts: Collection[Expert] = ()) -> tuple[str, ...]:
    """Fields that had something to say and were ignored, sorted; `messages.KEY` where it was a message's.

    Args:
        experts: that may be asked.
    """
    return tuple(sorted(set(_ignored(request, experts)))[:MOST_NAMED])


def _ignored(request: ChatRequest, experts: Collection[Expert]) -> Iterator[str]:
    for name in _IDLE:
        value = getattr(request, name)
        if value is not None and value not in _NEUTRAL:
            yield name
    if request.store:
        yield "store"
    if request.stream_options is not None and request.stream_options.include_obfuscation:
        yield "stream_options.include_obfuscation"
    thinks = any(Feature.REASONING_EFFORT in expert.features for expert in experts)
    if request.reasoning_effort is not None and not thinks:
        yield "reasoning_effort"
    yield from (_shown(name) for name, value in (request.model_extra or {}).items() if value is not None)
    for message in request.messages:
        yield from (f"messages.{_shown(name)}" for name in message.model_extra or {})


def _shown(name: str) -> str:
    return name if len(name) <= SHOWN_CHARS else f"{name[:SHOWN_CHARS]}…"
