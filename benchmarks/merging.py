"""What merging costs: `python -m benchmarks.merging [--mergekit PYTHON] [--layers 30] [--keep FOLDER]`.

Two checkpoints of SmolLM2-135M's shapes (30 layers, hidden 576, vocabulary 49,152, tied, bfloat16, random
numbers) and their base are merged by `linear` and by `ties` (density .5; `ties_dense`: 1, as in recipes):

    command    `muster merge`, everything included: imports, preflight, the child, copies, hashes
    ours       the same work in one process after its imports
    mergekit   `run_merge` after its imports, without its tokenizer; only with an interpreter that has it

`s` is wall time, `cpu_s` CPU time of all processes, `peak_rss_mb` the peak of the process that merges.
`over_mergekit` is the CPU time of `ours` over mergekit's. Then `preflight`: two 70B-shaped checkpoints of 16
files and their base, headers only (the files are sparse), as `check_order` does it after imports. The last
line of stdout is one JSON object.
"""

import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser, progress

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "tests/merging/reference.py"
VOCABULARY, HIDDEN, INNER, KV = 49152, 576, 1536, 192
N_FILES = 16
SIZES_70B = {"hidden": 8192, "inner": 28672, "kv": 1024, "layers": 80, "vocabulary": 128256}
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "dtype": "bfloat16",
    "eos_token_id": 1,
}
BOTH = [
    {"model": "a", "parameters": {"weight": 0.6, "density": 0.5}},
    {"model": "b", "parameters": {"weight": 0.4, "density": 0.5}},
]
ALL = [{"model": entry["model"], "parameters": {"weight": 0.5}} for entry in BOTH]
HALF = {"dtype": "float32", "out_dtype": "bfloat16"}
RECIPES: dict[str, dict[str, Any]] = {
    "linear": {"merge_method": "linear", "models": ALL, **HALF},
    "ties": {"merge_method": "ties", "base_model": "base", "models": BOTH, **HALF},
    "ties_dense": {"merge_method": "ties", "base_model": "base", "models": ALL, **HALF},
}
Shapes = dict[str, tuple[int, ...]]


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--mergekit", metavar="PYTHON", help="an interpreter that has mergekit 0.1.5")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--keep", type=Path, help="folder for the checkpoints; default: one that is removed")
    parser.add_argument("--alone", nargs=2, metavar=("RECIPE", "OUT"), help="merge once and say what it took")
    parser.add_argument("--look", metavar="RECIPE", help="check once and say what it took")
    arguments = parser.parse_args()
    if arguments.alone:
        finish(merge_alone(Path(arguments.alone[0]), Path(arguments.alone[1])))
    elif arguments.look:
        finish(look(Path(arguments.look)))
    elif arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        finish(measure(arguments.keep, arguments.mergekit, arguments.layers))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            finish(measure(Path(scratch), arguments.mergekit, arguments.layers))


def measure(folder: Path, mergekit: str | None, n_layers: int) -> dict[str, Any]:
    """All figures; checkpoints are written into the folder."""
    progress("writing three checkpoints")
    write_checkpoints(folder, n_layers)
    (folder / "recipes").mkdir(exist_ok=True)
    for name, recipe in RECIPES.items():
        (folder / "recipes" / f"{name}.json").write_text(json.dumps(recipe))
        (folder / f"{name}.yaml").write_text(json.dumps(recipe))
    report: dict[str, Any] = {}
    for name in RECIPES:
        progress(f"merging by {name}")
        report[name] = {"command": by_command(folder, name), "ours": in_one_process(folder, name)}
    if mergekit is not None:
        progress("merging by mergekit")
        for name, took in by_mergekit(folder, mergekit).items():
            report[name]["mergekit"] = took
            report[name]["over_mergekit"] = round(report[name]["ours"]["cpu_s"] / took["cpu_s"], 3)
    progress("checking 70B shapes")
    return {**report, "preflight": check_70b(folder / "large")}


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────


def shapes_of(n_layers: int, *, hidden: int, inner: int, kv: int, vocabulary: int, tied: bool) -> Shapes:
    """Tensors of a Llama by name."""
    shapes: Shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    if not tied:
        shapes["lm_head.weight"] = (vocabulary, hidden)
    parts: Shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    for layer in range(n_layers):
        shapes |= {f"model.layers.{layer}.{part}.weight": shape for part, shape in parts.items()}
    return shapes


def write_checkpoints(folder: Path, n_layers: int) -> None:
    """`base`, and `a` and `b` around it."""
    import torch
    from safetensors.torch import save_file

    shapes = shapes_of(n_layers, hidden=HIDDEN, inner=INNER, kv=KV, vocabulary=VOCABULARY, tied=True)
    for seed, name in enumerate(("base", "a", "b")):
        generators = [torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)]
        tensors = {}
        for key, shape in shapes.items():
            tensor = torch.randn(shape, generator=generators[0]).mul_(0.04)
            if seed:
                tensor.add_(torch.randn(shape, generator=generators[1]), alpha=0.002)
            tensors[key] = tensor.to(torch.bfloat16)
        (folder / name).mkdir(exist_ok=True)
        save_file(tensors, folder / name / "model.safetensors", metadata={"format": "pt"})
        write_configuration(folder / name, n_layers, HIDDEN, INNER, VOCABULARY, tied=True)


