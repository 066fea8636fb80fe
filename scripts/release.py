"""Make a release, but publish nothing: `make release` puts all that belongs to it into dist/.

    python -m scripts.release [--rehearse] [--packages-of PYTHON]

1. The tree is clean, and CHANGELOG.md has the version as its newest section, dated, with nothing unreleased
   above it.
2. The source distribution is built from the commit (not from the working tree), the wheel from the source
   distribution, with the setuptools of this environment, which is locked. Both twice: the bytes must be the
   same.
3. Names, metadata and contents are looked at.
4. The wheel is installed into a new environment with the locked packages, and tried from an empty folder: the
   demo, a question, the server.
5. Bill of materials, licences and SHA256SUMS are written.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from pathlib import Path
from typing import NamedTuple

from packaging.metadata import Metadata

from orchestrator import __version__
from scripts.sbom import write_sbom
from scripts.trying import ReleaseError, try_wheel

ROOT = Path(__file__).parents[1]
PACKAGES = ("orchestrator", "skills", "workers", "aggregators", "api")
NOT_SHIPPED = (".ci/",)
"""Tracked, and of use in a repository only."""
ZOO = "examples/zoo/models/"
WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".onnx", ".npz", ".npy")
LEFTOVERS = re.compile(
    r"(^|/)(__pycache__|\.venv|\.muster|build|[^/]*\.sqlite3|[^/]*\.py[co]|\.DS_Store)(/|$)"
)
HOOK = "import sys, setuptools.build_meta as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"


class Built(NamedTuple):
    """The two packages."""

    sdist: Path
    wheel: Path


def git(*arguments: str) -> str:
    """Output of a git command in this repository."""
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def changelog_mistake(text: str, version: str) -> str | None:
    """Why CHANGELOG.md is not that of a release of this version; None = it is."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    heads = [section.partition("\n")[0].strip() for section in sections]
    bodies = [re.sub(r"^###.*$", "", s.partition("\n")[2], flags=re.MULTILINE).strip() for s in sections]
    if heads and heads[0] == "[Unreleased]":
        if bodies[0]:
            return f"it has changes under [Unreleased]: name that section '[{version}] - DATE'."
        heads, bodies = heads[1:], bodies[1:]
    if not heads or not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heads[0]):
        return (
            f"its newest section is not '[{version}] - YYYY-MM-DD'; orchestrator/__init__.py says {version}."
        )
    return None if bodies[0] else f"nothing stands under [{version}]."


def build(folder: Path, commit: str, epoch: int) -> Built:
    """Both packages of a commit, in a new folder.

    Args:
        epoch: seconds since 1970 that all files are dated by.
    """
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    unpack(io.BytesIO(archive), folder / "tree")
    sdist = _hook("sdist", folder / "tree", folder / "out", epoch)
    normalise(sdist, epoch)
    with gzip.open(sdist) as file:
        unpack(io.BytesIO(file.read()), folder / "unpacked")
    (inside,) = (folder / "unpacked").iterdir()
    return Built(sdist, _hook("wheel", inside, folder / "out", epoch))


def unpack(archive: io.BytesIO, folder: Path) -> None:
    """Files of a tar archive, with permissions that do not depend on who unpacks it."""
    with tarfile.open(fileobj=archive) as tar:
        tar.extractall(folder, filter="data")


def normalise(sdist: Path, epoch: int) -> None:
    """Write an archive again, with what is the same for everybody: order, owners, permissions, dates."""
    with gzip.open(sdist) as file:
        content = file.read()
    plain = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as tar,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as again,
    ):
        for member in sorted(tar.getmembers(), key=lambda one: one.name):
            if member.isdir():
                continue
            same = tarfile.TarInfo(member.name)
            same.size, same.mtime, same.mode = member.size, epoch, 0o755 if member.mode & 0o100 else 0o644
            again.addfile(same, tar.extractfile(member))
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=epoch) as file:
        file.write(plain.getvalue())
    sdist.write_bytes(packed.getvalue())


def _hook(kind: str, tree: Path, out: Path, epoch: int) -> Path:
    """A package made by the build backend, as an installer would ask for it."""
    out.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", HOOK, kind, str(out)],
        env={**kept, "SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tree,
        capture_output=True,
        text=True,
        umask=0o022,
    )
    if done.returncode:
        raise ReleaseError(f"the {kind} was not built:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return out / done.stdout.splitlines()[-1]


def names_in(package: Path) -> list[str]:
    """Files of a package; those of a source distribution without its own folder."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            return wheel.namelist()
    with tarfile.open(package) as tar:
        return [name.partition("/")[2] for name in tar.getnames()]


def metadata_of(package: Path) -> bytes:
    """METADATA of a wheel, PKG-INFO of a source distribution."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            return wheel.read(next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")))
    with tarfile.open(package) as tar:
        member = next(m for m in tar.getmembers() if re.fullmatch(r"[^/]+/PKG-INFO", m.name))
        file = tar.extractfile(member)
        assert file is not None, "it is a file"
        return file.read()


