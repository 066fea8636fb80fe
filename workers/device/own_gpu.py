"""The GPU that a process owns: it and its children see no other one.

Engines take the first GPU that they see, whatever runs them. It is chosen here, before CUDA is touched, by
the variables that CUDA itself reads.
"""

import os
import re
from collections.abc import Iterable, MutableMapping

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import ConfigError

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
CHOSEN = "MUSTER_CHOSEN_DEVICE"
"""Variable that says which device a process has chosen already, and which process: children choose anew,
among what they see."""
_CUDA = re.compile(r"cuda:(\d{1,4})")


def own_device(device: str, environment: MutableMapping[str, str]) -> None:
    """Hide all GPUs but one: of `cuda:N` the N-th that is visible, in the order of `nvidia-smi`; of `cpu`
    none is left. `auto` and `cuda` change nothing, nor do names that mean no device of CUDA's.

    Args:
        environment: of the process, changed in place.

    Raises:
        ConfigError: a GPU that cannot be, or other than the one that was chosen before.
    """
    process, _, chosen = environment.get(CHOSEN, "").partition(" ")
    if visible(device, None) is None:
        return
    if process == str(os.getpid()):
        if chosen == device or (_kind(chosen) == _kind(device) == "cpu"):
            return
        raise ConfigError(
            f"device '{device}' is asked for in a process that has chosen '{chosen}'.",
            param="muster.device",
            remedy="Start one process per device.",
        )
    environment[VISIBLE] = visible(device, environment.get(VISIBLE)) or ""
    environment[CHOSEN] = f"{os.getpid()} {device}"
    environment.setdefault(ORDER, "PCI_BUS_ID")


def visible(device: str, seen: str | None) -> str | None:
    """GPUs that CUDA may see for a device, as its variable has them; None = as it is.

    Args:
        seen: what it may see already, separated by commas; None = everything.

    Raises:
        ConfigError: the N-th of fewer, or no number.
    """
    if _kind(device) == "cpu":
        return ""
    if _kind(device) != "cuda" or device == "cuda":
        return None
    number = _CUDA.fullmatch(device)
    if number is None:
        raise ConfigError(
            f"device '{device}' is none.", param="muster.device", remedy="Valid: auto, cpu, cuda, cuda:N."
        )
    if seen is None:
        return str(int(number[1]))
    listed = [one.strip() for one in seen.split(",") if one.strip()]
    if int(number[1]) >= len(listed):
        raise ConfigError(
            f"device '{device}' is asked for, but {VISIBLE} shows {len(listed)} GPU(s).",
            param="muster.device",
            remedy=f"Choose one of the {len(listed)}, counted from 0, or unset {VISIBLE}.",
        )
    return listed[int(number[1])]


def numbers_of(engines: Iterable[EngineSpec]) -> set[int]:
    """Numbers of the GPUs that engines name themselves, by `options.device`."""
    found = (_CUDA.fullmatch(str(engine.options.get("device"))) for engine in engines)
    return {int(match[1]) for match in found if match is not None}


def _kind(device: str) -> str:
    return device.partition(":")[0]
