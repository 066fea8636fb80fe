"""A correction of vLLM on the CPU: rows without an adapter stay without one in a batch where others have one.

Its PyTorch kernels read the mark -1 ("no adapter") as an index, and so apply the last adapter to base rows
(https://github.com/vllm-project/vllm/pull/48421). Its GPU kernels do not. Runs in a child process.
"""

from collections.abc import Callable
from functools import wraps

import torch
from vllm.lora.ops.torch_ops import lora_ops
from vllm.lora.punica_wrapper import punica_cpu

KERNELS = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")
Kernel = Callable[..., None]


def correct_base_rows() -> None:
    """Replace the kernels of this process by ones that add nothing to rows marked -1."""
    for name in KERNELS:
        corrected = sparing_base_rows(getattr(lora_ops, name))
        setattr(lora_ops, name, corrected)
        setattr(punica_cpu, name, corrected)


def sparing_base_rows(kernel: Kernel) -> Kernel:
    """`kernel`, with the inputs of rows marked -1 taken as zero: LoRA is linear, so its update is zero."""

    @wraps(kernel)
    def corrected(
        inputs: torch.Tensor,
        weights: torch.Tensor,
        output: torch.Tensor,
        lora_indices_tensor: torch.Tensor,
        *args: object,
        **kwargs: object,
    ) -> None:
        without = (lora_indices_tensor < 0).unsqueeze(1)
        kernel(inputs.masked_fill(without, 0), weights, output, lora_indices_tensor, *args, **kwargs)

    return corrected
