"""The view of files that the process has: the interpreter's, read-only, and an empty working directory.

Everything lies in a tmpfs of limited size that ends with its mount namespace: nothing is cleaned up.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from skills.grading.confined import kernel
from skills.grading.confined.namespaces import NOBODY

WORKSPACE = "/box"
DEVICES = ("/dev/null", "/dev/urandom")
_FOREIGN = ("site-packages", "dist-packages")  # in the standard library's folder, but not of it
_NOSUID_NODEV = 0x2 | 0x4
_EMPTY_PATH, _RECURSIVE, _CLONE = 0x1000, 0x8000, 1
_READ_ONLY, _NOSUID, _NODEV, _NOEXEC = 0x1, 0x2, 0x4, 0x8  # of mount_setattr
_DETACH = 2


class Tree(NamedTuple):
    """A detached, read-only copy of a mount: file descriptor and the path where it will lie."""

    descriptor: int
    path: str
    is_file: bool


def interpreter_paths(libraries: Iterable[str]) -> list[str]:
    """The standard library, time zones, and shared libraries that its extension modules load."""
    folders = sorted({os.path.realpath(path) for path in sys.path if os.path.isdir(path)})
    outer = [f for f in folders if not any(f.startswith(f"{other}/") for other in folders)]
    zones = ["/usr/share/zoneinfo"] if os.path.isdir("/usr/share/zoneinfo") else []
    return [*outer, *zones, *libraries]


def take_hold(paths: Iterable[str]) -> list[Tree]:
    """Trees of `paths` and the devices, while their own paths can still be walked."""
    trees = [_tree(path, _READ_ONLY | _NOSUID | _NODEV) for path in paths]
    return trees + [_tree(path, _NOSUID | _NOEXEC) for path in DEVICES]


def build(
    trees: Iterable[Tree], links: Mapping[str, Iterable[str]], *, size_bytes: int, n_files: int
) -> None:
    """Make the trees, names that link to files, and an empty workspace all there is; step into the last."""
    kernel.mount("none", "/proc", "tmpfs", _NOSUID_NODEV, "mode=755,size=1m,nr_inodes=4096")
    os.chdir("/proc")
    for tree in trees:
        _attach(tree)
    for file, names in links.items():
        for name in names:
            os.symlink(os.path.basename(file), f".{os.path.dirname(file)}/{name}")
    os.mkdir(f".{WORKSPACE}")
    owner = f"mode=700,uid={NOBODY},gid={NOBODY},size={size_bytes},nr_inodes={n_files}"
    kernel.mount("none", f".{WORKSPACE}", "tmpfs", _NOSUID_NODEV, owner)
    kernel.syscall("pivot_root", kernel.PIVOT_ROOT, b".", b".")
    kernel.unmount(".", _DETACH)
    os.chdir("/")
    _set_attributes(-100, b"/", 0, _READ_ONLY | _NOSUID | _NODEV)
    os.chdir(WORKSPACE)


def _tree(path: str, attributes: int) -> Tree:
    flags = _CLONE | _RECURSIVE | os.O_CLOEXEC
    descriptor = kernel.syscall(f"open_tree {path}", kernel.OPEN_TREE, -100, path.encode(), flags)
    _set_attributes(descriptor, b"", _EMPTY_PATH | _RECURSIVE, attributes)
    return Tree(descriptor, path, not os.path.isdir(path))


def _set_attributes(descriptor: int, path: bytes, flags: int, attributes: int) -> None:
    wish = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, 0))
    kernel.syscall("mount_setattr", kernel.MOUNT_SETATTR, descriptor, path, flags, wish, 32)


def _attach(tree: Tree) -> None:
    target = f".{tree.path}"
    os.makedirs(os.path.dirname(target) if tree.is_file else target, exist_ok=True)
    if tree.is_file:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    name = f"move_mount {tree.path}"
    kernel.syscall(name, kernel.MOVE_MOUNT, tree.descriptor, b"", -100, target.encode(), 0x4)
    os.close(tree.descriptor)
    for foreign in () if tree.is_file else _FOREIGN:
        _hide(f"{target}/{foreign}")


def _hide(folder: str) -> None:
    try:
        kernel.mount("none", folder, "tmpfs", _NOSUID_NODEV | 1, "mode=555,size=4k,nr_inodes=1")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