def metadata_mistakes(content: bytes, version: str) -> list[str]:
    """What an index would refuse in a package's metadata, and what is not as pyproject.toml has it."""
    try:
        stated = Metadata.from_email(content, validate=True)
    except ExceptionGroup as errors:
        return [str(error) for error in errors.exceptions]
    mistakes = []
    if (stated.name, str(stated.version)) != ("muster", version):
        mistakes.append(f"it is called {stated.name} {stated.version}, not muster {version}")
    if stated.description_content_type != "text/markdown" or not (stated.description or "").strip():
        mistakes.append("the README is not its description")
    if message_from_bytes(content).get("License-Expression") != "Apache-2.0":
        mistakes.append("the licence is not stated as Apache-2.0")
    return mistakes


def content_mistakes(built: Built, tracked: Iterable[str]) -> list[str]:
    """Files that are missing from the packages, or that do not belong there.

    Args:
        tracked: the files of the commit.
    """
    tracked = [name for name in tracked if not name.startswith(NOT_SHIPPED)]
    sdist, wheel = set(names_in(built.sdist)), set(names_in(built.wheel))
    code = [name for name in tracked if name.split("/")[0] in PACKAGES and not name.endswith(".md")]
    zoo = [name.replace("examples", "api", 1) for name in tracked if name.startswith(ZOO)]
    made = re.compile(r"PKG-INFO|setup\.cfg|muster\.egg-info/.*")
    ours = re.compile(rf"({'|'.join(PACKAGES)})/.*|muster\.py|muster-[^/]+\.dist-info/.*")
    return [
        *(f"{name} is not in the source distribution" for name in tracked if name not in sdist),
        *(f"{name} is not in the wheel" for name in [*code, *zoo] if name not in wheel),
        *(f"{n} of the sdist is not in the commit" for n in sdist - set(tracked) if not made.fullmatch(n)),
        *(f"{name} of the wheel is in no package of ours" for name in wheel if not ours.fullmatch(name)),
        *(f"{name} is a leftover" for name in sdist | wheel if LEFTOVERS.search(name)),
        *(f"{name} may be weights of others" for name in sdist | wheel if _is_foreign(name)),
    ]


def _is_foreign(name: str) -> bool:
    return name.endswith(WEIGHTS) and not name.startswith((ZOO, ZOO.replace("examples", "api")))


def sha256(path: Path) -> str:
    """Digest of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state_mistakes(version: str) -> list[str]:
    """Why this checkout is not one to release from."""
    found = []
    if changed := git("status", "--porcelain"):
        found.append(f"files are changed or untracked:\n{changed}")
    if mistake := changelog_mistake((ROOT / "CHANGELOG.md").read_text(), version):
        found.append(f"CHANGELOG.md: {mistake}")
    if git("tag", "--list", f"v{version}") and f"v{version}" not in git("tag", "--points-at", "HEAD").split():
        found.append(f"v{version} is another commit's tag")
    return found


def release(out: Path, *, rehearse: bool, packages_of: Path | None) -> None:
    """Do all steps; `out` is emptied first.

    Raises:
        ReleaseError: at the first step that finds a mistake.
    """
    mistakes = state_mistakes(__version__)
    if mistakes and not rehearse:
        raise ReleaseError("; ".join(mistakes))
    for mistake in mistakes:
        print(f"a release would be refused: {mistake}")
    commit = git("rev-parse", "HEAD")
    epoch = int(git("show", "--no-patch", "--format=%ct", commit))
    with tempfile.TemporaryDirectory(prefix="muster-release-") as name:
        folder = Path(name)
        built, again = (build(folder / place, commit, epoch) for place in ("one", "another/place"))
        if [sha256(path) for path in built] != [sha256(path) for path in again]:
            raise ReleaseError("two builds of one commit differ.")
        print(f"built twice, byte for byte the same: {built.sdist.name}, {built.wheel.name}")
        mistakes = [m for package in built for m in metadata_mistakes(metadata_of(package), __version__)]
        mistakes += content_mistakes(built, git("ls-tree", "-r", "--name-only", commit).splitlines())
        if mistakes:
            raise ReleaseError("; ".join(mistakes[:20]))
        print("metadata and contents: no mistakes")
        try_wheel(built.wheel, folder / "tried", version=__version__, packages_of=packages_of)
        _put(out, built, epoch)
    print((out / "SHA256SUMS").read_text(), end="")
    print(f"muster {__version__} of {commit[:12]} is in {out}/; nothing was published.")


def _put(out: Path, built: Built, epoch: int) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for package in built:
        shutil.copyfile(package, out / package.name)
    write_sbom(out / f"muster-{__version__}.cdx.json", __version__, sha256(built.wheel), epoch)
    shutil.copyfile(ROOT / "docs" / "licences.md", out / f"muster-{__version__}-licences.md")
    sums = "".join(f"{sha256(path)}  {path.name}\n" for path in sorted(out.iterdir()))
    (out / "SHA256SUMS").write_text(sums)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="go on where a release would be refused")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument(
        "--packages-of",
        type=Path,
        help="interpreter whose packages stand in for those of the lock: seconds, and no download",
    )
    given = parser.parse_args()
    try:
        release(given.out, rehearse=given.rehearse, packages_of=given.packages_of)
    except ReleaseError as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
