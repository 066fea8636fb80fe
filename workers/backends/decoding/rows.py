"""A request inside the engine, and the queue of those that wait for a place in the batch."""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from orchestrator.domain.assignments import BATCH, Sampling
from orchestrator.domain.logprobs import TokenLogprobs
from orchestrator.ports.engines import GenerationRequest

RESERVED_SHARE = 16
SORT_WINDOW = 1024
"""Requests are sorted by length among this many neighbours, so that a long one is not overtaken for ever."""


class Step(NamedTuple):
    """Choice of a fusion rule at one token; None = its rule chooses nothing."""

    alphas: tuple[float, ...] | None
    loss: float | None


@dataclass(slots=True, eq=False)
class Row:
    """One unfinished request.

    Attributes:
        adapter: 0 = base weights, n = the engine's n-th adapter.
        streamed: text already sent as Tokens; kept when the request is decoded anew.
        others: prompts of further sequences, where the engine is a fusion.
        steps: alphas and loss of each token so far, if the request wants a trace; `logprobs` likewise.
        strengths: of a fusion's members, in place of its options'; None = these.
        began_at: when it was admitted, on the engine's clock.
    """

    request: GenerationRequest
    prompt_ids: list[int]
    adapter: int = 0
    streams: bool = False
    streamed: str = ""
    uniforms: Iterator[float] = field(default_factory=lambda: iter(()))
    others: tuple[list[int], ...] = ()
    steps: list[Step] = field(default_factory=list)
    strengths: tuple[float, ...] | None = None
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    began_at: float = 0.0

    @property
    def sampling(self) -> Sampling:
        """Sampling of its request; `max_tokens` is lowered to what the context leaves beside the prompt."""
        return self.request.sampling

    @property
    def n_final(self) -> int:
        """Tokens of the longest prompt and the longest allowed output."""
        return max(map(len, self.prompts)) + self.sampling.max_tokens

    @property
    def prompts(self) -> tuple[list[int], ...]:
        """Token ids of each of its sequences, its own prompt first."""
        return (self.prompt_ids, *self.others)

    def restart(self, now: float = 0.0) -> None:
        """Rewind the random draws: the row will be decoded from its prompt. Args: now: seconds."""
        self.uniforms = uniforms(self.sampling.seed)
        self.steps = []
        self.logprobs = []
        self.began_at = now


def uniforms(seed: int) -> Iterator[float]:
    """Endless draws from U[0, 1), the same for the same seed whatever else the batch holds."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    while True:
        yield from torch.rand(64, generator=generator).tolist()


class Limits(NamedTuple):
    """Capacity of a batch: rows, and rows times its longest final length in tokens."""

    rows: int
    tokens: int

    def fit(self, n_rows: int, widest: int) -> bool:
        """True if so many rows are within both limits. Args: widest: longest final length of them, in
        tokens."""
        return n_rows <= self.rows and n_rows * widest <= self.tokens

    @property
    def for_batch(self) -> "Limits":
        """Room for batch work: the rest, a sixteenth at most, is for those that are waited for."""
        rows = self.rows - self.rows // RESERVED_SHARE
        return Limits(rows, self.tokens * rows // self.rows)

    def halved(self) -> "Limits":
        """Half of both, at least 1 each."""
        return Limits(max(1, self.rows // 2), max(1, self.tokens // 2))


class _Place(NamedTuple):
    minus_priority: int
    window: int
    n_tokens: int
    number: int


class WaitingRows:
    """Waiting rows: larger priority first, then similar lengths together, then first come."""

    def __init__(self) -> None:
        self._rows: list[tuple[_Place, Row]] = []
        self._n_pushed = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def top_priority(self) -> int:
        """Priority of the first row. One must wait."""
        return self._rows[0][1].request.priority

    def push(self, row: Row) -> None:
        """Add a row behind those of its priority, its window of arrivals and its length."""
        place = _Place(
            -row.request.priority, self._n_pushed // SORT_WINDOW, len(row.prompt_ids), self._n_pushed
        )
        insort(self._rows, (place, row), key=lambda entry: entry[0])
        self._n_pushed += 1

    def count_fitting(self, limits: Limits, *, n_running: int, widest: int) -> int:
        """Number of the first rows that may join `n_running` rows whose longest final length is `widest`.

        A lone row always fits: a limit must not block a request for ever.
        """
        for taken, (_, row) in enumerate(self._rows):
            widest = max(widest, row.n_final)
            n_rows = n_running + taken + 1
            open_to = limits if row.request.priority > BATCH else limits.for_batch
            if n_rows > 1 and not open_to.fit(n_rows, widest):
                return taken
        return len(self._rows)

    def first(self, n: int) -> list[Row]:
        """The first `n` rows, or all if there are fewer; they go on waiting until `drop`."""
        return [row for _, row in self._rows[:n]]

    def drop(self, n: int) -> None:
        """Forget the first n rows."""
        del self._rows[:n]

    def remove(self, request_id: str) -> bool:
        """True if the request was waiting; it no longer is."""
        kept = [entry for entry in self._rows if entry[1].request.id != request_id]
        found = len(kept) < len(self._rows)
        self._rows = kept
        return found
