"""Terms: what a request says of how its question is to be answered."""

from typing import Any, NamedTuple, Self

from pydantic import Field, JsonValue, model_validator

from orchestrator.domain.values import Value


class StructuredOutput(Value):
    """Form of an output; exactly one is set: one of the texts `choice`, a text that `regex` matches
    as a whole, or JSON of a schema."""

    choice: tuple[str, ...] = ()
    regex: str | None = None
    json_schema: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [bool(self.choice), self.regex is not None, self.json_schema is not None].count(True) != 1:
            raise ValueError("set exactly one of choice, regex and json_schema")
        return self


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
        max_tokens: of each expert's response; never more than the expert's own limit.
        temperature, top_p, stop: of the experts' sampling, as in `Sampling`.
        structured_output: form of the experts' responses, and of the answer.
        trace: fusions are to say what they chose at each token.
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
    structured_output: StructuredOutput | None = None
    trace: bool = False

    @property
    def said(self) -> dict[str, Any]:
        """The terms that are given, by name."""
        values = {name: getattr(self, name) for name in Terms.model_fields}
        return {n: v for n, v in values.items() if v is not None and v is not False and v != ()}

    @property
    def shape(self) -> Shape:
        return Shape(self.composition, self.router, self.k)


NO_TERMS = Terms()
