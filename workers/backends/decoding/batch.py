"""The running batch: rectangles of tokens, mask and key-value cache, and how rows join and leave.

Shapes: R rows, L columns, H heads, D head width. All rows end in the last column (left padding), so
that a step appends one column to each rectangle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from workers.backends.decoding.cache import RowCache
from workers.backends.decoding.rows import Row


@dataclass(slots=True, eq=False)
class Batch:
    """Rows that are decoded together.

    Attributes:
        rows: R rows; a finished one keeps its place, dead, until the next `select`.
        tokens: int64 [R, L]; prompt and output. The cache lacks the newest column.
        mask: int64 [R, L]; 0 = padding.
        remaining: int64 [R]; output tokens still allowed.
        alive: bool [R].
        cache: per layer keys and values [R, H, L - 1, D]; empty before the first step.
        sampled: rows with a temperature above 0.
        watched: rows whose text is looked at every step (stop strings, streaming).
    """

    rows: list[Row]
    tokens: Tensor
    mask: Tensor
    remaining: Tensor
    alive: Tensor
    cache: RowCache
    sampled: list[int]
    watched: list[int]
    n_alive: int

    @classmethod
    def start(cls, rows: Sequence[Row], *, pad_id: int, device: torch.device) -> Self:
        """Prompts as a batch, before their first step."""
        width = max(len(row.prompt_ids) for row in rows)
        gaps = [width - len(row.prompt_ids) for row in rows]
        tokens = [[pad_id] * gap + row.prompt_ids for gap, row in zip(gaps, rows, strict=True)]
        mask = [[0] * gap + [1] * (width - gap) for gap in gaps]
        return cls(
            rows=list(rows),
            tokens=torch.tensor(tokens, device=device),
            mask=torch.tensor(mask, device=device),
            remaining=torch.tensor([row.sampling.max_tokens for row in rows], device=device),
            alive=torch.ones(len(rows), dtype=torch.bool, device=device),
            cache=RowCache(),
            sampled=_sampled(rows),
            watched=_watched(rows),
            n_alive=len(rows),
        )

    @property
    def widest(self) -> int:
        """Longest final length of the live rows; 0 when none lives."""
        return max((row.n_final for row in self.live_rows()), default=0)

    def live_rows(self) -> list[Row]:
        return [row for row, alive in zip(self.rows, self.alive.tolist(), strict=True) if alive]

    def bury(self, index: int) -> None:
        """Mark a row dead."""
        self.alive[index] = False
        self.n_alive -= 1

    def append(self, tokens: Tensor) -> None:
        """Add the next token of each row. Args: tokens: int64 [R]."""
        self.tokens = torch.cat([self.tokens, tokens[:, None]], dim=1)
        self.mask = pad(self.mask, (0, 1), value=1)
        self.remaining -= 1

    def compact(self) -> None:
        """Drop dead rows, and the columns that only they used; in place. At least one row must live."""
        keep = self.alive.nonzero().flatten()
        first = int(self.mask[keep].any(dim=0).to(torch.uint8).argmax())
        self.cache.keep(keep, first)
        self.rows = [self.rows[at] for at in keep.tolist()]
        self.tokens = self.tokens[keep, first:]
        self.mask = self.mask[keep, first:]
        self.remaining = self.remaining[keep]
        self.alive = self.alive[keep]
        self._index_rows()

    def join(self, other: "Batch", *, pad_id: int) -> None:
        """Append the rows of `other`, which is used up; the narrower rectangle is padded on the left.

        The cache goes first: memory runs out there, and the rows must be intact then.
        """
        width = max(self.tokens.shape[1], other.tokens.shape[1])
        gaps = (width - self.tokens.shape[1], width - other.tokens.shape[1])
        self.cache.join(other.cache, gaps)
        self.rows = self.rows + other.rows
        self.tokens = _stack((self.tokens, other.tokens), gaps, fill=pad_id)
        self.mask = _stack((self.mask, other.mask), gaps)
        self.remaining = torch.cat([self.remaining, other.remaining])
        self.alive = torch.cat([self.alive, other.alive])
        self.n_alive += other.n_alive
        self._index_rows()

    def _index_rows(self) -> None:
        self.sampled = _sampled(self.rows)
        self.watched = _watched(self.rows)


def _sampled(rows: Sequence[Row]) -> list[int]:
    return [at for at, row in enumerate(rows) if row.sampling.temperature > 0]


def _watched(rows: Sequence[Row]) -> list[int]:
    return [at for at, row in enumerate(rows) if row.streams or row.sampling.stop]


def _stack(parts: tuple[Tensor, Tensor], gaps: tuple[int, int], *, fill: int = 0) -> Tensor:
    """[R1, L1] and [R2, L2] to [R1 + R2, L]; `gaps` = columns to add on the left."""
    return torch.cat([pad(part, (gap, 0), value=fill) for part, gap in zip(parts, gaps, strict=True)])
