"""Files and folders for their owner only: questions, answers and vectors are nobody else's to read."""

import logging
import os
import stat
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER_MODE, FILE_MODE = 0o700, 0o600
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OWN_FOLDER = ".muster"
OWN_FILES = ("*.sqlite3", "*.sqlite3-*", "vectors", "vectors-*.npy", ".vectors-*")
"""What Muster keeps in its data folder; a folder with other things in it serves others, too."""


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner may look into; one that is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def tighten_folder(folder: Path) -> None:
    """Close the data folder of an earlier version to others, or say that it is open.

    One with other people's things in it is left open; Muster's files in it are private each.
    """
    if not _is_open(folder):
        return
    try:
        is_ours = folder.name == OWN_FOLDER or all(
            any(path.match(pattern) for pattern in OWN_FILES) for path in folder.iterdir()
        )
    except OSError:
        is_ours = False
    if is_ours and _closed(folder, FOLDER_MODE):
        return
    log.warning("others may look into the data folder %s; run `chmod 700` on it if they should not", folder)


def private_file(path: Path) -> None:
    """Make a file that only its owner may read, or close one that is there to others.

    Raises:
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, FILE_MODE))
    tighten_file(path)


def tighten_file(path: Path) -> None:
    """Close a file to others, if it is there; say so where that is not ours to do."""
    if _is_open(path) and not _closed(path, FILE_MODE):
        log.warning("others may read %s, which is not ours to change; run `chmod 600` on it", path)


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & OTHERS)
    except OSError:
        return False


def _closed(path: Path, mode: int) -> bool:
    """Whether the path could be closed; only its owner does that."""
    try:
        if path.stat().st_uid != os.geteuid():
            return False
        path.chmod(path.stat().st_mode & stat.S_IRWXU & mode)
    except OSError:
        return False
    return True
