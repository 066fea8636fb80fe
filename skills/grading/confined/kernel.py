"""System calls that Python has no function for."""

import ctypes
import os

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
MACHINE = os.uname().machine

# The same numbers on every architecture: they are younger than the common table.
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(MACHINE, -1)
SECCOMP = {"x86_64": 317, "aarch64": 277}.get(MACHINE, -1)
CAPSET = {"x86_64": 126, "aarch64": 91}.get(MACHINE, -1)

_LIBC = ctypes.CDLL(None, use_errno=True)


def checked(name: str, result: int) -> int:
    """The result of a call; a failed one raises `OSError` with its name."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(name: str, number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return checked(name, _LIBC.syscall(ctypes.c_long(number), *words))


def prctl(name: str, option: int, *arguments: int) -> int:
    words = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    return checked(name, _LIBC.prctl(option, *words))


def unshare(flags: int) -> None:
    checked("unshare", _LIBC.unshare(flags))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    words = [None if text is None else text.encode() for text in (source, target, kind)]
    checked(f"mount {target}", _LIBC.mount(*words, ctypes.c_ulong(flags), options.encode()))


def unmount(target: str, flags: int) -> None:
    checked(f"umount {target}", _LIBC.umount2(target.encode(), flags))
