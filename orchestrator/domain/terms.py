"""Terms: what a request says of how its question is to be answered."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from pydantic import Field, JsonValue, model_validator

from orchestrator.domain.features import Feature
from orchestrator.domain.tools import ToolUse
from orchestrator.domain.values import Value


class StructuredOutput(Value):
    """Form of an output; exactly one is set: one of the texts `choice`, a text that `regex` matches
    as a whole, or JSON of a schema. `name` and `strict` of a schema are for engines that ask for them."""

    choice: tuple[str, ...] = ()
    regex: str | None = None
    json_schema: dict[str, JsonValue] | None = None
    name: str = "answer"
    strict: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [bool(self.choice), self.regex is not None, self.json_schema is not None].count(True) != 1:
            raise ValueError("set exactly one of choice, regex and json_schema")
        return self


ANY_OBJECT: Mapping[str, JsonValue] = {"type": "object"}
"""Schema of an output that may be any JSON object."""


class SamplingExtras(Value):
    """Further parameters of sampling, which some engines have. None = it says nothing.

    Args:
        top_k: number of the likeliest tokens that are drawn from; `min_p`: least probability of these, as a
            share of the likeliest one's.
        frequency_penalty, presence_penalty: taken off the logit of a token for each time, or once, that the
            output has it.
        repetition_penalty: > 1 makes tokens of the prompt and the output less likely.
        logit_bias: added to logits; pairs of token id and bias.
    """

    top_k: int | None = Field(default=None, ge=1)
    min_p: float | None = Field(default=None, gt=0, le=1)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    logit_bias: tuple[tuple[int, float], ...] = ()

    @property
    def features(self) -> frozenset[Feature]:
        """Features that these parameters need."""
        return frozenset(Feature(name) for name, value in self if value not in (None, ()))


MOST_SESSION_CHARS = 512

LONGEST = -1
"""`max_tokens` of a response that is to be as long as fits."""


class Shape(NamedTuple):
    """Terms that choose a composition and its parts; all others concern single calls.

    Attributes:
        composition: name on the books; None = the job's.
        router: of the router table; `k`: recruits. None = the composition's own.
    """

    composition: str | None = None
    router: str | None = None
    k: int | None = None


class Terms(Value):
    """Terms of an answer. What is not said (None, empty, False) is the job's, or the composition's or pool's.

    Args:
        composition: name on the books of the composition that answers.
        router: of the router table, in place of the composition's; `k`: recruits.
        experts: who may be asked; none = everybody whom the composition may ask.
        seed: of what is drawn for the question.
        max_tokens: of each expert's response, or `LONGEST`; never more than the expert's own limit.
        temperature, top_p, stop, extras: of the experts' sampling, as in `Sampling`.
        logprobs: of the answer's tokens and of so many likeliest ones in the place of each.
        reasoning_effort: how much an expert is to think, where it has such a thing.
        structured_output: form of the experts' responses, and of the answer.
        tools: that the answer may call.
        max_cost_usd, max_seconds: of the experts' calls, as their cards have them: USD of all of them
            together, seconds of the slowest.
        trace: fusions are to say what they chose at each token.
        raw: the question is the whole prompt, which is read as it is: without a chat template, and with what
            the tokenizer takes for control strings.
        session: the conversation that the question is a turn of, by its owner's name for it.
    """

    composition: str | None = None
    router: str | None = None
    k: int | None = Field(default=None, ge=1)
    experts: tuple[str, ...] = ()
    seed: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    extras: SamplingExtras | None = None
    logprobs: int | None = None
    reasoning_effort: str | None = None
    structured_output: StructuredOutput | None = None
    tools: ToolUse | None = None
    max_cost_usd: float | None = None
    max_seconds: float | None = None
    trace: bool = False
    raw: bool = False
    session: str | None = Field(default=None, min_length=1, max_length=MOST_SESSION_CHARS)

    @property
    def needs(self) -> frozenset[Feature]:
        """Features without which an expert cannot answer on these terms."""
        wanted = {
            Feature.LOGPROBS: self.logprobs,
            Feature.TOOLS: self.tools,
            Feature.PROMPT: self.raw or None,
        }
        found = frozenset(feature for feature, value in wanted.items() if value is not None)
        return found if self.extras is None else found | self.extras.features

    @property
    def said(self) -> dict[str, Any]:
        """The terms that are given, by name."""
        given = self.model_fields_set  # of a line of a batch mostly nothing
        values = {name: getattr(self, name) for name in _FIELDS if name in given} if given else {}
        return {n: v for n, v in values.items() if v is not None and v is not False and v != ()}

    @property
    def shape(self) -> Shape:
        """The terms that choose a composition and its parts; queries of one shape are stepped together."""
        return Shape(self.composition, self.router, self.k)


_FIELDS = tuple(Terms.model_fields)
NO_TERMS = Terms()
