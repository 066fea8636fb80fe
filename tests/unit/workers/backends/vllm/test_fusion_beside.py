"""Models beside vLLM: their logits are those of the whole sequence, however groups come and go."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from orchestrator.domain.assignments import Sampling
from tests.tiny_models import tiny_adapter, tiny_model
from workers.backends.decoding.cache import RowCache
from workers.backends.decoding.sources import ModelSource
from workers.backends.vllm.fusion_beside import BesideModel
from workers.backends.vllm.fusion_groups import Group


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


class CountingSource(ModelSource):
    """Notes how many rows each pass has."""

    def __init__(self, model: LlamaForCausalLM, *, adapters: Sequence[str]) -> None:
        super().__init__(model, adapters=adapters)
        self.rows_of_passes: list[int] = []

    def forward(self, tokens: Tensor, mask: Tensor, cache: RowCache) -> Tensor:
        self.rows_of_passes.append(len(tokens))
        return super().forward(tokens, mask, cache)


def load(folder: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def group(name: str, *prompts: list[int]) -> Group:
    return Group(name, prompts, Sampling())


def dense(folder: Path, ids: list[int]) -> Tensor:
    """Logits of a fresh model over the whole sequence, without a cache."""
    with torch.inference_mode():
        logits: Tensor = load(folder)(torch.tensor([ids])).logits[0, -1]
    return logits


def test_logits_are_those_of_the_whole_sequence_while_groups_come_pause_and_end(folder: Path) -> None:
    one, two, three = group("1", [5, 6, 7]), group("2", [9, 8]), group("3", [11, 12, 13, 14])
    beside = BesideModel(ModelSource(load(folder)), [0], first=0, pad_id=0)
    schedule = [[one], [one, two], [two, one], [two], [one, two, three], [three], [three, two]]
    for number, present in enumerate(schedule):
        with torch.inference_mode():
            found = beside.logits(present)[:, 0]
        for row, member in zip(found, present, strict=True):
            wanted = dense(folder, member.prompts[0] + member.tokens)
            assert torch.allclose(row, wanted, atol=1e-4)
        for member in present:
            member.tokens.append(20 + number)


def test_sequences_of_one_model_are_rows_of_one_pass(folder: Path, tmp_path: Path) -> None:
    adapter = str(tiny_adapter(tmp_path / "adapter", seed=1))
    of_both = CountingSource(load(folder), adapters=[adapter])
    pair = BesideModel(of_both, [1, 0], first=1, pad_id=0)
    groups = [group("1", [5], [6, 7], [8]), group("2", [5], [9], [3, 4])]
    with torch.inference_mode():
        found = pair.logits(groups)
    assert of_both.rows_of_passes == [4]
    assert found.shape[:2] == (2, 2)
    assert torch.allclose(found[1, 1], dense(folder, [3, 4]), atol=1e-4)
    assert not torch.allclose(found[1, 0], dense(folder, [9]), atol=1e-2)
    pair.clear()
    with torch.inference_mode():
        again = pair.logits(groups)
    assert torch.allclose(again, found, atol=1e-5)
