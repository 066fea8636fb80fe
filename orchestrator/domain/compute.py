"""Compute of forward passes, in floating-point operations: the cost of a response on whatever machine."""

from collections.abc import Iterable

from pydantic import Field

from orchestrator.domain.values import Value

GIGA = 1e9


class PassCost(Value):
    """Size of one model, as far as its forward passes depend on it.

    A multiply and an add are two operations. Per token that is read, 2 for each parameter that is no
    embedding, and 4 for each layer, unit of attention width and position attended to (queries times keys,
    weights times values); per token that is written, 2 for each parameter of the output head. This is
    Kaplan et al. 2020, arXiv:2001.08361, section 2.1 and table 1. Where we differ: a position attends to
    itself and those before it only, and the head counts where a token is written, whether it is tied to the
    embedding or not.

    Args:
        body: parameters but for embedding and output head; of experts in a mixture, those a token meets.
        head: parameters of the output head.
        n_layers: attention layers; 0 = the attention is left out.
        attention_width: heads times their width.
    """

    body: int = Field(ge=0)
    head: int = Field(default=0, ge=0)
    n_layers: int = Field(default=0, ge=0)
    attention_width: int = Field(default=0, ge=0)

    def flop(self, *, prompt_tokens: int, completion_tokens: int) -> float:
        """Operations of one response: the prompt is read once, and each written token but the last is read.

        Nothing is saved by prefixes that an engine had cached: equal questions cost the same everywhere.
        """
        n_read = prompt_tokens + max(completion_tokens - 1, 0)
        n_attended = n_read * (n_read + 1) // 2
        attention = 4 * self.n_layers * self.attention_width * n_attended
        return float(2 * self.body * n_read + 2 * self.head * completion_tokens + attention)


def total_flop(members: Iterable[PassCost], *, prompt_tokens: int, completion_tokens: int) -> float:
    """Operations of a response that several models wrote together: each reads the prompt, and every token."""
    return sum(
        cost.flop(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens) for cost in members
    )
