"""The part `machine`: what is here, and the rates that loads are held against."""

from pathlib import Path

from benchmarks.cuda.checkpoints import checkpoint
from benchmarks.cuda.machine import (
    GB,
    copy_bytes_per_s,
    described,
    drop_cached,
    figure,
    n_bytes_of,
    read_bytes_per_s,
)
from benchmarks.cuda.running import Kept
from benchmarks.cuda.scale import Scale


def measure(scale: Scale, folder: Path, kept: Kept) -> None:
    for name, value in described().items():
        kept.keep(name, value)
    for name, pinned in (("pinned_copy_gb_s", True), ("pageable_copy_gb_s", False)):
        rate = copy_bytes_per_s(scale.copy_mib, pinned=pinned)
        kept.keep(name, figure(None if rate is None else rate / GB))
    place = checkpoint(folder, scale.small, 0)
    kept.keep("checkpoint_gb", round(n_bytes_of(place) / GB, 3))
    drop_cached(place)
    kept.keep("read_cold_gb_s", round(read_bytes_per_s(place, scale.read_mib) / GB, 2))
    kept.keep("read_hot_gb_s", round(read_bytes_per_s(place, scale.read_mib) / GB, 2))
