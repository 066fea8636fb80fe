"""Memory that a process and its device hold, and whether it came back after an engine was dropped."""

import ctypes
import ctypes.util
import gc
import os
import sys
from pathlib import Path

from orchestrator.domain.experts import LONGEST_CONTEXT, EngineSpec
from workers.checkpoints.gguf import GGUF, GgufError, read_gguf
from workers.engine_host.wire import Memory

GIB = 1 << 30
TOLERANCE_GIB = 0.75
"""What a process may keep of a dropped engine: caches that libraries fill once, fragments."""
RESERVE_GIB = 1.0
WEIGHTS_OVERHEAD = 2.0
"""Resident size over the size of the weight files, where nothing better is known: conversion, cache."""


def read_memory(*, cuda: bool) -> Memory:
    """Memory of this process; with `cuda` also of its current device, which makes it a context."""
    free, total = _cuda_memory() if cuda else (None, None)
    return Memory(rss_gib=_rss_bytes() / GIB, cuda_free_gib=free, cuda_total_gib=total)


def _rss_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: the peak is the nearest thing
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cuda_memory() -> tuple[float | None, float | None]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None, None
    free, total = torch.cuda.mem_get_info()
    return free / GIB, total / GIB


def freeze_imports() -> None:
    """Exempt what exists now from garbage collection: a full one walks all that libraries brought, for a
    second with vLLM, and dropping an engine needs several."""
    gc.collect()
    gc.freeze()


def give_memory_back() -> None:
    """Collect garbage and return freed memory to the system and the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux" and (libc := ctypes.util.find_library("c")):
        trim = getattr(ctypes.CDLL(libc), "malloc_trim", None)
        if trim is not None:
            trim(0)


def came_back(before: Memory, after: Memory, *, tolerance_gib: float) -> bool:
    """True if memory after an engine was dropped is what it was before any was loaded."""
    if after.rss_gib > before.rss_gib + tolerance_gib:
        return False
    if before.cuda_free_gib is None or after.cuda_free_gib is None:
        return True
    return after.cuda_free_gib >= before.cuda_free_gib - tolerance_gib


def weight_files(spec: EngineSpec) -> list[Path]:
    """Files of an engine's weights on this machine; none of what is not here as a folder or a file, or cannot
    be looked at: its load will say so."""
    files: list[Path] = []
    for place in {Path(place) for place in (spec.model, *spec.members.values())}:
        try:
            found = place.glob("*.safetensors") if place.is_dir() else [place]
            files += [file for file in found if file.is_file()]
        except OSError:
            continue
    return sorted(files)


def needed_gib(spec: EngineSpec) -> float | None:
    """Memory that the resident engine will take, GiB: as configured, or guessed from its weight files; None =
    there are none to guess from."""
    promised = spec.options.get("memory_gib", spec.memory_gib)
    if isinstance(promised, int | float):
        return promised
    if spec.model.lower().endswith(GGUF):
        return _gguf_gib(spec)
    try:
        n_bytes = sum(path.stat().st_size for path in weight_files(spec))
    except OSError:  # they are being removed
        return None
    return WEIGHTS_OVERHEAD * n_bytes / GIB if n_bytes else None


def _gguf_gib(spec: EngineSpec) -> float | None:
    """Size of the model's files, and what it keeps of a full context of every request at once."""
    try:
        header = read_gguf(Path(spec.model))
    except GgufError:
        return None
    at_once = spec.options.get("concurrent")
    if spec.max_model_len >= LONGEST_CONTEXT:
        n_tokens = header.context_length or 0
    else:
        n_tokens = spec.max_model_len * (at_once if isinstance(at_once, int) else 1)
    return header.memory_gib(n_tokens)


def available_gib() -> float | None:
    """Memory that the system can still give, GiB, within the limit of a container; None = unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable")), None)
    limit = _container_free_gib()
    known = [value for value in (free, limit) if value is not None]
    return min(known) if known else None


def _container_free_gib() -> float | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else (int(limit) - used) / GIB
