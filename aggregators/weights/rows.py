"""Rows of the table of merge methods, and what a method is given: one tensor of every model.

Source: each row's `paper`. Shapes: S, the tensor's own, the same in every model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, TypeVar

import torch
from pydantic import Field, JsonValue
from torch import Tensor

from orchestrator.errors import MergeError
from orchestrator.options import Options, parse_options

Finite = Annotated[float, Field(allow_inf_nan=False)]
PerModel = Finite | Annotated[tuple[Finite, ...], Field(min_length=1)]
"""One number for all models, or one for each, in their order."""

ActsOn = Literal["tensor", "matrix", "adapters"]
NONE: Mapping[str, JsonValue] = MappingProxyType({})


class MergeOptions(Options):
    """Base of the options of merge methods; `lam` is `lambda` in recipes."""


OptionsT = TypeVar("OptionsT", bound=MergeOptions)


@dataclass(frozen=True)
class Tensors:
    """One tensor of every model that is merged; none is modified in place.

    Attributes:
        name: the tensor's, as checkpoints have it.
        base: theta_0, [S]; None where the method has no base.
        models: theta_i in the recipe's order, [S] each.
        dtype: computed in: float64 where an input is, else float32.
        out_dtype: of the result, which methods may leave in `dtype`.
    """

    name: str
    base: Tensor | None
    models: tuple[Tensor, ...]
    dtype: torch.dtype
    out_dtype: torch.dtype

    def base_tensor(self) -> Tensor:
        """theta_0 in `dtype`, [S]; the base itself where that is its dtype.

        Raises:
            MergeError: there is none.
        """
        return self.base_as_stored().to(self.dtype)

    def base_as_stored(self) -> Tensor:
        """theta_0, [S], in its own dtype: the base itself.

        Raises:
            MergeError: there is none.
        """
        if self.base is None:
            raise MergeError(
                f"tensor '{self.name}': the method needs a base model.",
                param="base_model",
                remedy="Name it as base_model.",
            )
        return self.base

    def task_vectors(self) -> list[Tensor]:
        """tau_i = theta_i - theta_0 in `dtype`, [S]: one new tensor per model.

        Raises:
            MergeError: there is no base.
        """
        base = self.base_tensor()
        return [model.to(self.dtype) - base for model in self.models]

    def per_model(self, option: str, value: PerModel) -> tuple[float, ...]:
        """An option's number for every model, in the recipe's order; of one number, that for each.

        Raises:
            MergeError: a list of another length than there are models.
        """
        n = len(self.models)
        if not isinstance(value, tuple):
            return (float(value),) * n
        if len(value) != n:
            raise MergeError(
                f"tensor '{self.name}': option '{option}' has {len(value)} values for {n} models.",
                param=option,
                remedy="Give one number for all models, or one for each.",
            )
        return value

    def weights(self, value: PerModel, *, may_be_negative: bool) -> tuple[float, ...]:
        """The option `weight`, one number per model.

        Raises:
            MergeError: a list of the wrong length, or a negative weight where none may be.
        """
        weights = self.per_model("weight", value)
        if not may_be_negative and min(weights) < 0:
            raise MergeError(
                f"tensor '{self.name}': weight {min(weights)} is negative.",
                param="weight",
                remedy="Set normalize: false, or give weights of at least 0.",
            )
        return weights


class MergeRow(NamedTuple):
    """A merge method.

    Attributes:
        merge: reads the options and merges one tensor, theta_0 included; rounded to `out_dtype`, or not yet.
            Raises ConfigError for wrong options, MergeError for those that do not fit the models.
        options: what it can be told, with defaults.
        paper: link to the source.
        needs_base: it works on differences from a base model.
        acts_on: `tensor` = every tensor alike; `matrix` = matrices by their singular vectors, other tensors
            plainly; `adapters` = what it makes is kept as LoRA factors or in a form of its own.
        takes_products: the products s·BA of adapters may stand in place of task vectors.
        least: models beside the base, at least.
        most: and at most; None = any number.
        recipe_defaults: of a mergekit recipe, where they are not those of `options`.
    """

    merge: Callable[[Tensors, Mapping[str, JsonValue]], Tensor]
    options: type[MergeOptions]
    paper: str
    needs_base: bool = True
    acts_on: ActsOn = "tensor"
    takes_products: bool = True
    least: int = 1
    most: int | None = None
    recipe_defaults: Mapping[str, JsonValue] = NONE


def merge_row(
    name: str,
    options: type[OptionsT],
    merge: Callable[[Tensors, OptionsT], Tensor],
    paper: str,
    *,
    needs_base: bool = True,
    acts_on: ActsOn = "tensor",
    takes_products: bool = True,
    most: int | None = None,
    recipe_defaults: Mapping[str, JsonValue] = NONE,
) -> MergeRow:
    """The row of a method that reads its options by `options`; the other arguments: as in `MergeRow`.

    Args:
        name: of the method, for errors.
        most: models beside the base, at most; None = any number.
    """

    def parsed(tensors: Tensors, params: Mapping[str, JsonValue]) -> Tensor:
        return merge(tensors, parse_options(f"merge method '{name}'", options, params))

    return MergeRow(
        parsed,
        options,
        paper,
        needs_base=needs_base,
        acts_on=acts_on,
        takes_products=takes_products,
        most=most,
        recipe_defaults=recipe_defaults,
    )
