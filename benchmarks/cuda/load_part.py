"""The part `load`: seconds of loads over their bound, and swaps in one child process.

A load cannot take less than its bytes take to be read, or, if that is longer, to be copied to the device from
pinned memory: the bound. Cold: its pages are not in the kernel's cache; hot: they are.
"""

from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cuda.checkpoints import checkpoint
from benchmarks.cuda.engines import ask, load_engine, spec_of
from benchmarks.cuda.machine import (
    GB,
    copy_bytes_per_s,
    difference,
    drop_cached,
    figure,
    free_gib,
    n_bytes_of,
    on_cuda,
    read_bytes_per_s,
    timed,
)
from benchmarks.cuda.running import Kept
from benchmarks.cuda.scale import Scale
from workers.engine_host.backend import HostedBackend
from workers.engine_host.engine import HostedEngine


def measure(scale: Scale, folder: Path, kept: Kept) -> None:
    copied = copy_bytes_per_s(scale.copy_mib, pinned=True)
    small = [checkpoint(folder, scale.small, seed) for seed in range(2)]
    warm_up(small[0])
    kept.keep("hot_small", of_place(small[0], scale, copied, cold=False))
    kept.keep("cold_small", of_place(small[0], scale, copied, cold=True))
    kept.keep("swap_small", swaps(small))
    large = checkpoint(folder, scale.large, 0)
    kept.keep("hot_large", of_place(large, scale, copied, cold=False))
    kept.keep("swap_small_large", swaps([small[0], large]))
    kept.keep("cold_large", of_place(large, scale, copied, cold=True))


def warm_up(place: Path) -> None:
    """The first load imports its modules and makes the device's context, which are no engine's cost."""
    engine = load_engine(spec_of("first", place))
    ask(engine, ["a"], tokens=2)
    engine.close()


def of_place(place: Path, scale: Scale, copied: float | None, *, cold: bool) -> dict[str, Any]:
    """One load in this process by the transformers engine, its first token, and what closing gives back.

    Args:
        copied: bytes/s of a pinned copy; None = there is no device to copy to.
    """
    n_bytes = n_bytes_of(place)
    if cold:
        drop_cached(place)
        read = read_bytes_per_s(place, scale.read_mib)
        drop_cached(place)
    else:
        read_bytes_per_s(place, 1 << 20)  # all of it is in the cache then
        read = read_bytes_per_s(place, scale.read_mib)
    bound_s = n_bytes / (read if copied is None else min(read, copied))
    before = free_gib()
    engines: list[Any] = []
    load_s = timed(lambda: engines.append(load_engine(spec_of(place.name, place))))
    loaded = free_gib()
    first_s = timed(lambda: ask(engines[0], ["abc"], tokens=1))
    engines.pop().close()
    closed = free_gib()
    return {
        "gb": round(n_bytes / GB, 3),
        "load_s": round(load_s, 3),
        "read_gb_s": round(read / GB, 2),
        "copy_gb_s": figure(None if copied is None else copied / GB),
        "bound_s": round(bound_s, 6),
        "over_bound": round(load_s / bound_s, 2),
        "first_token_s": round(first_s, 3),
        "took_gib": difference(before, loaded),
        "kept_gib": difference(before, closed),
    }


def swaps(places: list[Path]) -> dict[str, Any]:
    """Engines one after the other in one child process, there and back: a warm child takes the next one.

    `processes`: children that loaded something; 1 = all memory came back, so that no child was ended.
    `kept_gib`: device memory that was not free before the first load and is not after the last close,
    the child's context included.
    """
    backend = HostedBackend("transformers", n_spares=0)
    before = free_gib()
    pids, loads = set(), []
    try:
        for number, place in enumerate([*places, *places]):
            engine: HostedEngine = backend.load(spec_of(f"swap-{number}", place), ())
            pids.add(engine.pid)
            loads.append(round(engine.load_s, 3))
            first_s = timed(partial(ask, engine, ["abc"], tokens=1))
            memory = engine.memory
            engine.close()
        kept_gib = difference(before, free_gib())
    finally:
        backend.close()
    return {
        "load_s": loads,
        "last_first_token_s": round(first_s, 3),
        "processes": len(pids),
        "child_rss_gib": round(memory.rss_gib, 2) if memory is not None else None,
        "child_device_free_gib": figure(memory.cuda_free_gib if memory is not None and on_cuda() else None),
        "kept_gib": kept_gib,
    }
