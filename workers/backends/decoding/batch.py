"""The running batch: rectangles of tokens, mask and key-value cache, and how rows join and leave.

Shapes: R rows, S sequences of each row in one rectangle, L columns, H heads, D head width. All sequences end
in the last column (left padding), so that a step appends one column to each rectangle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from workers.backends.decoding.cache import RowCache
from workers.backends.decoding.rows import Row

ONE_MODEL = (1,)
"""Layout of an engine that is one model: one rectangle, in which each row is one sequence."""


@dataclass(slots=True, eq=False)
class Rectangle:
    """Sequences that one model decodes: S of each row, next to each other, which differ in their prompts.

    Attributes:
        tokens: int64 [R S, L]; prompt and output. The cache lacks the newest column.
        mask: int64 [R S, L]; 0 = padding.
        cache: per layer keys and values [R S, H, L - 1, D]; empty before the first step.
        n_sequences: S.
    """

    tokens: Tensor
    mask: Tensor
    cache: RowCache
    n_sequences: int = 1

    @classmethod
    def start(
        cls, prompts: Sequence[list[int]], *, n_sequences: int, pad_id: int, device: torch.device
    ) -> Self:
        """Prompts as a rectangle, padded on the left.

        Args:
            prompts: token ids, none of them empty; the S sequences of a row stand next to each other.
            n_sequences: S.
        """
        width = max(len(prompt) for prompt in prompts)
        gaps = [width - len(prompt) for prompt in prompts]
        tokens = [[pad_id] * gap + prompt for gap, prompt in zip(gaps, prompts, strict=True)]
        mask = [[0] * gap + [1] * (width - gap) for gap in gaps]
        return cls(
            torch.tensor(tokens, device=device), torch.tensor(mask, device=device), RowCache(), n_sequences
        )

    def append(self, tokens: Tensor) -> None:
        """Add the next token of each row to all of its sequences. Args: tokens: int64 [R]."""
        if self.n_sequences > 1:
            tokens = tokens.repeat_interleave(self.n_sequences)
        self.tokens = torch.cat([self.tokens, tokens[:, None]], dim=1)
        self.mask = pad(self.mask, (0, 1), value=1)

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these, and the columns that only others used. Args: rows: int64, not empty."""
        if self.n_sequences > 1:
            offsets = torch.arange(self.n_sequences, device=rows.device)
            rows = (rows[:, None] * self.n_sequences + offsets).flatten()
        first = int(self.mask[rows].any(dim=0).to(torch.uint8).argmax())
        self.cache.keep(rows, first)
        self.tokens = self.tokens[rows, first:]
        self.mask = self.mask[rows, first:]

    def join_cache(self, other: "Rectangle") -> None:
        """Append the other's keys and values; both have made their first step. To be called before
        `join_tokens`, which changes the widths that tell the padding."""
        self.cache.join(other.cache, self._gaps(other))

    def join_tokens(self, other: "Rectangle", *, pad_id: int) -> None:
        """Append the other's tokens and mask; the narrower one is padded on the left."""
        gaps = self._gaps(other)
        self.tokens = _stack((self.tokens, other.tokens), gaps, fill=pad_id)
        self.mask = _stack((self.mask, other.mask), gaps)

    def _gaps(self, other: "Rectangle") -> tuple[int, int]:
        """Columns to add on the left of mine and the other's."""
        width = max(self.tokens.shape[1], other.tokens.shape[1])
        return (width - self.tokens.shape[1], width - other.tokens.shape[1])


