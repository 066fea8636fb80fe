"""The part `merges`: two large checkpoints merged, by the child that `muster merge` starts and on the device.

On the CPU the whole way is measured: reading, merging, hashing, writing. On the device the same functions get
the same tensors, which are read, copied there, merged and copied back; nothing is written. Methods that would
need hours for all layers on a CPU get a few: `layers` says how many of how many. `gb_s` counts inputs and
result.
"""

import json
import shutil
import statistics
import time
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from aggregators.weights import merge_tensor
from benchmarks.cuda.checkpoints import checkpoint, shapes_of
from benchmarks.cuda.machine import (
    GB,
    GIB,
    NOT_ON_CPU,
    device,
    forget_peak,
    n_bytes_of,
    on_cuda,
    rss_gib,
    settle,
)
from benchmarks.cuda.running import Kept
from benchmarks.cuda.scale import Scale
from benchmarks.reporting import progress
from workers.checkpoints.merging.headers import Checkpoint, read_checkpoint
from workers.checkpoints.merging.runner import MergeOrder, check_order, run_order
from workers.checkpoints.merging.tensors import read_tensor

N_LARGE = 2
DENSITY = 0.5
NEEDS_BASE = {"linear": False, "ties": True, "tsvm": True}
SAME = 1e-2
"""Largest difference of results on both devices, as a share of the largest entry: both are rounded to
bfloat16."""


def measure(scale: Scale, folder: Path, kept: Kept) -> None:
    kept.keep("like_cpu", {method: like_cpu(method, hidden=scale.small.hidden) for method in NEEDS_BASE})
    make_room(folder, scale)
    for method, (on_cpu, there) in scale.merge_layers.items():
        kept.keep(f"{method}_device", _of_method(method, there, scale, folder, is_on_device=True))
        kept.keep(f"{method}_cpu", _of_method(method, on_cpu, scale, folder, is_on_device=False))


def _of_method(method: str, layers: int, scale: Scale, folder: Path, *, is_on_device: bool) -> dict[str, Any]:
    whole = scale.large.layers == layers
    shape = scale.large if whole else scale.large.of_layers(layers)
    seeds = range(3 if NEEDS_BASE[method] else 2)
    places = [checkpoint(folder, shape, seed) for seed in seeds]
    merged = on_device(method, places) if is_on_device else by_child(method, places, folder)
    if not whole:
        for place in places:
            shutil.rmtree(place)
    return {"layers": f"{layers} of {scale.large.layers}", **merged}


def make_room(folder: Path, scale: Scale) -> None:
    """Remove what earlier parts have written, where two large models and a third of their size do not fit
    beside it."""
    needed = sum(2 * prod(size) for size in shapes_of(scale.large).values()) * (N_LARGE + 1)
    if shutil.disk_usage(folder).free > needed:
        return
    progress("removing the small checkpoints: the disk has little room")
    for place in (*folder.glob(f"{scale.small.name}-*"), folder / "members"):
        shutil.rmtree(place, ignore_errors=True)


def parameters(method: str) -> dict[str, JsonValue]:
    if method == "tsvm":
        return {}
    return {"weight": 0.5, **({"density": DENSITY} if method == "ties" else {})}


# ── on the CPU ───────────────────────────────────────────────────────────────────────────────────────


def by_child(method: str, places: list[Path], folder: Path) -> dict[str, Any]:
    """The merge as `muster merge` makes it."""
    base, models = (places[0], places[1:]) if NEEDS_BASE[method] else (None, places)
    recipe: dict[str, Any] = {
        "merge_method": method,
        "models": [{"model": str(model), "parameters": parameters(method)} for model in models],
        "dtype": "float32",
        "out_dtype": "bfloat16",
    }
    if method == "tsvm":
        recipe["models"] = [{"model": str(model)} for model in models]
    if base is not None:
        recipe["base_model"] = str(base)
    path, out = folder / f"{method}.json", folder / f"merged-{method}"
    path.write_text(json.dumps(recipe))
    began = time.perf_counter()
    report = run_order(check_order(MergeOrder(path, out, force=True)))
    seconds = time.perf_counter() - began
    if report.merge.sha256 is None:
        return {"refused": report.verdict}
    n_bytes = sum(map(n_bytes_of, places)) + n_bytes_of(out)
    for file in out.glob("*.safetensors"):
        file.unlink()  # disks of such machines are small
    peak_mb = report.merge.peak_rss_mb
    return {
        "s": round(seconds, 2),
        "gb_s": round(n_bytes / GB / seconds, 3),
        "peak_host_gib": None if peak_mb is None else round(peak_mb / 1024, 2),
    }


# ── on the device ────────────────────────────────────────────────────────────────────────────────────


def on_device(method: str, places: list[Path]) -> dict[str, Any]:
    """All tensors of the checkpoints through the method's function, one after the other."""
    forget_peak()
    if on_cuda():
        torch.cuda.reset_peak_memory_stats()
    heads = [_opened(place) for place in places]
    n_bytes, merging_s = 0, []
    began = time.perf_counter()
    for name in heads[0].tensors:
        given = [read_tensor(head.tensors[name]).to(device()) for head in heads]
        settle()
        at = time.perf_counter()
        result = merged_tensor(method, given, name)
        settle()
        merging_s.append(time.perf_counter() - at)
        n_bytes += sum(one.nbytes for one in (*given, result))
        result.cpu()
    seconds = time.perf_counter() - began
    return {
        "on": device().type,
        "s": round(seconds, 2),
        "merging_s": round(sum(merging_s), 2),
        "slowest_tensor_s": round(max(merging_s), 3),
        "median_tensor_s": round(statistics.median(merging_s), 5),
        "gb_s": round(n_bytes / GB / seconds, 3),
        "peak_host_gib": round(rss_gib("VmHWM"), 2),
        "peak_device_gib": round(torch.cuda.max_memory_allocated() / GIB, 2) if on_cuda() else NOT_ON_CPU,
    }


def merged_tensor(method: str, given: list[torch.Tensor], name: str) -> torch.Tensor:
    base, models = (given[0], given[1:]) if NEEDS_BASE[method] else (None, given)
    return merge_tensor(method, base, models, parameters(method), name=name)


def _opened(place: Path) -> Checkpoint:
    problems: list[Any] = []
    whole = read_checkpoint(place, place.name, problems.append)
    if whole is None:
        raise RuntimeError(f"{place} cannot be read: {problems}")
    return whole


def like_cpu(method: str, *, hidden: int) -> Mapping[str, Any]:
    """Largest difference of one matrix merged on the device and on the CPU, over the largest entry."""
    generator = torch.Generator().manual_seed(0)
    size = (hidden, 2 * hidden)
    given = [torch.randn(size, generator=generator).mul_(0.02) for _ in range(3 if NEEDS_BASE[method] else 2)]
    name = "model.layers.0.mlp.down_proj.weight"
    here = merged_tensor(method, given, name)
    there = merged_tensor(method, [one.to(device()) for one in given], name).cpu()
    away = float((here - there).abs().max() / here.abs().max())
    return {"away": round(away, 6), "same": away <= SAME}
