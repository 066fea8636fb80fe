"""Free memory of NVIDIA GPUs, as their driver tells it: without a context on them, so for any process."""

import ctypes
import logging
import os
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

GIB = 1 << 30
LIBRARY = "libnvidia-ml.so.1"
DRIVER = Path("/proc/driver/nvidia/gpus")
VISIBLE = "CUDA_VISIBLE_DEVICES"
ALL = "cuda"
"""Device that is all GPUs."""


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def has_gpus() -> bool:
    """True on a machine with a GPU of NVIDIA that this process may use."""
    return os.environ.get(VISIBLE) not in ("", "-1") and DRIVER.is_dir() and any(DRIVER.iterdir())


def gpu_free_gib(device: str = "auto", numbers: Collection[int] = ()) -> float | None:
    """Free memory of the GPU that has least, of those that a device's engines use; None = not known.

    Args:
        device: `cuda` = all that there are, where the environment does not choose some; else the first.
        numbers: of further GPUs that engines of the device name themselves.
    """
    library = _library()
    if library is None:
        return None
    names = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    names = names or [str(n) for n in _numbers(library, device, numbers)]
    handles = [_handle(library, name) for name in names]
    free = [_free_gib(library, handle) for handle in handles if handle is not None]
    known = [gib for gib in free if gib is not None]
    return min(known) if known and len(known) == len(names) else None


def _numbers(library: ctypes.CDLL, device: str, numbers: Collection[int]) -> Collection[int]:
    count = ctypes.c_uint()
    if device != ALL or library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
        return {0, *numbers}
    return range(count.value)


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(LIBRARY)
        return library if library.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError) as error:
        log.debug("no NVML: %s", error)
        return None


def _handle(library: ctypes.CDLL, name: str) -> ctypes.c_void_p | None:
    """Handle of a GPU by its number or its UUID, as `CUDA_VISIBLE_DEVICES` has them."""
    handle = ctypes.c_void_p()
    find: Callable[..., int] = library.nvmlDeviceGetHandleByUUID
    key: ctypes.c_uint | bytes = name.encode()
    if name.isdecimal():
        find, key = library.nvmlDeviceGetHandleByIndex_v2, ctypes.c_uint(int(name))
    return handle if find(key, ctypes.byref(handle)) == 0 else None


def _free_gib(library: ctypes.CDLL, handle: ctypes.c_void_p) -> float | None:
    memory = _Memory()
    if library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != 0:
        return None
    return int(memory.free) / GIB
