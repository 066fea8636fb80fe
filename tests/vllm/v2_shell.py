"""Drives the V2 shell by vLLM's own classes, without an engine; run by the interpreter that has vLLM.

`RequestState`, `LogitsContext` and the loader are vLLM's; only the forward passes are missing. Prints what
became of two groups as JSON.
"""

import json
import sys

import numpy as np
import torch
import vllm.v1.worker.cpu.shm  # noqa: F401 -- vLLM's own stand-ins for CUDA's buffers
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor as OlderProcessor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, build_custom_logits_processors
from vllm.v1.worker.gpu.states import RequestState

from aggregators.logits import LOGIT_RULES
from orchestrator.domain.assignments import Sampling
from workers.backends.vllm.fusion_groups import MARK, Fuser, Group, offered
from workers.backends.vllm.fusion_v1 import FusionProcessor as OlderShell
from workers.backends.vllm.fusion_v2 import FusionProcessor

V = 8
SPARE = "a request of nobody"


class Runner:
    """What the V2 model runner does with its processors."""

    def __init__(self, fuser: Fuser) -> None:
        self.states = RequestState(8, 64, 64, 0, V, torch.device("cpu"))
        with offered(fuser):
            (self.processor,) = build_custom_logits_processors(None, self.states, False, [FusionProcessor])

    def add(self, name: str, prompt: list[int], mark: list[object] | None) -> None:
        self.states.add_request(name, len(prompt), prompt, 0, 16)
        params = SamplingParams(max_tokens=16, extra_args=None if mark is None else {MARK: mark})
        assert self.processor.add_request(self.states.req_id_to_index[name], params) is (mark is not None)

    def step(self, rows: list[tuple[str, int, int]]) -> list[int]:
        """Tokens of a greedy step. Args: rows: name, length of its sequence so far, newest token."""
        slots = np.array([self.states.req_id_to_index[name] for name, _, _ in rows], dtype=np.intp)
        lengths = np.array([length for _, length, _ in rows], dtype=np.int32)
        logits = torch.randn(len(rows), V, generator=torch.Generator().manual_seed(int(lengths.sum())))
        self.seen = logits.clone()
        mapping = torch.from_numpy(slots)
        context = LogitsContext(
            expanded_idx_mapping=mapping,
            idx_mapping=mapping,
            idx_mapping_np=slots,
            expanded_local_pos=torch.zeros(len(rows), dtype=torch.int32),
            input_ids=torch.tensor([newest for _, _, newest in rows], dtype=torch.int32),
            pos=torch.from_numpy(lengths - 1),
            seq_lens_upper_bound_np=lengths,
        )
        self.processor.apply_staged_writes()
        return self.processor.apply(logits, context).argmax(-1).tolist()


def group(name: str, fuser: Fuser, runner: Runner, prompts: tuple[list[int], ...]) -> Group:
    made = Group(name, prompts, Sampling())
    made.start()
    fuser.add(made)
    for row, prompt in enumerate(prompts):
        runner.add(f"{name}{row}", prompt, [name, 1, row])
    return made


def main() -> None:
    rule = LOGIT_RULES["contrast"]
    fuser = Fuser(
        lambda lanes: rule.fuse({"large": lanes[0][:, 0], "weak": lanes[0][:, 1]}, rule.options()), n_rows=2
    )
    runner = Runner(fuser)
    a = group("a", fuser, runner, ([1, 2], [1, 2, 3]))
    runner.add(SPARE, [4], None)
    b = group("b", fuser, runner, ([5], [6, 7]))
    found: dict[str, object] = {}

    # Both whole, rows in any order, a stranger between them.
    tokens = runner.step([("b1", 2, 7), ("a0", 2, 2), (SPARE, 1, 4), ("a1", 3, 3), ("b0", 1, 5)])
    seen = runner.seen
    wanted = [
        rule.fuse({"large": seen[i][None], "weak": seen[j][None]}, rule.options())
        for i, j in ((1, 3), (4, 0))
    ]
    found["whole"] = [a.tokens, b.tokens]
    found["wanted"] = [fused.logits.argmax(-1).tolist() for fused in wanted]
    found["rows"] = [tokens[1], tokens[3], tokens[0], tokens[4]]
    found["stranger"] = tokens[2] == int(seen[2].argmax())

    # a's second row was preempted and is inside its prompt again; b goes on.
    runner.step([("a0", 3, a.tokens[0]), ("a1", 2, 2), ("b0", 2, b.tokens[0]), ("b1", 3, b.tokens[0])])
    found["apart"] = [a.is_apart, b.is_apart, len(a.tokens), len(b.tokens)]

    # It starts again with its token in the prompts, in slots that others had.
    for name in ("a0", "a1"):
        runner.states.remove_request(name)
    a.start()
    for row, prompt in enumerate(a.prompts):
        runner.add(f"a{row}", prompt + a.tokens, ["a", 2, row])
    runner.step([("a1", 4, a.tokens[0]), ("a0", 3, a.tokens[0])])
    found["again"] = [a.is_apart, len(a.tokens)]

    found["shells"] = [issubclass(OlderShell, OlderProcessor), issubclass(FusionProcessor, OlderProcessor)]
    try:
        build_custom_logits_processors(None, runner.states, False, [OlderShell])
    except ValueError as error:
        found["refused"] = "not a subclass" in str(error)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
