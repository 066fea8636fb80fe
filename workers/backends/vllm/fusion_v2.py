"""Fusion as a logits processor of vLLM's newer model runner (V2: GPUs, unless told otherwise).

It refuses processors of the older interface. Runs in a child process.
"""

from typing import TYPE_CHECKING

from vllm.v1.worker.gpu.sample.logits_processor import (
    LogitsContext,
    LogitsProcessor,
    LogitsProcRequestState,
)

from workers.backends.vllm.fusion_groups import Mark, Seen, mark_of, take_offered

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig
    from vllm.sampling_params import SamplingParams


class FusionProcessor(LogitsProcessor):  # type: ignore[misc] # vLLM is in an environment of its own
    """A thin shell: it knows which row is whose, `Fuser` does the rest.

    A row that is still inside its prompt is among a step's rows; where it stands tells (`seq_lens` are
    exact, for speculative decoding is off).
    """

    def __init__(self, _config: "VllmConfig", req_states: LogitsProcRequestState) -> None:
        self._fuser = take_offered()
        self._prompt_len = req_states.prompt_len
        self._marks: dict[int, Mark] = {}

    def add_request(self, req_idx: int, sampling_params: "SamplingParams") -> bool:
        """Note a request. Args: req_idx: its slot, of whatever a former request left there.

        Returns:
            True if it belongs to a fusion, so that `apply` is to see it.
        """
        mark = mark_of(sampling_params.extra_args)
        self._marks.pop(req_idx, None)  # of whoever had the slot before
        if mark is not None:
            self._marks[req_idx] = mark
        return mark is not None

    def apply(self, logits: "torch.Tensor", ctx: LogitsContext) -> "torch.Tensor":
        """Fuse the rows of fusions. Args: logits: float, [rows of the step, vocabulary]; changed in place and
        returned."""
        slots = ctx.idx_mapping_np.tolist()
        ours = [at for at, slot in enumerate(slots) if slot in self._marks]
        if not ours:
            return logits
        lengths, prompts = ctx.seq_lens_upper_bound_np, self._prompt_len.np
        n_output = {at: int(lengths[at]) - int(prompts[slots[at]]) for at in ours}
        newest = ctx.input_ids[: len(slots)].tolist() if any(n > 0 for n in n_output.values()) else []
        seen = [
            Seen(at, self._marks[slots[at]], n_output[at], newest[at] if n_output[at] > 0 else None)
            for at in ours
        ]
        self._fuser.fuse(logits, seen)
        return logits
