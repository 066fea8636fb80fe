"""Groups of vLLM requests whose logits become one distribution. Runs in a child process.

Sequences that one model decodes are a *lane*; vLLM's rows are one, models beside it are others. A question is
a group: a row for each sequence that vLLM decodes, each a vLLM request with its own prompt, all with the same
new tokens. At each step the logits of all lanes are fused, the next token is picked here, and every row is
left with that token alone. So the rows of a group cannot drift apart by what they draw. They can by what vLLM
schedules: a row may be admitted later than the others, or be preempted. Such a group is left as it is and
marked, and its engine starts it again with the tokens so far.

Shapes: N rows of a step, B groups, S sequences of a lane, W logits that its model gives.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from aggregators.logits import Fused
from aggregators.logits.shifts import NEVER
from orchestrator.domain.assignments import Sampling
from workers.backends.decoding.rows import Step, uniforms
from workers.backends.decoding.sampling import greedy_tokens, pick_tokens

MARK = "muster_fusion"
"""Key of a row's mark in `SamplingParams.extra_args`."""


class Mark(NamedTuple):
    """Label of a vLLM request: row `row` of group `group`, in the group's `attempt`-th start."""

    group: str
    attempt: int
    row: int


class Seen(NamedTuple):
    """A marked row in a step of vLLM.

    Attributes:
        at: its row of logits.
        n_output: tokens after its prompt that the logits follow; negative inside the prompt.
        newest: the last of them; None = there is none.
    """

    at: int
    mark: Mark
    n_output: int
    newest: int | None


class Beside(Protocol):
    """A lane whose model runs beside vLLM, in its process."""

    def logits(self, groups: Sequence["Group"]) -> Tensor:
        """Next-token logits of its sequences, float [B, S, W]."""

    def clear(self) -> None:
        """Drop what is kept of all groups."""


Combine = Callable[[Sequence[Tensor]], Fused]
"""A fusion rule with its options: logits [B, S, W] of each lane to one distribution."""


@dataclass(slots=True, eq=False)
class Group:
    """A question on its way through vLLM.

    Attributes:
        prompts: token ids of each sequence, those of a lane next to each other.
        tokens: the output so far.
        n_carried: those of them that its rows have in their prompts, since the last start.
        attempt: starts so far.
        is_apart: its rows did not meet in the last step; nothing came of it.
        is_unusable: its logits were not numbers.
        n_lost: steps in which it was apart.
    """

    id: str
    prompts: tuple[list[int], ...]
    sampling: Sampling
    tokens: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    n_carried: int = 0
    attempt: int = 0
    is_apart: bool = False
    is_unusable: bool = False
    n_lost: int = 0
    draws: Iterator[float] = field(init=False)

    def __post_init__(self) -> None:
        self.draws = uniforms(self.sampling.seed)

    def start(self) -> None:
        """Its rows go to vLLM, with the tokens so far in their prompts."""
        self.attempt += 1
        self.n_carried = len(self.tokens)
        self.is_apart = False

    def fits(self, seen: Seen) -> bool:
        """True if a row stands where the group does."""
        n_new = len(self.tokens) - self.n_carried
        if seen.mark.attempt != self.attempt or seen.n_output != n_new:
            return False
        return n_new == 0 or seen.newest in (None, self.tokens[-1])


