"""One hostile program, and what counts as its success."""

import platform
from collections.abc import Iterable
from typing import NamedTuple

ATTACK = "assert attack()"
"""Tests of a program that says itself whether it got through: it passes when it did."""

WRONG = "assert f(1) == 2"
"""Tests that no program here passes honestly."""


class Hostile(NamedTuple):
    """`kind`: class of escape. `code` may hold `{folder}`, `{port}`, … of the `outside.Outside`.

    `shows` is how its failure looks where that could be taken for a mistake in it. It succeeds when its tests pass, when something outside has changed, or when a process outlives it.
    `representative`: part of the short run.
    """

    name: str
    kind: str
    code: str
    tests: str = ATTACK
    representative: bool = False
    shows: str = ""


def attacks(kind: str, bodies: Iterable[tuple[str, str]], *, short: Iterable[str] = ()) -> list[Hostile]:
    """Programs from the bodies of `attack`, which returns whether it got through or raises."""
    chosen = frozenset(short)
    return [Hostile(name, kind, function(body), representative=name in chosen) for name, body in bodies]


def function(body: str) -> str:
    indented = "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
    return f"{PRELUDE}\ndef attack():\n{indented}"


_NUMBERS = {
    "x86_64": dict(  # noqa: C408
        socket=41, connect=42, fork=57, clone=56, clone3=435, execve=59, execveat=322, ptrace=101, vm_readv=310,
        vm_writev=311, kill=62, tgkill=234, pidfd_open=434, pidfd_send_signal=424, pidfd_getfd=438, unshare=272,
        setns=308, bpf=321, perf_event_open=298, userfaultfd=323, add_key=248, request_key=249, keyctl=250,
        personality=135, kexec_load=246, init_module=175, finit_module=313, seccomp=317, sethostname=170,
        clock_settime=227, settimeofday=164, reboot=169, swapon=167, setuid=105, setresuid=117, capset=126,
        prlimit64=302, shmget=29, msgget=68, semget=64, mq_open=240, syslog=103, memfd_create=319,
        io_uring_setup=425, name_to_handle_at=303, open_by_handle_at=304, mount=165, umount2=166, fsopen=430,
        open_tree=428, move_mount=429, mount_setattr=442, pivot_root=155, chroot=161, quotactl=179,
        fanotify_init=300, inotify_init1=294, acct=163, iopl=172, modify_ldt=154, memfd_secret=447,
        sched_setaffinity=203, ioprio_set=251, setpriority=141, setsid=112, splice=275, vmsplice=278,
        mbind=237, migrate_pages=256, lookup_dcookie=212, nfsservctl=180, process_madvise=440,
        sendmsg=46, prctl=157,
    ),
    "aarch64": dict(  # noqa: C408
        socket=198, connect=203, clone=220, clone3=435, execve=221, execveat=281, ptrace=117, vm_readv=270,
        vm_writev=271, kill=129, tgkill=131, pidfd_open=434, pidfd_send_signal=424, pidfd_getfd=438, unshare=97,
        setns=268, bpf=280, perf_event_open=241, userfaultfd=282, add_key=217, request_key=218, keyctl=219,
        personality=92, kexec_load=104, init_module=105, finit_module=273, seccomp=277, sethostname=161,
        clock_settime=112, settimeofday=170, reboot=142, swapon=224, setuid=146, setresuid=147, capset=91,
        prlimit64=261, shmget=194, msgget=186, semget=190, mq_open=180, syslog=116, memfd_create=279,
        io_uring_setup=425, name_to_handle_at=264, open_by_handle_at=265, mount=40, umount2=39, fsopen=430,
        open_tree=428, move_mount=429, mount_setattr=442, pivot_root=41, chroot=51, quotactl=60,
        fanotify_init=262, inotify_init1=26, acct=89, memfd_secret=447, sched_setaffinity=122, ioprio_set=30,
        setpriority=140, setsid=157, splice=76, vmsplice=75, mbind=235, migrate_pages=238, lookup_dcookie=18,
        process_madvise=440, sendmsg=211, prctl=167,
    ),
}  # fmt: skip

PRELUDE = f"""
import os, sys
NUMBERS = {_NUMBERS.get(platform.machine(), {})!r}
def call(name, *arguments):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(NUMBERS.get(name, -1)), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result
"""
