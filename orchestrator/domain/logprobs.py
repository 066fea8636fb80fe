"""Log probabilities of the tokens of an output."""

from typing import NamedTuple


class TokenLogprob(NamedTuple):
    """A token's text and log probability: natural logarithm, finite."""

    token: str
    logprob: float


class TokenLogprobs(NamedTuple):
    """An output token, and the likeliest ones in its place, likeliest first."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...]
