"""Machines of one name on one kernel: processes that have a boot and process numbers of their own."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

NAME = "node"
"""Host name of all of them."""

FIRST_NAMESPACE = """
import pathlib
_real = pathlib.Path.readlink
def _readlink(self):
    # These machines number their processes apart; the first namespace has one number on all machines.
    return pathlib.Path("pid:[4026531836]") if str(self) == "/proc/self/ns/pid" else _real(self)
pathlib.Path.readlink = _readlink
"""
"""A `sitecustomize`, by which a process believes that it is in its machine's first namespace."""

_APART = ("--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def on_machine(folder: Path, boot: str, *, name: str = NAME, without: Sequence[Path] = ()) -> list[str]:
    """Words before a command that is to run on the machine of that boot.

    Args:
        folder: where a file for it may lie.
        without: files and folders that are empty there: another machine's.
    """
    path = folder / f"boot-{boot}"
    path.write_text(f"{boot}\n")
    script = f"hostname {name} && mount --bind {path} /proc/sys/kernel/random/boot_id"
    for place in without:
        hides = f"mount -t tmpfs none {place}" if place.is_dir() else f"mount --bind /dev/null {place}"
        script += f" && {hides}"
    return [*_unshare(), "sh", "-c", f'{script} && exec "$@"', "machine"]


def are_allowed() -> bool:
    """Whether this kernel lets us make them."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_unshare(), "true"], capture_output=True).returncode == 0


def _unshare() -> list[str]:
    mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *mapped, *_APART]
