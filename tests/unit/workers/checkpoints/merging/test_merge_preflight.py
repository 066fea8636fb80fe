"""Each thing that breaks a merged model in silence is found before a tensor is read."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orchestrator.domain.merges import MergeProblem
from tests.fakes.checkpoints import (
    CONFIG,
    VOCABULARY,
    tensors,
    write_adapter,
    write_checkpoint,
    write_raw,
    write_safetensors,
    write_tokenizer,
)
from workers.checkpoints.merging.inputs import Places
from workers.checkpoints.merging.methods import NATIVE
from workers.checkpoints.merging.preflight import preflight
from workers.checkpoints.merging.recipe import read_recipe

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
FIRST = "model-00001-of-00002.safetensors"
UP = "model.layers.1.mlp.up_proj.weight"
EMBEDDING = "model.embed_tokens.weight"

SMALL = np.zeros((2, 2), np.float32)

Break = Callable[[Path], object]
"""Breaks the model in a folder, which was a sound fine-tune of the base."""


def problems(
    tmp_path: Path, *models: str, method: str = "task_arithmetic", base: str = "base"
) -> list[MergeProblem]:
    recipe = tmp_path / "recipe.yaml"
    rows = [{"model": model, "parameters": {"weight": 1.0}} for model in models]
    recipe.write_text(json.dumps({"merge_method": method, "base_model": base, "models": rows}))
    checked = preflight(read_recipe(recipe, native=NATIVE), Places((tmp_path,)))
    return list(checked.preflight.problems)


def rewritten(folder: Path, **changed: object) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changed}))


def retensored(folder: Path, **changed: object) -> None:
    """Tensors added, replaced or (None) taken away."""
    arrays = {**tensors(1), **changed}
    write_safetensors(folder / WEIGHTS, {n: a for n, a in arrays.items() if isinstance(a, np.ndarray)})


def raw_header(folder: Path, header: bytes, body: bytes = b"", length: int | None = None) -> None:
    write_raw(folder / WEIGHTS, header, body, length=length)


def entry(dtype: str = "F32", shape: object = (1,), places: object = (0, 4)) -> bytes:
    return json.dumps({"x": {"dtype": dtype, "shape": shape, "data_offsets": places}}).encode()


def sharded(folder: Path, change: Callable[[dict[str, str]], object] = lambda _: None) -> None:
    (folder / WEIGHTS).unlink()
    write_checkpoint(folder, tensors(1), shards=2)
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


def only_pickles(folder: Path, name: str) -> None:
    (folder / WEIGHTS).rename(folder / name)


def linked(folder: Path, name: str, target: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to(target)


def with_head(folder: Path, tied: bool, head: np.ndarray) -> None:  # type: ignore[type-arg]
    rewritten(folder, tie_word_embeddings=tied)
    retensored(folder, **{"lm_head.weight": head})


ERRORS: dict[str, dict[str, Break]] = {
    "model": {
        "no_folder": lambda f: f.rename(f.parent / "away"),
        "no_config": lambda f: (f / "config.json").unlink(),
        "no_weights": lambda f: (f / WEIGHTS).unlink(),
        "a_file": lambda f: (f.rename(f.parent / "away"), f.write_text("")),
    },
    "model_type": {
        "another": lambda f: rewritten(f, model_type="qwen2"),
        "none": lambda f: rewritten(f, model_type=None),
        "in_text_config": lambda f: rewritten(f, text_config={"model_type": "gemma"}),
    },
    "missing_tensor": {
        "a_matrix": lambda f: retensored(f, **{UP: None}),
        "a_norm": lambda f: retensored(f, **{"model.norm.weight": None}),
        "a_layer": lambda f: write_safetensors(f / WEIGHTS, tensors(1, n_layers=1)),
    },
    "extra_tensor": {
        "a_bias": lambda f: retensored(f, **{"model.layers.0.mlp.up_proj.bias": np.zeros(8, np.float32)}),
        "a_head": lambda f: retensored(f, score=np.zeros((2, 4), np.float32)),
        "a_layer": lambda f: write_safetensors(f / WEIGHTS, tensors(1, n_layers=3)),
    },
    "shape": {
        "wider": lambda f: retensored(f, **{UP: np.zeros((9, 4), np.float32)}),
        "transposed": lambda f: retensored(f, **{UP: np.zeros((4, 8), np.float32)}),
        "more_tokens": lambda f: retensored(f, **{EMBEDDING: np.zeros((7, 4), np.float32)}),
        "another_rank": lambda f: retensored(f, **{"model.norm.weight": np.zeros((4, 1), np.float32)}),
    },
    "vocabulary": {
        "two_swapped": lambda f: write_tokenizer(f, {**VOCABULARY, "a": 3, "b": 2}),
        "another_word": lambda f: write_tokenizer(f, {"<pad>": 0, "</s>": 1, "a": 2, "b": 3, "z": 4}),
        "an_id_taken": lambda f: write_tokenizer(f, VOCABULARY, added=[("<x>", 4)]),
        "shifted": lambda f: write_tokenizer(f, {k: v + 1 for k, v in VOCABULARY.items()}),
    },
    "tie": {
        "untied_with_head": lambda f: with_head(f, False, np.zeros((6, 4), np.float32)),
        "untied_without_head": lambda f: rewritten(f, tie_word_embeddings=False),
        "in_text_config": lambda f: rewritten(f, text_config={"tie_word_embeddings": False}),
    },
    "tied_head": {
        "zeros": lambda f: with_head(f, True, np.zeros((6, 4), np.float32)),
        "one_number": lambda f: with_head(f, True, tensors(1)[EMBEDDING] + np.float32(1e-6)),
        "another_dtype": lambda f: with_head(f, True, tensors(1)[EMBEDDING].astype(np.float64)),
    },
    "quantization_config": {
        "gptq": lambda f: rewritten(f, quantization_config={"quant_method": "gptq", "bits": 4}),
        "in_text_config": lambda f: rewritten(f, text_config={"quantization_config": {"bits": 8}}),
        "of_auto_gptq": lambda f: (f / "quantize_config.json").write_text("{}"),
    },
    "config": {
        "heads": lambda f: rewritten(f, num_attention_heads=4),
        "activation": lambda f: rewritten(f, hidden_act="gelu"),
        "kv_heads": lambda f: rewritten(f, num_key_value_heads=1),
    },
    "truncated": {
        "one_byte": lambda f: write_safetensors(f / WEIGHTS, tensors(1), cut=1),
        "half": lambda f: write_safetensors(f / WEIGHTS, tensors(1), cut=200),
        "in_the_header": lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:100]),
        "empty": lambda f: (f / WEIGHTS).write_bytes(b""),
        "seven_bytes": lambda f: (f / WEIGHTS).write_bytes(b"\0" * 7),
    },
    "header": {
        "huge": lambda f: raw_header(f, b"{}", length=1 << 62),
        "no_json": lambda f: raw_header(f, b"no JSON!"),
        "a_list": lambda f: raw_header(f, b"[1, 2]"),
        "deep": lambda f: raw_header(f, b"[" * 100_000),
        "a_tensor_twice": lambda f: raw_header(f, entry()[:-1] + b"," + entry()[1:], b"\0" * 4),
        "other_size": lambda f: raw_header(f, entry(shape=(2,)), b"\0" * 4),
        "negative": lambda f: raw_header(f, entry(places=(-4, 0)), b"\0" * 4),
        "a_float": lambda f: raw_header(f, entry(shape=(1.0,)), b"\0" * 4),
        "many_axes": lambda f: raw_header(f, entry(shape=(1,) * 1000), b"\0" * 4),
        "unknown_dtype": lambda f: raw_header(f, entry(dtype="F4"), b"\0" * 4),
        "more_than_it_says": lambda f: raw_header(f, entry(), b"\0" * 5),
        "a_hole": lambda f: raw_header(f, entry(places=(4, 8)), b"\0" * 8),
        "not_utf8": lambda f: raw_header(f, b"\xff\xfe{}"),
    },
    "no_tensors": {
        "empty_header": lambda f: raw_header(f, b"{}"),
        "only_metadata": lambda f: raw_header(f, b'{"__metadata__": {}}'),
        "empty_index": lambda f: ((f / WEIGHTS).unlink(), (f / INDEX).write_text('{"weight_map": {}}')),
    },
    "json": {
        "config": lambda f: (f / "config.json").write_text("{"),
        "config_list": lambda f: (f / "config.json").write_text("[]"),
        "index": lambda f: (sharded(f), (f / INDEX).write_text("{,}")),
        "tokenizer": lambda f: (f / "tokenizer.json").write_text("{'a'}"),
        "tokenizer_without_model": lambda f: (f / "tokenizer.json").write_text("{}"),
    },
    "index": {
        "out_of_the_folder": lambda f: sharded(f, lambda m: m.update({UP: "../base/model.safetensors"})),
        "absolute": lambda f: sharded(f, lambda m: m.update({UP: "/etc/passwd.safetensors"})),
        "backslashes": lambda f: sharded(f, lambda m: m.update({UP: "..\\base\\model.safetensors"})),
        "the_other_shard": lambda f: sharded(f, lambda m: m.update({UP: m[EMBEDDING]})),
        "a_tensor_left_out": lambda f: sharded(f, lambda m: m.pop(UP)),
        "no_map": lambda f: (sharded(f), (f / INDEX).write_text("{}")),
        "numbers": lambda f: sharded(f, lambda m: m.update({UP: 1})),  # type: ignore[dict-item]
        "no_index": lambda f: (sharded(f), (f / INDEX).unlink()),
    },
    "missing_shard": {
        "removed": lambda f: (sharded(f), (f / "model-00002-of-00002.safetensors").unlink()),
        "renamed": lambda f: sharded(f, lambda m: m.update({UP: "model-00003-of-00002.safetensors"})),
        "a_folder": lambda f: (
            sharded(f),
            (f / "model-00002-of-00002.safetensors").unlink(),
            (f / "model-00002-of-00002.safetensors").mkdir(),
        ),
    },
    "symlink": {
        "weights": lambda f: linked(f, WEIGHTS, "../base/model.safetensors"),
        "config": lambda f: linked(f, "config.json", "../base/config.json"),
        "shard": lambda f: (sharded(f), linked(f, FIRST, "../base/model.safetensors")),
    },
    "pickle": {
        "pytorch": lambda f: only_pickles(f, "pytorch_model.bin"),
        "pt": lambda f: only_pickles(f, "model.pt"),
        "in_the_index": lambda f: sharded(f, lambda m: m.update({UP: "pytorch_model.bin"})),
    },
    "dtype": {
        "integers": lambda f: retensored(f, **{UP: np.zeros((8, 4), np.int64)}),
        "an_integer_norm": lambda f: retensored(f, **{"model.norm.weight": np.zeros(4, np.int64)}),
        "an_integer_embedding": lambda f: retensored(f, **{EMBEDDING: np.zeros((6, 4), np.int64)}),
    },
}  # fmt: skip

WARNINGS: dict[str, dict[str, Break]] = {
    "rope": {
        "theta": lambda f: rewritten(f, rope_theta=1e6),
        "scaling": lambda f: rewritten(f, rope_scaling={"type": "yarn", "factor": 2}),
        "window": lambda f: rewritten(f, sliding_window=64),
    },
    "chat_template": {
        "jinja": lambda f: (f / "chat_template.jinja").write_text("{{ messages }}"),
        "in_the_config": lambda f: (f / "tokenizer_config.json").write_text('{"chat_template": "x"}'),
        "not_text": lambda f: (f / "chat_template.jinja").write_bytes(b"x"),
    },
    "eos": {
        "another": lambda f: rewritten(f, eos_token_id=0),
        "several": lambda f: rewritten(f, eos_token_id=[1, 2]),
        "none": lambda f: rewritten(f, eos_token_id=None),
    },
    "dtype": {
        "float64": lambda f: write_safetensors(
            f / WEIGHTS, {n: a.astype(np.float64) for n, a in tensors(1).items()}
        ),
        "float16": lambda f: write_safetensors(
            f / WEIGHTS, {n: a.astype(np.float16) for n, a in tensors(1).items()}
        ),
        "mixed": lambda f: retensored(f, **{UP: np.zeros((8, 4), np.float16)}),
    },
    "added_tokens": {
        "one": lambda f: write_tokenizer(f, VOCABULARY, added=[("<x>", 5)]),
        "two": lambda f: write_tokenizer(f, VOCABULARY, added=[("<x>", 5), ("<y>", 6)]),
        "a_role": lambda f: write_tokenizer(f, VOCABULARY, added=[("<|user|>", 5)]),
    },
    "tokenizer": {"none": lambda f: (f / "tokenizer.json").unlink()},
    "remote_code": {"auto_map": lambda f: rewritten(f, auto_map={"AutoModel": "x.Y"})},
}
CASES = [(kind, "error", name) for kind, cases in ERRORS.items() for name in cases]
CASES += [(kind, "warning", name) for kind, cases in WARNINGS.items() for name in cases]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "base", tensors(0))
    write_checkpoint(tmp_path / "tuned", tensors(1))
    return tmp_path


def test_sound_models_have_no_problem(models: Path) -> None:
    assert problems(models, "tuned") == []


@pytest.mark.representatives(48)
@pytest.mark.parametrize(("kind", "severity", "name"), CASES, ids=lambda part: part)
def test_what_breaks_a_merge_is_found(models: Path, kind: str, severity: str, name: str) -> None:
    (ERRORS if severity == "error" else WARNINGS)[kind][name](models / "tuned")

    found = problems(models, "tuned")

    assert (kind, severity, "tuned") in {(p.kind, p.severity, p.model) for p in found}
    if severity == "warning":
        assert [p for p in found if p.severity == "error"] == []


@pytest.mark.parametrize(
    ("kind", "change"),
    {
        "truncated": lambda f: write_safetensors(f / WEIGHTS, tensors(0), cut=1),
        "quantization_config": lambda f: rewritten(f, quantization_config={"bits": 4}),
        "symlink": lambda f: linked(f, WEIGHTS, "../tuned/model.safetensors"),
        "tied_head": lambda f: with_head(f, True, np.zeros((6, 4), np.float32)),
    }.items(),
)
def test_a_broken_base_is_found_too(models: Path, kind: str, change: Break) -> None:
    change(models / "base")
    assert (kind, "base") in {(p.kind, p.model) for p in problems(models, "tuned")}


def test_a_problem_says_which_tensor_what_it_is_and_what_it_should_be(models: Path) -> None:
    ERRORS["shape"]["wider"](models / "tuned")
    (found,) = problems(models, "tuned")
    assert (found.tensor, found.have, found.want) == (UP, [9, 4], [8, 4])


def test_a_stored_head_that_is_the_embedding_is_no_problem(models: Path) -> None:
    with_head(models / "tuned", True, tensors(1)[EMBEDDING])
    assert problems(models, "tuned") == []


def test_links_of_the_hubs_cache_are_followed(models: Path) -> None:
    home = models / "models--me--tuned"
    snapshot, blobs = home / "snapshots" / "abc", home / "blobs"
    (home / "snapshots").mkdir(parents=True)
    blobs.mkdir()
    (models / "tuned").rename(snapshot)
    for path in list(snapshot.iterdir()):
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)

    assert problems(models, str(snapshot)) == []


def test_names_that_differ_in_their_front_only_are_the_same(models: Path) -> None:
    bare = {name.removeprefix("model."): array for name, array in tensors(1).items()}
    write_safetensors(models / "tuned" / WEIGHTS, bare)
    assert problems(models, "tuned") == []


def test_buffers_that_models_compute_are_ignored(models: Path) -> None:
    retensored(models / "tuned", **{"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)})
    assert problems(models, "tuned") == []


def test_a_parameter_of_another_method_is_told(models: Path) -> None:
    recipe = models / "recipe.yaml"
    row = {"model": "tuned", "parameters": {"weight": 1, "density": 0.5, "int8_mask": True}}
    recipe.write_text(json.dumps({"merge_method": "task_arithmetic", "base_model": "base", "models": [row]}))
    (found,) = preflight(read_recipe(recipe, native=NATIVE), Places((models,))).preflight.problems
    assert (found.kind, found.severity, found.have) == ("unused_parameter", "warning", "density")


def test_many_problems_of_one_kind_are_counted(models: Path) -> None:
    write_checkpoint(models / "deep", tensors(0, n_layers=40))
    found = problems(models, "tuned", base="deep")
    assert len(found) == 20
    assert found[-1].have == f"{38 * 3 - 19} more like these"


ADAPTERS: dict[str, tuple[str, Break]] = {
    "dora": ("adapter", lambda f: write_adapter(f, config={"use_dora": True})),
    "saved_modules": ("adapter", lambda f: write_adapter(f, config={"modules_to_save": ["lm_head"]})),
    "no_rank": ("adapter", lambda f: (f / "adapter_config.json").write_text("{}")),
    "no_weights": ("adapter", lambda f: (f / "adapter_model.safetensors").unlink()),
    "pickled": ("pickle", lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin")),
    "no_json": ("json", lambda f: (f / "adapter_config.json").write_text("{")),
    "truncated": (
        "truncated",
        lambda f: (f / "adapter_model.safetensors").write_bytes(
            (f / "adapter_model.safetensors").read_bytes()[:-1]
        ),
    ),
    "one_side": (
        "missing_tensor",
        lambda f: write_safetensors(
            f / "adapter_model.safetensors",
            {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": np.zeros((2, 4), np.float32)},
        ),
    ),
    "another_layer": (
        "extra_tensor",
        lambda f: write_safetensors(
            f / "adapter_model.safetensors",
            {
                f"base_model.model.model.layers.7.self_attn.q_proj.lora_{side}.weight": SMALL for side in "AB"
            },
        ),
    ),
    "another_width": (
        "shape",
        lambda f: write_safetensors(
            f / "adapter_model.safetensors",
            {
                f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight": SMALL for side in "AB"
            },
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_wrong_with_an_adapter_is_found(models: Path, name: str) -> None:
    kind, change = ADAPTERS[name]
    write_adapter(models / "lora")
    assert problems(models, "lora", "base+lora") == []
    change(models / "lora")
    assert kind in {p.kind for p in problems(models, "lora")}


def test_a_preflight_of_sixteen_shards_in_the_shape_of_70b_needs_no_torch(tmp_path: Path) -> None:
    """Files of 140 GB that hold nothing but their headers."""
    for name in ("base", "tuned"):
        large_checkpoint(tmp_path / name)
    recipe = {"merge_method": "ties", "base_model": "base", "models": [{"model": "tuned"}]}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    code = (
        "import sys, json; from api.cli.main import main; code = main(sys.argv[1:]); "
        "sys.stderr.write(json.dumps(sorted({'torch', 'transformers'} & set(sys.modules)))); sys.exit(code)"
    )
    command = [
        "merge",
        str(tmp_path / "recipe.yaml"),
        "--out",
        str(tmp_path / "out"),
        "--preflight",
        "--json",
    ]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)

    report = json.loads(done.stdout)
    assert [p["kind"] for p in report["preflight"]["problems"]] in ([], ["disk"])
    assert report["merge"]["tensors"] == 80 * 9 + 3
    assert done.stderr.endswith("[]")


def large_checkpoint(folder: Path) -> None:
    write_checkpoint(folder, {}, config={**CONFIG, "tie_word_embeddings": False, "num_hidden_layers": 80})
    (folder / WEIGHTS).unlink()
    width, inner, kv = 8192, 28672, 1024
    parts = {
        "self_attn.q_proj": [width, width], "self_attn.k_proj": [kv, width], "self_attn.v_proj": [kv, width],
        "self_attn.o_proj": [width, width], "mlp.gate_proj": [inner, width], "mlp.up_proj": [inner, width],
        "mlp.down_proj": [width, inner], "input_layernorm": [width], "post_attention_layernorm": [width],
    }  # fmt: skip
    shapes = {f"model.layers.{i}.{part}.weight": shape for i in range(80) for part, shape in parts.items()}
    shapes |= {"model.embed_tokens.weight": [128256, width], "lm_head.weight": [128256, width]}
    shapes |= {"model.norm.weight": [width]}
    places = {}
    for number in range(16):
        file = f"model-{number + 1:05}-of-00016.safetensors"
        header, at = {}, 0
        for name in list(shapes)[number::16]:
            size = 2 * int(np.prod(shapes[name]))
            header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [at, at + size]}
            at += size
            places[name] = file
        raw = json.dumps(header).encode()
        with (folder / file).open("wb") as out:
            out.write(struct.pack("<Q", len(raw)) + raw)
            out.truncate(8 + len(raw) + at)  # sparse
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
