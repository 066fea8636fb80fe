"""Sizes of models from their configuration and headers; the zoo's are worked by hand."""

import json
import struct
from pathlib import Path

import pytest

from examples.zoo.train import MODELS
from workers.checkpoints.sizes import pass_cost

LAYERS, WIDTH, INNER, VOCABULARY, RANK = 3, 128, 352, 320, 8
BODY = LAYERS * (4 * WIDTH**2 + 3 * WIDTH * INNER + 2 * WIDTH) + WIDTH
CONFIG = {"num_attention_heads": 2, "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 10}


def write_model(folder: Path, shapes: dict[str, list[int]], **config: object) -> str:
    """A model of which only configuration and header are there."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    entries = {
        name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()
    }
    header = json.dumps(entries).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return str(folder)


def test_a_member_of_the_zoo() -> None:
    """Its output head is the embedding: counted once, as the head."""
    cost = pass_cost(str(MODELS / "generalist"))
    assert cost is not None
    assert (cost.body, cost.head) == (BODY, WIDTH * VOCABULARY)
    assert (cost.n_layers, cost.attention_width) == (LAYERS, WIDTH)


def test_an_adapter_is_read_beside_its_base() -> None:
    """Rank times inputs and outputs of seven linear layers."""
    cost = pass_cost(str(MODELS / "generalist"), str(MODELS / "gen-lora"))
    assert cost is not None
    assert cost.body == BODY + LAYERS * RANK * (4 * 2 * WIDTH + 3 * (WIDTH + INNER))


def test_an_untied_head_is_counted_once(tmp_path: Path) -> None:
    shapes = {"model.embed_tokens.weight": [10, 8], "lm_head.weight": [10, 8], "model.norm.weight": [8]}
    cost = pass_cost(write_model(tmp_path / "m", shapes))
    assert cost is not None
    assert (cost.body, cost.head) == (8, 80)


def test_a_token_meets_few_experts_of_a_mixture(tmp_path: Path) -> None:
    """Four experts of 8·8, of which a token meets two."""
    shapes = {f"model.layers.0.mlp.experts.{i}.w.weight": [8, 8] for i in range(4)}
    cost = pass_cost(write_model(tmp_path / "m", shapes, num_experts_per_tok=2, num_local_experts=4))
    assert cost is not None
    assert cost.body == 2 * 64


def test_what_cannot_be_sized_is_not_guessed(tmp_path: Path) -> None:
    shapes = {"model.norm.weight": [8]}
    quantised = write_model(tmp_path / "q", shapes, quantization_config={"bits": 4})
    nameless = write_model(tmp_path / "n", shapes, hidden_size=None)
    broken = write_model(tmp_path / "b", shapes)
    (tmp_path / "b" / "model.safetensors").write_bytes(b"\xff" * 40)
    empty = write_model(tmp_path / "e", {})
    assert [pass_cost(m) for m in (quantised, nameless, broken, empty, "some/hub-id")] == [None] * 5
    assert pass_cost(str(MODELS / "generalist"), str(tmp_path / "nowhere")) is None


@pytest.mark.parametrize("config", ["[]", "{", '{"text_config": 3}'])
def test_a_strange_configuration_is_no_error(tmp_path: Path, config: str) -> None:
    model = write_model(tmp_path / "m", {"model.norm.weight": [8]})
    (tmp_path / "m" / "config.json").write_text(config)
    assert pass_cost(model) is None
