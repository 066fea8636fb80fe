"""Landlock: rules on files, TCP and signals that a process lays on itself. https://landlock.io"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable

from skills.grading.confined import kernel

NEWEST = 7
"""Version of the kernel's interface up to which rights are known here."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _IOCTL_DEV = (1 << n for n in (6, 9, 10, 11, 15))
_DEVICE = _READ_FILE | _WRITE_FILE
_NOT_IN_WORKSPACE = _EXECUTE | _MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCK | _MAKE_FIFO | _IOCTL_DEV
_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract sockets, signals


def version() -> int:
    """Version of the kernel's interface.

    Raises:
        OSError: the kernel has none, or it is switched off.
    """
    return kernel.syscall("landlock", kernel.LANDLOCK_CREATE, 0, 0, 1)


def restrict(readable: Iterable[str], workspace: str) -> None:
    """Handle every right that the kernel knows; allow to read, to write devices, to work in the workspace.

    Raises:
        OSError: the kernel refuses.
    """
    known = min(version(), NEWEST)
    files = rights_on_files(known)
    ruleset = _create(known, files)
    _allow(ruleset, workspace, files & ~_NOT_IN_WORKSPACE)
    for path in readable:
        # Without a mount namespace some may be out of reach: what has no rule is refused.
        with contextlib.suppress(OSError):
            _allow(ruleset, path, _DEVICE if path.startswith("/dev/") else _READ_FILE | _READ_DIR)
    kernel.syscall("landlock", kernel.LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def rights_on_files(known: int) -> int:
    """Version 1 knew 13 rights; 2 added refer, 3 truncate, 5 ioctl on devices."""
    return (1 << (13 + (known >= 2) + (known >= 3) + (known >= 5))) - 1


def _create(known: int, files: int) -> int:
    words = [files, *([_TCP] if known >= 4 else []), *([_SCOPES] if known >= 6 else [])]
    attributes = ctypes.create_string_buffer(struct.pack(f"={len(words)}Q", *words))
    return kernel.syscall("landlock", kernel.LANDLOCK_CREATE, attributes, 8 * len(words), 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
        rights &= ~_READ_DIR
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, beneath))
    kernel.syscall("landlock", kernel.LANDLOCK_ADD, ruleset, 1, rule, 0)
    os.close(beneath)