class Fuser:
    """Turns the logits of a step into the next token of each whole group.

    Args:
        combine: gets the lanes in their order.
        n_rows: sequences of vLLM's own lane: the rows of a group.
        own: place of that lane among all.
        beside: the other lanes, by their places.
    """

    def __init__(
        self,
        combine: Combine,
        *,
        n_rows: int,
        own: int = 0,
        beside: Mapping[int, Beside] = MappingProxyType({}),
    ) -> None:
        self._combine = combine
        self._n_rows = n_rows
        self._own = own
        self._beside = dict(beside)
        self._groups: dict[str, Group] = {}

    def add(self, group: Group) -> None:
        """Take a group whose rows go to vLLM."""
        self._groups[group.id] = group

    def remove(self, group_id: str) -> None:
        """Forget a group; harmless when it is not known."""
        self._groups.pop(group_id, None)
        if not self._groups:
            for lane in self._beside.values():
                lane.clear()

    def close(self) -> None:
        """Let go of all groups and of the models beside vLLM: vLLM may keep its processors for long."""
        self._groups.clear()
        self._beside.clear()

    @torch.inference_mode()
    def fuse(self, logits: Tensor, seen: Sequence[Seen]) -> None:
        """Advance the groups whose rows are all here; mark those of which some are not.

        Args:
            logits: float [N, W]. Rows of whole groups are changed in place: their token has 0, all
                others −inf.
        """
        whole: list[Group] = []
        places: list[list[int]] = []
        for group, rows in self._by_group(seen):
            if len(rows) == self._n_rows and all(group.fits(row) for row in rows.values()):
                whole.append(group)
                places.append([rows[row].at for row in range(self._n_rows)])
            else:
                group.is_apart = True
                group.n_lost += 1
        if whole:
            at = torch.tensor(places, device=logits.device)
            chosen = self._advance(whole, self._of_lanes(logits, at, whole))
            logits[at.flatten()] = NEVER
            logits[at, chosen[:, None]] = 0.0

    def _by_group(self, seen: Sequence[Seen]) -> list[tuple[Group, dict[int, Seen]]]:
        found: dict[str, dict[int, Seen]] = {}
        for row in seen:
            if row.mark.group in self._groups:
                found.setdefault(row.mark.group, {})[row.mark.row] = row
        return [(self._groups[group], rows) for group, rows in found.items()]

    def _of_lanes(self, logits: Tensor, at: Tensor, groups: Sequence[Group]) -> list[Tensor]:
        """Logits of all lanes, [B, S, W] each. Args: at: int64 [B, rows of a group]."""
        lanes = {place: lane.logits(groups) for place, lane in self._beside.items()} | {self._own: logits[at]}
        return [lanes[place] for place in sorted(lanes)]

    def _advance(self, groups: Sequence[Group], lanes: Sequence[Tensor]) -> Tensor:
        """The next token of each group, int64 [B], noted in it with the rule's alphas and loss."""
        fused = self._combine(lanes)
        tokens, usable = greedy_tokens(fused.logits)
        sampled = [number for number, group in enumerate(groups) if group.sampling.temperature > 0]
        if sampled:
            tokens[sampled] = _sample([groups[number] for number in sampled], fused.logits[sampled])
        alphas = [None] * len(groups) if fused.alphas is None else fused.alphas.tolist()
        losses = [None] * len(groups) if fused.losses is None else fused.losses.tolist()
        for group, token, is_usable, alpha, loss in zip(
            groups, tokens.tolist(), usable.tolist(), alphas, losses, strict=True
        ):
            group.is_unusable = not is_usable
            group.tokens.append(token)
            group.steps.append(Step(None if alpha is None else tuple(alpha), loss))
        return tokens


def _sample(groups: Sequence[Group], logits: Tensor) -> Tensor:
    return pick_tokens(
        logits,
        temperature=logits.new_tensor([group.sampling.temperature for group in groups]),
        top_p=logits.new_tensor([group.sampling.top_p for group in groups]),
        uniforms=logits.new_tensor([next(group.draws) for group in groups]),
    )


def mark_of(extra_args: Mapping[str, object] | None) -> Mark | None:
    """The mark of a vLLM request; None = it is in no group."""
    mark = (extra_args or {}).get(MARK)
    return Mark(*mark) if isinstance(mark, list | tuple) else None


# ── how vLLM's processor finds its fuser ──────────────────────────────────────────────────────────

_offered: list[Fuser] = []


@contextmanager
def offered(fuser: Fuser) -> Iterator[None]:
    """The processor of the engine that is loaded inside takes this fuser (vLLM makes processors itself)."""
    _offered.append(fuser)
    try:
        yield
    finally:
        _offered.remove(fuser)


def take_offered() -> Fuser:
    """The fuser of the engine that is being loaded.

    Raises:
        RuntimeError: none is: the processor was made in another process.
    """
    if not _offered:
        raise RuntimeError("no fusion is being loaded in this process.")
    return _offered[-1]
