"""The filter of system calls: what CPython and its standard library need is allowed, by number and argument.

Everything else fails with EPERM: new processes and programs, ptrace, mounts, namespaces, keys, BPF,
io_uring, userfaultfd, memory files, signals to others, sockets other than a pair.
"""

import ctypes
import errno
import struct

from skills.grading.confined import kernel
from skills.grading.confined.syscalls import ARCHITECTURES

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
_CLONE_THREAD = 0x10000
_NEW_NAMESPACES = 0x7E020080  # all that unshare knows, time namespaces included
_AF_UNIX = 1
_IOCTLS = (
    0x5401,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
)  # terminal?, its size, FIONREAD, FIONBIO, close on exec
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032)  # no owner or signal of a file
_PRCTLS = (15, 16)  # the thread's name

Instruction = tuple[int, int, int, int]


def check() -> None:
    """Check that a filter can be laid.

    Raises:
        OSError: the kernel has no filters, or the architecture has no table here.
    """
    if kernel.MACHINE not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no table of system calls for {kernel.MACHINE}")
    action = ctypes.create_string_buffer(struct.pack("=I", _ERRNO))
    kernel.syscall("seccomp", kernel.SECCOMP, 2, 0, action)


def install() -> None:
    """Lay the filter on this process; needs "no new privileges".

    Raises:
        OSError: the kernel refuses.
    """
    code = b"".join(struct.pack("=HBBI", *row) for row in program(kernel.MACHINE))
    instructions = ctypes.create_string_buffer(code)
    address = ctypes.addressof(instructions)
    head = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(code) // 8, address))
    kernel.prctl("seccomp", kernel.PR_SET_SECCOMP, 2, ctypes.addressof(head))


def program(machine: str) -> list[Instruction]:
    """Rows of (code, jump if true, jump if false, constant)."""
    audit, table = ARCHITECTURES[machine]
    rows: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)
    ]  # fmt: skip
    conditions = {
        "clone": _thread_only(),
        "clone3": [
            (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
        ],  # its flags lie in memory; glibc falls back to clone
        "socketpair": _one_of(0, (_AF_UNIX,)),
        "prctl": _one_of(0, _PRCTLS),
        "ioctl": _one_of(1, _IOCTLS),
        "fcntl": _one_of(1, _FCNTLS),
        "prlimit64": _null(2),
    }
    for name, number in table.items():
        then = conditions.get(name, [(_RETURN, 0, 0, _ALLOW)])
        rows += [(_EQUAL, 0, len(then), number), *then]
    return [*rows, (_RETURN, 0, 0, _ERRNO | errno.EPERM)]


def _argument(index: int) -> Instruction:
    """The lower half; x86_64 and aarch64 are both little-endian."""
    return (_LOAD, 0, 0, 16 + 8 * index)


_YES: Instruction = (_RETURN, 0, 0, _ALLOW)
_NO: Instruction = (_RETURN, 0, 0, _ERRNO | errno.EPERM)


def _one_of(index: int, values: tuple[int, ...]) -> list[Instruction]:
    tests = [(_EQUAL, len(values) - n, 0, value) for n, value in enumerate(values)]
    return [_argument(index), *tests, _NO, _YES]


def _thread_only() -> list[Instruction]:
    return [_argument(0), (_ANY_BIT, 1, 0, _NEW_NAMESPACES), (_ANY_BIT, 1, 0, _CLONE_THREAD), _NO, _YES]


def _null(index: int) -> list[Instruction]:
    low, high = _argument(index), (_LOAD, 0, 0, 20 + 8 * index)
    return [low, (_EQUAL, 0, 2, 0), high, (_EQUAL, 1, 0, 0), _NO, _YES]
