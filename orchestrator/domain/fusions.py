"""Traces of fusions: what a rule chose at each token of a response, and what that cost."""

from typing import Annotated

from pydantic import Field

from orchestrator.domain.values import Value

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""JSON, in which traces travel and are kept, knows no others."""


class FusionStep(Value):
    """One token of a response.

    Attributes:
        alpha: strength of the expert, or of each where there are several; None = the rule chooses none.
        loss: what that choice left over; None likewise, or it is too large to be told.
    """

    token_id: int
    alpha: Finite | tuple[Finite, ...] | None = None
    loss: Finite | None = None


class FusionTrace(Value):
    """Account of a fusion: how it came to a response.

    Attributes:
        steps: one per token, the last (the end of the text) included; empty unless a trace was asked for.
        passes: forward passes by member (`large`, `experts[0]`, `base`, …): one reads the prompt, each later
            one a token; where a scheduler laid requests aside, also those of which no token came. 0 = the
            member's logits are another one's, to which it is equal.
        seconds: from its admission to the engine until its end, on the wall.
    """

    rule: str
    steps: tuple[FusionStep, ...] = ()
    passes: dict[str, int] = Field(default_factory=dict)
    seconds: Finite = 0.0
