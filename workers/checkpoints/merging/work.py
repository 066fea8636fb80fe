"""Work folder of a merge: what is done is kept there, so that a merge that was stopped goes on, and the
result appears whole or not at all."""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from orchestrator.errors import InputError
from orchestrator.runtime.files import replacing

JOB, DONE = "job.json", "done.json"
REBUILT = "rebuilt"
"""In a store that is only tried: its experts as they come back."""
RECORD = "muster-merge.json"
"""What was merged, beside the result; by it a folder is known as ours."""
_OWN = frozenset({JOB, DONE})
_HERE, _SWAP = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux."""


def check_out(out: Path, inputs: list[Path], *, force: bool) -> None:
    """Refuse a place where no result may appear.

    Raises:
        InputError: something is there; `force` replaces what `muster merge` made and nothing else.
    """
    place = out.resolve()
    for folder in inputs:
        theirs = folder.resolve()
        if place == theirs or place in theirs.parents or theirs in place.parents:
            raise InputError(
                f"'{out}' holds an input, or is in one.", param="out", remedy="Name another folder."
            )
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"'{out}' is no folder.", param="out", remedy="Name a new folder.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not force:
        remedy = "Name another folder, or give --force to replace it."
        raise InputError(f"'{out}' is there already.", param="out", remedy=remedy)
    if not (out / RECORD).is_file():
        raise InputError(
            f"'{out}' was not made by `muster merge` (it holds no {RECORD}), and is not replaced.",
            param="out",
            remedy="Name another folder, or remove it yourself.",
        )


@contextlib.contextmanager
def work_folder(out: Path, key: str) -> Iterator[Path]:
    """A folder beside `out`, for this process alone; what an earlier run of the same merge left is in it.

    It is left as it is at the end, unless it became the result or holds nothing done.

    Args:
        key: identity of the merge: recipe, inputs, seed.

    Raises:
        InputError: another process merges there, or no folder can be made.
    """
    folder = out.parent / f".{out.name}.merging-{key[:16]}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o755, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise InputError(f"cannot write '{out}': {error.strerror}.", param="out") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            remedy = "Wait for it, or stop it."
            raise InputError(f"another process merges into '{out}'.", param="out", remedy=remedy) from error
        _sweep(out, folder)
        try:
            yield folder
        finally:
            if folder.exists() and not done_shards(folder):
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _sweep(out: Path, own: Path) -> None:
    """Remove what other merges into the same place left and nobody works on."""
    for folder in out.parent.glob(f".{_escaped(out.name)}.merging-*"):
        if folder == own or folder.is_symlink() or not folder.is_dir():
            continue
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _escaped(name: str) -> str:
    """A name in a pattern of `glob`."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def done_shards(folder: Path) -> dict[str, JsonValue]:
    """Shards that `keep_done` told of last; empty = nothing, or half of it."""
    try:
        document = json.loads((folder / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def keep_done(folder: Path, document: dict[str, JsonValue]) -> None:
    """Replace the account of what is done, whole or not at all, for `done_shards` to read."""
    with replacing(folder / DONE) as file:
        file.write(json.dumps(document).encode())


def publish(folder: Path, out: Path) -> None:
    """The work folder becomes `out`, and what was there before is removed.

    Raises:
        OSError: it cannot be moved.
    """
    for name in _OWN:
        (folder / name).unlink(missing_ok=True)
    for path in [*folder.iterdir(), folder]:
        _sync(path)
    if out.exists():
        _exchange(folder, out)
        _sync(out.parent)
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.rename(out)
        _sync(out.parent)


def _exchange(new: Path, old: Path) -> None:
    """Two folders take each other's names at once; where the file system cannot, one after the other."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(new), os.fsencode(old))
    if hasattr(libc, "renameat2") and not libc.renameat2(_HERE, names[0], _HERE, names[1], _SWAP):
        return
    aside = old.parent / f".{old.name}.replaced-{os.getpid()}"
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
