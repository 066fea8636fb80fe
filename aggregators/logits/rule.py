"""The form of a fusion rule: logits of several models in, logits to sample from out.

Ours: the form that the papers' rules have in common; each rule's source is its `paper`.

Shapes: B rows, V vocabulary, E experts, N members of the role that has many. Importing a rule imports no
tensor library.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.options import Options

if TYPE_CHECKING:
    from torch import Tensor


class Fused(NamedTuple):
    """Outcome of one step.

    Attributes:
        logits: float32 [B, V]; −inf = never sampled.
        alphas: float32 [B, E], the strength that the rule chose for each expert; None = it chooses none.
        losses: float32 [B], >= 0, what that choice left over; None likewise.
    """

    logits: "Tensor"
    alphas: "Tensor | None" = None
    losses: "Tensor | None" = None


class RuleOptions(Options):
    """Base of the rules' options."""

    def strengths(self, n_members: int) -> tuple[float, ...]:
        """Strength of each member of the role that has many, where the rule has one for each; else 1 each.

        Args:
            n_members: as many as `mistake` found no fault with.
        """
        return (1.0,) * n_members

    def mistake(self, n_members: int) -> str | None:
        """Reason why these options do not fit so many members of the role that has many; None = they do."""


class Role(NamedTuple):
    """A place in a rule that one member takes, or any number of them.

    Attributes:
        name: key of its logits: [B, V], or [N, B, V] where `many`.
        synonym: another name of the key, as papers have it.
    """

    name: str
    many: bool = False
    synonym: str | None = None


class LogitRule(NamedTuple):
    """A row of the table.

    Attributes:
        fuse: float32 logits by role, and the row's options, to the fused logits. It checks nothing and
            changes nothing in place; a NaN, and nothing finite, spoil their own row only.
        options: its model of options.
        roles: in the order in which its members run.
        paper: link to where it comes from.
        blend: `fuse` with strengths of each row's own in place of the options', float32 [B, N], one for each
            of the N members of the role that has many; None = the rule has none.
    """

    fuse: Callable[[Mapping[str, "Tensor"], Any], Fused]
    options: type[RuleOptions]
    roles: tuple[Role, ...]
    paper: str
    blend: Callable[[Mapping[str, "Tensor"], Any, "Tensor"], Fused] | None = None