@dataclass(slots=True, eq=False)
class Batch:
    """Rows that are decoded together.

    Attributes:
        rows: R rows; a finished one keeps its place, dead, until the next `compact`.
        rectangles: one per model.
        remaining: int64 [R]; output tokens still allowed.
        alive: bool [R].
        sampled: rows with a temperature above 0.
        watched: rows whose text is looked at every step (stop strings, streaming).
        traced: rows that keep what the source says of each step.
        shaped: rows whose logits the request's extras change; `scored` those that keep log probabilities.
    """

    rows: list[Row]
    rectangles: list[Rectangle]
    remaining: Tensor
    alive: Tensor
    sampled: list[int]
    watched: list[int]
    traced: list[int]
    shaped: list[int]
    scored: list[int]
    n_alive: int

    @classmethod
    def start(
        cls, rows: Sequence[Row], *, pad_id: int, device: torch.device, layout: Sequence[int] = ONE_MODEL
    ) -> Self:
        """Prompts as a batch, before their first step.

        Args:
            layout: S of each rectangle; together as many as each row has prompts.
        """
        rectangles, first = [], 0
        for n_sequences in layout:
            prompts = [prompt for row in rows for prompt in row.prompts[first : first + n_sequences]]
            rectangles.append(Rectangle.start(prompts, n_sequences=n_sequences, pad_id=pad_id, device=device))
            first += n_sequences
        return cls(
            rows=list(rows),
            rectangles=rectangles,
            remaining=torch.tensor([row.sampling.max_tokens for row in rows], device=device),
            alive=torch.ones(len(rows), dtype=torch.bool, device=device),
            sampled=_sampled(rows),
            watched=_watched(rows),
            traced=_traced(rows),
            shaped=_shaped(rows),
            scored=_scored(rows),
            n_alive=len(rows),
        )

    @property
    def tokens(self) -> Tensor:
        """Tokens of the first rectangle."""
        return self.rectangles[0].tokens

    @property
    def widest(self) -> int:
        """Longest final length of the live rows; 0 when none lives."""
        return max((row.n_final for row in self.live_rows()), default=0)

    def live_rows(self) -> list[Row]:
        """Rows that are not dead, in their order."""
        return [row for row, alive in zip(self.rows, self.alive.tolist(), strict=True) if alive]

    def bury(self, index: int) -> None:
        """Mark a live row dead. Args: index: its place in `rows`."""
        self.alive[index] = False
        self.n_alive -= 1

    def append(self, tokens: Tensor) -> None:
        """Add the next token of each row. Args: tokens: int64 [R]."""
        for rectangle in self.rectangles:
            rectangle.append(tokens)
        self.remaining -= 1

    def output_ids(self, at: int, remaining: int) -> list[int]:
        """Output of a row so far. Args: remaining: its entry in `remaining`."""
        n_output = self.rows[at].sampling.max_tokens - remaining
        ids: list[int] = self.output(at, n_output).tolist()
        return ids

    def output(self, at: int, n_output: int) -> Tensor:
        """The last `n_output` tokens of a row, int64."""
        first = self.rectangles[0]
        row = first.tokens[at * first.n_sequences]
        return row[row.shape[0] - n_output :]

    def compact(self) -> None:
        """Drop dead rows, and the columns that only they used; in place. At least one row must live."""
        keep = self.alive.nonzero().flatten()
        for rectangle in self.rectangles:
            rectangle.keep(keep)
        self.rows = [self.rows[at] for at in keep.tolist()]
        self.remaining = self.remaining[keep]
        self.alive = self.alive[keep]
        self._index_rows()

    def join(self, other: "Batch", *, pad_id: int) -> None:
        """Append the rows of `other`, which is used up; the narrower rectangle is padded on the left.

        Caches go first: memory runs out there, and the rows must be intact then.
        """
        pairs = list(zip(self.rectangles, other.rectangles, strict=True))
        for mine, theirs in pairs:
            mine.join_cache(theirs)
        for mine, theirs in pairs:
            mine.join_tokens(theirs, pad_id=pad_id)
        self.rows = self.rows + other.rows
        self.remaining = torch.cat([self.remaining, other.remaining])
        self.alive = torch.cat([self.alive, other.alive])
        self.n_alive += other.n_alive
        self._index_rows()

    def _index_rows(self) -> None:
        self.sampled = _sampled(self.rows)
        self.watched = _watched(self.rows)
        self.traced = _traced(self.rows)
        self.shaped = _shaped(self.rows)
        self.scored = _scored(self.rows)


def _sampled(rows: Sequence[Row]) -> list[int]:
    return [at for at, row in enumerate(rows) if row.sampling.temperature > 0]


def _watched(rows: Sequence[Row]) -> list[int]:
    return [at for at, row in enumerate(rows) if row.streams or row.sampling.stop]


def _traced(rows: Sequence[Row]) -> list[int]:
    return [at for at, row in enumerate(rows) if row.sampling.trace]


def _shaped(rows: Sequence[Row]) -> list[int]:
    return [at for at, row in enumerate(rows) if row.sampling.extras is not None]


def _scored(rows: Sequence[Row]) -> list[int]:
    return [at for at, row in enumerate(rows) if row.sampling.logprobs is not None]


def _stack(parts: tuple[Tensor, Tensor], gaps: tuple[int, int], *, fill: int = 0) -> Tensor:
    """[R1, L1] and [R2, L2] to [R1 + R2, L]; `gaps` = columns to add on the left."""
    return torch.cat([pad(part, (gap, 0), value=fill) for part, gap in zip(parts, gaps, strict=True)])
