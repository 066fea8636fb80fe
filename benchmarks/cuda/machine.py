"""The machine that a part runs on: its device, its memory, and the rates that bound a load."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

GIB, MIB, GB = 1 << 30, 1 << 20, 1e9
NOT_ON_CPU = "not_on_cpu"
"""In place of a figure that only a GPU can give."""
READ_BYTES = 16 * MIB
LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "accelerate",
    "vllm",
    "pydantic",
    "sqlmodel",
)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_cuda() -> bool:
    return device().type == "cuda"


def settle() -> None:
    """Wait until the device has done what it was given: a time read before would be too early."""
    if on_cuda():
        torch.cuda.synchronize()


def timed(run: Callable[[], Any]) -> float:
    """Seconds of wall time, the device's work included."""
    settle()
    began = time.perf_counter()
    run()
    settle()
    return time.perf_counter() - began


def free_gib() -> float | None:
    """Memory that the whole device has left, GiB; None without one."""
    return torch.cuda.mem_get_info()[0] / GIB if on_cuda() else None


def figure(value: float | None, digits: int = 2) -> float | str:
    """A figure of the device, or the word that says that there is none."""
    return NOT_ON_CPU if value is None else round(value, digits)


def difference(after: float | None, before: float | None) -> float | str:
    return figure(None if after is None or before is None else after - before)


def rss_gib(field: str = "VmRSS") -> float:
    """This process's memory now (VmRSS) or at its peak (VmHWM), GiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / MIB for line in lines if line.startswith(f"{field}:"))


def forget_peak() -> None:
    """Begin to count this process's peak anew, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def described() -> dict[str, Any]:
    """Versions and sizes."""
    versions = {name: metadata.version(name) for name in LIBRARIES if find_spec(name) is not None}
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "versions": versions,
        "cuda": torch.version.cuda,
    }
    if not on_cuda():
        return {**found, "device": "cpu", "device_gib": NOT_ON_CPU}
    properties = torch.cuda.get_device_properties(0)
    major, minor = torch.cuda.get_device_capability(0)
    return {
        **found,
        "device": properties.name,
        "device_gib": round(properties.total_memory / GIB, 1),
        "capability": f"{major}.{minor}",
    }


# ── rates ────────────────────────────────────────────────────────────────────────────────────────────


def copy_bytes_per_s(mib: int, *, pinned: bool, repeats: int = 3) -> float | None:
    """Bytes/s of copies from the host's memory to the device; None without one."""
    if not on_cuda():
        return None
    held = torch.ones(mib * MIB, dtype=torch.uint8, pin_memory=pinned)
    there = torch.empty_like(held, device=device())
    there.copy_(held)
    seconds = [timed(lambda: there.copy_(held, non_blocking=True)) for _ in range(repeats)]
    return mib * MIB / statistics.median(seconds)


def drop_cached(folder: Path) -> None:
    """Have the kernel forget the pages of the files in a folder, once they are on the disk."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_bytes_per_s(folder: Path, most_mib: int) -> float:
    """Bytes/s of reading the weights in a folder front to back, at most so much of them, in one thread."""
    buffer, n_bytes = memoryview(bytearray(READ_BYTES)), 0
    began = time.perf_counter()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb", buffering=0) as file:
            while n_bytes < most_mib * MIB and (got := file.readinto(buffer)):
                n_bytes += got
    return n_bytes / max(time.perf_counter() - began, 1e-9)


def n_bytes_of(folder: Path) -> int:
    """Size of the weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
