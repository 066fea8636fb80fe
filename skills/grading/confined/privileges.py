"""Capabilities and limits of one process."""

import ctypes
import resource
import struct
from collections.abc import Mapping

from skills.grading.confined import kernel

_LAST_CAPABILITY = 63
_VERSION_3 = 0x20080522
_AMBIENT_CLEAR_ALL = 4


def drop() -> None:
    """No capabilities, none to be gained, and no new privileges by executing anything.

    Raises:
        OSError: the kernel refuses.
    """
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            kernel.prctl("bounding set", kernel.PR_CAPBSET_DROP, capability)
        except OSError:
            break  # past the last one that this kernel knows, or there is none to drop
    kernel.prctl("ambient set", kernel.PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0))
    kernel.syscall("capset", kernel.CAPSET, header, ctypes.create_string_buffer(24))
    kernel.prctl("no new privileges", kernel.PR_SET_NO_NEW_PRIVS, 1)


def limit(limits: Mapping[str, int]) -> None:
    """Set limits by the names of `resource` ("AS": bytes); one that the host keeps lower stays."""
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
