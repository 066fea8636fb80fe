"""Fusion as a logits processor of vLLM's older model runner (V1: the CPU, and GPUs on request).

Its interface does not say how much of a prompt is computed, so engines with it prefill prompts whole
(`fusion_loading`): every row of a step is one that gets a token. Runs in a child process.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, process_dict_updates

from workers.backends.vllm.fusion_groups import Mark, Seen, mark_of, take_offered

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class _Row(NamedTuple):
    """A marked request of the batch. `output`: its tokens so far, vLLM's own list, which grows."""

    mark: Mark
    output: list[int]


class FusionProcessor(LogitsProcessor):  # type: ignore[misc] # vLLM is in an environment of its own
    """A thin shell: it knows which row is whose, `Fuser` does the rest."""

    def __init__(self, _config: "VllmConfig", _device: torch.device, _is_pin_memory: bool) -> None:
        self._fuser = take_offered()
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        """False: fusion changes which token is the likeliest, so greedy requests come through here too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Note rows that came, went or moved; called before each step. None = none did."""
        process_dict_updates(self._rows, batch_update, _row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Fuse the rows of fusions. Args: logits: float, [rows of the step, vocabulary]; changed in place and
        returned."""
        if self._rows:
            self._fuser.fuse(logits, [_seen(at, row) for at, row in self._rows.items()])
        return logits


def _row(params: SamplingParams, _: list[int] | None, output: list[int]) -> _Row | None:
    mark = mark_of(params.extra_args)
    return None if mark is None else _Row(mark, output)


def _seen(at: int, row: _Row) -> Seen:
    return Seen(at, row.mark, len(row.output), row.output[-1] if row.output else None)
