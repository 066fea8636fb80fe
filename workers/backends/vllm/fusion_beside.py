"""Models of a fusion that run beside vLLM, in its process: by transformers, each with its own cache.

Runs in a child process. Shapes: B groups, S sequences of a lane, W logits that its model gives.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from workers.backends.decoding.batch import Rectangle
from workers.backends.decoding.sources import ModelSource
from workers.backends.vllm.fusion_groups import Group


class BesideModel:
    """One model, with S sequences of each group in a pass; implements `fusion_groups.Beside`.

    A group is kept while it comes back at every step with one more token; any other is decoded anew, from its
    prompts and the tokens so far. So a group that vLLM lays aside costs a prefill, not its text.

    Args:
        adapters: of its sequences; 0 = the model's own weights, n = the source's n-th adapter.
        first: place of its first prompt in a group's.
    """

    def __init__(self, source: ModelSource, adapters: Sequence[int], *, first: int, pad_id: int) -> None:
        self._source = source
        self._adapters = list(adapters)
        self._prompts = slice(first, first + len(adapters))
        self._pad_id = pad_id
        self._rectangle: Rectangle | None = None
        self._lengths: dict[str, int] = {}

    def logits(self, groups: Sequence[Group]) -> Tensor:
        """Logits after the newest token of each group, [B, S, W]."""
        kept = self._keep({group.id: group for group in groups})
        new = [group for group in groups if group.id not in self._lengths]
        found = self._step(kept) if kept else []
        if new:
            found = [*found, self._prefill(new)]
        place = {group.id: at for at, group in enumerate([*kept, *new])}
        self._lengths = {group.id: len(group.tokens) for group in [*kept, *new]}
        logits = torch.cat(found)
        of_groups = logits.view(len(place), len(self._adapters), -1)
        return of_groups[[place[group.id] for group in groups]]

    def clear(self) -> None:
        """Drop all groups."""
        self._rectangle = None
        self._lengths = {}

    def _keep(self, wanted: Mapping[str, Group]) -> list[Group]:
        """Groups that go on, in their order in the rectangle; the others are dropped from it."""
        goes_on = [
            name in wanted and len(wanted[name].tokens) == length + 1
            for name, length in self._lengths.items()
        ]
        kept = [wanted[name] for name, stays in zip(self._lengths, goes_on, strict=True) if stays]
        if self._rectangle is None or not kept:
            self.clear()
        elif not all(goes_on):
            at = [place for place, stays in enumerate(goes_on) if stays]
            self._rectangle.keep(torch.tensor(at, device=self._source.device))
        self._lengths = {group.id: self._lengths[group.id] for group in kept}
        return kept

    def _step(self, groups: Sequence[Group]) -> list[Tensor]:
        assert self._rectangle is not None
        newest = [group.tokens[-1] for group in groups]
        self._rectangle.append(torch.tensor(newest, device=self._source.device))
        return [self._source.of_sequences(self._rectangle, self._adapters * len(groups))]

    def _prefill(self, groups: Sequence[Group]) -> Tensor:
        newcomers = Rectangle.start(
            [prompt + group.tokens for group in groups for prompt in group.prompts[self._prompts]],
            n_sequences=len(self._adapters),
            pad_id=self._pad_id,
            device=self._source.device,
        )
        logits = self._source.of_sequences(newcomers, self._adapters * len(groups))
        if self._rectangle is None:
            self._rectangle = newcomers
        else:
            self._rectangle.join_cache(newcomers)
            self._rectangle.join_tokens(newcomers, pad_id=self._pad_id)
        return logits
