"""`average`: the mean of the models' distributions, of their logarithms or of the probabilities themselves.

`log`: sum_i w_i log p_i, normalised again (a product of experts, Hinton 2002); `prob`: log sum_i w_i p_i (a
mixture). A token that one model bans (−inf) is banned by `log` and not by `prob`. Ours: weights of each row's
own.

Shapes: B rows, V vocabulary, M models.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from aggregators.logits.rule import Fused, LogitRule, Role, RuleOptions

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-6
"""How far weights may be from a sum of 1."""


class AverageOptions(RuleOptions):
    """Options of `average`.

    Args:
        weights: of each model, >= 0, summing to 1; None = equal ones.
        mean: `log` (geometric) or `prob` (arithmetic).
    """

    weights: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    mean: Literal["log", "prob"] = "log"

    @field_validator("weights")
    @classmethod
    def _on_the_simplex(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None and abs(sum(weights) - 1) > ROUNDING:
            raise ValueError(f"weights sum to {sum(weights):g}, not to 1")
        return weights

    def strengths(self, n_members: int) -> tuple[float, ...]:
        return self.weights or (1 / n_members,) * n_members

    def mistake(self, n_members: int) -> str | None:
        if self.weights is None or len(self.weights) == n_members:
            return None
        return f"weights has {len(self.weights)} numbers for {n_members} models"


def fuse_average(logits: Mapping[str, "Tensor"], options: AverageOptions) -> Fused:
    """Fused logits: log probabilities, [B, V].

    Args:
        logits: `models`, float32 [M, B, V]; those of weight 0 are not read.
    """
    models = logits["models"]
    weights = models.new_tensor(options.strengths(len(models)))
    used = weights > 0
    logs, shares = models[used].log_softmax(-1), weights[used][:, None, None]
    if options.mean == "prob":
        return Fused((logs + shares.log()).logsumexp(0))
    return Fused((logs * shares).sum(0).log_softmax(-1))


def blend_average(logits: Mapping[str, "Tensor"], options: AverageOptions, weights: "Tensor") -> Fused:
    """Fused logits at weights of each row's own, which sum to 1.

    Args:
        logits: as `fuse_average`.
        weights: float32 [B, M], >= 0; a model's −inf counts only in rows where it has weight.
    """
    logs, shares = logits["models"].log_softmax(-1), weights.T[:, :, None]
    if options.mean == "prob":
        return Fused((logs + shares.log()).logsumexp(0))
    return Fused((logs * shares).masked_fill(shares == 0, 0.0).sum(0).log_softmax(-1))


AVERAGE = LogitRule(
    fuse=fuse_average,
    options=AverageOptions,
    roles=(Role("models", many=True),),
    paper="https://doi.org/10.1162/089976602760128018",
    blend=blend_average,
)