def write_configuration(
    folder: Path, n_layers: int, hidden: int, inner: int, vocabulary: int, *, tied: bool
) -> None:
    sizes = {"num_hidden_layers": n_layers, "hidden_size": hidden, "intermediate_size": inner}
    config = {**CONFIG, **sizes, "vocab_size": vocabulary, "tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(config))
    tokens = {f"token{number}": number for number in range(vocabulary)}
    tokenizer = {"added_tokens": [], "model": {"type": "BPE", "vocab": tokens, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def write_headers(folder: Path) -> None:
    """A 70B-shaped checkpoint whose files are holes behind their headers."""
    folder.mkdir(parents=True, exist_ok=True)
    n_layers = SIZES_70B["layers"]
    widths = {key: size for key, size in SIZES_70B.items() if key != "layers"}
    shapes = list(shapes_of(n_layers, **widths, tied=False).items())
    weight_map = {}
    for number in range(N_FILES):
        name = f"model-{number + 1:05}-of-{N_FILES:05}.safetensors"
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        at = 0
        for key, shape in shapes[number::N_FILES]:
            size = 2 * prod(shape)
            header[key] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
            weight_map[key] = name
            at += size
        raw = json.dumps(header).encode()
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(raw)) + raw)
            file.truncate(8 + len(raw) + at)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    write_configuration(
        folder, n_layers, SIZES_70B["hidden"], SIZES_70B["inner"], SIZES_70B["vocabulary"], tied=False
    )


# ── measuring ────────────────────────────────────────────────────────────────────────────────────────


def by_command(folder: Path, name: str) -> dict[str, float]:
    """`muster merge` as people run it."""
    out = folder / f"command-{name}"
    options = ["--out", str(out), "--no-profile", "--force", "--json"]
    command = [sys.executable, "-m", "api.cli.main", "merge", str(folder / f"{name}.yaml"), *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=_environment())
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = json.loads(done.stdout)["merge"]["peak_rss_mb"]
    return {"s": round(wall_s, 2), "cpu_s": round(cpu_s, 2), "peak_rss_mb": peak}


def in_one_process(folder: Path, name: str) -> dict[str, float]:
    """The same merge without the start of processes."""
    return _asked(["--alone", str(folder / f"{name}.yaml"), str(folder / f"alone-{name}")])


def merge_alone(recipe: Path, out: Path) -> dict[str, float]:
    """A merge in this process, measured after its imports."""
    import workers.checkpoints.merging.results  # noqa: F401 -- loads torch
    from workers.checkpoints.merging.child import work
    from workers.checkpoints.merging.runner import MergeOrder, check_order, run_order

    said: list[Any] = []

    def child(folder: Path, *_: object) -> Any:
        work(folder, said.append)
        return said[-1]

    started = time.perf_counter(), time.process_time()
    report = run_order(check_order(MergeOrder(recipe, out, force=True)), child=child)
    wall_s, cpu_s = time.perf_counter() - started[0], time.process_time() - started[1]
    assert report.merge.sha256 is not None, report.verdict
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"s": round(wall_s, 2), "cpu_s": round(cpu_s, 2), "peak_rss_mb": round(peak, 1)}


def by_mergekit(folder: Path, python: str) -> dict[str, dict[str, float]]:
    """mergekit's own merges, as it makes them."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, str(REFERENCE), str(folder), "0", "--as-it-is"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    took: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return {name: {key: round(value, 2) for key, value in figures.items()} for name, figures in took.items()}


def check_70b(folder: Path) -> dict[str, float]:
    """The preflight of a merge of two 70B-shaped checkpoints over a third."""
    for name in ("base", "a", "b"):
        write_headers(folder / name)
    (folder / "ties.yaml").write_text(json.dumps(RECIPES["ties"]))
    return _asked(["--look", str(folder / "ties.yaml")])


def look(recipe: Path) -> dict[str, float]:
    """A preflight in this process, measured after its imports: the better of two."""
    from workers.checkpoints.merging.runner import MergeOrder, check_order

    took = []
    for _ in range(2):
        started = time.perf_counter(), time.process_time()
        checked = check_order(MergeOrder(recipe, recipe.parent / "out"))
        took.append((time.perf_counter() - started[0], time.process_time() - started[1]))
        kinds = {problem.kind for problem in checked.preflight.problems}
        assert kinds <= {"disk"}, f"sound but for the room that 140 GB need: {kinds}"
    return {"s": round(min(took)[0], 3), "cpu_s": round(min(took)[1], 3), "first_cpu_s": round(took[0][1], 3)}


def _asked(options: list[str]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.merging", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=_environment())
    said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return said


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


if __name__ == "__main__":
    main()
