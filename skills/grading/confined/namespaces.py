"""Namespaces: the process sees no host processes, files, network, IPC objects or users."""

import errno
import os

from skills.grading.confined import kernel

NOBODY = 65534
FLAGS = {
    "user": kernel.CLONE_NEWUSER,
    "mount": kernel.CLONE_NEWNS,
    "pid": kernel.CLONE_NEWPID,
    "net": kernel.CLONE_NEWNET,
    "ipc": kernel.CLONE_NEWIPC,
    "uts": kernel.CLONE_NEWUTS,
}
"""Layer -> flag. The PID namespace holds for children of the caller."""


def private_mounts() -> None:
    """A mount namespace of root's own, in which files that only root may reach are taken hold of."""
    kernel.unshare(kernel.CLONE_NEWNS)
    _stop_propagation()


def become_nobody() -> None:
    """Root gives up its identity before it makes a user namespace, so that it owns nothing outside."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    kernel.prctl("dumpable", kernel.PR_SET_DUMPABLE, 1)  # else /proc/self/uid_map belongs to root


def enter(wanted: frozenset[str]) -> dict[str, str]:
    """Enter namespaces; returns layer -> why it is missing, for those that the kernel refused.

    All at once where possible: the first one, of users, gives the right to make the others.
    """
    names = [name for name in FLAGS if name in wanted]
    uid, gid = os.geteuid(), os.getegid()
    missing: dict[str, str] = {}
    try:
        kernel.unshare(sum(FLAGS[name] for name in names))
    except OSError:
        missing = {name: reason for name in names if (reason := _refusal(FLAGS[name]))}
    if "user" in wanted and "user" not in missing:
        _map_to_nobody(uid, gid)
    if "mount" in wanted and "mount" not in missing:
        _stop_propagation()
    _try_cgroup_namespace()
    return missing


def _refusal(flag: int) -> str | None:
    try:
        kernel.unshare(flag)
    except OSError as error:
        return os.strerror(error.errno or errno.EPERM)
    return None


def _map_to_nobody(uid: int, gid: int) -> None:
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {uid} 1"),
        ("gid_map", f"{NOBODY} {gid} 1"),
    ):
        file = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(file, text.encode())
        os.close(file)


def _stop_propagation() -> None:
    kernel.mount("none", "/", None, 0x4000 | 0x40000)  # MS_REC | MS_PRIVATE


def _try_cgroup_namespace() -> None:
    """Hides a path name only, and old kernels lack it: no layer."""
    _refusal(kernel.CLONE_NEWCGROUP)
