import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from orchestrator.errors import EngineLoadError
from workers.backends.decoding.lora import LoraBank, read_adapter
from workers.checkpoints.formats import ADAPTER_CONFIG, ADAPTER_WEIGHTS


class Toy(nn.Module):
    """Two linear layers, 2 -> 3 -> 1, with weights that are easy to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3, bias=False)
        self.second = nn.Linear(3, 1, bias=False)
        self.first.weight.data.fill_(1.0)
        self.second.weight.data.fill_(1.0)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs))


def write(folder: Path, matrices: dict[str, tuple[Tensor, Tensor]], **config: object) -> str:
    folder.mkdir()
    weights = {}
    for path, (down, up) in matrices.items():
        weights[f"base_model.model.{path}.lora_A.weight"] = down
        weights[f"base_model.model.{path}.lora_B.weight"] = up
    save_file(weights, folder / ADAPTER_WEIGHTS)
    (folder / ADAPTER_CONFIG).write_text(json.dumps({"r": 1, "lora_alpha": 2, **config}))
    return str(folder)


def ones(n_in: int, n_out: int, *, rank: int = 1) -> tuple[Tensor, Tensor]:
    return torch.ones(rank, n_in), torch.ones(n_out, rank)


def test_each_row_gets_its_own_adapter_and_base_rows_none(tmp_path: Path) -> None:
    """Input (1, 1): base gives first (2, 2, 2), second 6. Adapter a, scaling 2, adds 2·(1 + 1) = 4 to
    each of first: (6, 6, 6), second 18. Adapter b, rank 2, scaling 1/2, adds 1/2·2·6 = 6 to second: 12."""
    a = write(tmp_path / "a", {"first": ones(2, 3)})
    b = write(tmp_path / "b", {"second": ones(3, 1, rank=2)}, r=2, lora_alpha=1)
    model = Toy()
    bank = LoraBank(model, [a, b])
    bank.choose([0, 1, 2])
    assert model(torch.ones(3, 1, 2)).flatten().tolist() == [6.0, 18.0, 12.0]


def test_a_mixture_adds_each_adapters_share(tmp_path: Path) -> None:
    """As above: a adds 4 to each of first, b 3 times first to second. Half of a: first (4, 4, 4), second 12.
    Half of a and a third of b: 12 + 1/3·(1/2·2·12) = 16."""
    a = write(tmp_path / "a", {"first": ones(2, 3)})
    b = write(tmp_path / "b", {"second": ones(3, 1, rank=2)}, r=2, lora_alpha=1)
    model = Toy()
    bank = LoraBank(model, [a, b])
    half, both = bank.mix({1: 0.5, 2: 0.0}), bank.mix({2: 1 / 3, 1: 0.5})
    bank.choose([0, half, 1, both])
    assert model(torch.ones(4, 1, 2)).flatten().tolist() == pytest.approx([6.0, 12.0, 18.0, 16.0])
    assert (bank.mix({1: 0.5}), bank.mix({1: 0.5, 2: 1 / 3}), bank.mix({1: 0.0})) == (half, both, 0)


def test_batch_of_base_rows_skips_the_adapters(tmp_path: Path) -> None:
    model = Toy()
    bank = LoraBank(model, [write(tmp_path / "a", {"first": ones(2, 3)})])
    bank.choose([1])
    bank.choose([0])
    assert model(torch.ones(1, 1, 2)).item() == 6.0


def test_rank_stabilised_scaling_divides_by_the_root(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {"first": ones(2, 3, rank=4)}, r=4, lora_alpha=6, use_rslora=True)
    assert read_adapter(folder).scaling == 3.0


def test_modules_have_the_ranks_and_factors_that_patterns_give_them(tmp_path: Path) -> None:
    """first: rank 4 and alpha 6, so 6/4; second: rank 2 as all, and alpha 1, so 1/2."""
    matrices = {"first": ones(2, 3, rank=4), "second": ones(3, 1, rank=2)}
    patterns = {"rank_pattern": {"first": 4}, "alpha_pattern": {"first": 6, "other": 9}}
    adapter = read_adapter(write(tmp_path / "a", matrices, r=2, lora_alpha=1, **patterns))
    plain = read_adapter(write(tmp_path / "b", matrices, r=2, lora_alpha=1, rank_pattern={"first": 4}))

    assert adapter.scaling == 1
    assert {path: float(up.max()) for path, up in adapter.up.items()} == {"first": 1.5, "second": 0.5}
    assert {path: float(up.max()) for path, up in plain.up.items()} == {"first": 0.25, "second": 0.5}


def test_initialisations_that_leave_the_base_as_it_is_are_no_matter(tmp_path: Path) -> None:
    for number, start in enumerate((True, False, None, "gaussian", "eva", "orthogonal")):
        folder = write(tmp_path / str(number), {"first": ones(2, 3)}, init_lora_weights=start)
        assert read_adapter(folder).rank == 1


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["x"]}, "modules_to"),
        ({"rank_pattern": {"first": 4}}, "another rank"),
        ({"rank_pattern": {"(.+)+first": 1}}, "pattern"),
        ({"rank_pattern": {f"{'(|)' * 64}x": 1}}, "pattern"),
        ({"alpha_pattern": {"first": float("nan")}}, "pattern"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"lora_bias": True}, "lora_bias"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication"),
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"lora_alpha": float("inf")}, "lora_alpha"),
    ],
)
def test_adapter_with_more_than_plain_lora_is_refused(
    tmp_path: Path, config: dict[str, object], named: str
) -> None:
    with pytest.raises(EngineLoadError, match=named):
        read_adapter(write(tmp_path / "a", {"first": ones(2, 3)}, **config))


def test_adapter_that_does_not_fit_the_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineLoadError, match="does not fit layer 'first'"):
        LoraBank(Toy(), [write(tmp_path / "a", {"first": ones(5, 3)})])
    with pytest.raises(EngineLoadError, match="targets 'third'"):
        LoraBank(Toy(), [write(tmp_path / "b", {"third": ones(2, 3)})])


def test_broken_adapter_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineLoadError, match="cannot be read"):
        read_adapter(str(tmp_path / "missing"))
    folder = Path(write(tmp_path / "a", {"first": ones(2, 3)}))
    weights = load_file(folder / ADAPTER_WEIGHTS)
    save_file({**weights, "base_model.model.first.weight": torch.ones(1)}, folder / ADAPTER_WEIGHTS)
    with pytest.raises(EngineLoadError, match="not plain LoRA"):
        read_adapter(str(folder))


def test_adapter_with_weights_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    down, up = ones(2, 3)
    with pytest.raises(EngineLoadError, match="not finite"):
        read_adapter(write(tmp_path / "a", {"first": (down * float("nan"), up)}))
