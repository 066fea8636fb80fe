"""Write docs/licences.md: the licence of every package in requirements/, as its own metadata state it.

`make licences` runs it. Metadata are read from this environment, and from folders of wheels that are named on
the command line (WHEELS). What neither has keeps its row, if its version is still the locked one, is among
the few that are known by hand, or is listed as unknown.
"""

import argparse
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from email import message_from_bytes
from email.message import Message
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "licences.md"
UNKNOWN = "not known"

PERMISSIVE = frozenset(
    re.split(
        ",",
        "MIT,MIT-0,BSD-2-Clause,BSD-3-Clause,0BSD,Apache-2.0,ISC,PSF-2.0,Python-2.0,MIT-CMU,HPND,Zlib,BSL-1.0,"
        "CC0-1.0,Unlicense,CNRI-Python,CNRI-Python-GPL-Compatible,ZPL-2.1,NCSA,Unicode-3.0,bzip2-1.0.6",
    )
)
WEAK = frozenset(
    re.split(
        ",",
        "MPL-2.0,LGPL-2.1-only,LGPL-2.1-or-later,LGPL-3.0-only,LGPL-3.0-or-later,GPL-3.0-or-later WITH "
        "GCC-exception-3.1",
    )
)
"""Copyleft for their own files: used as they come, as separate packages."""
EXCEPTIONS = frozenset({"LLVM-exception", "GCC-exception-3.1"})
OWN_TERMS = frozenset({"LicenseRef-NVIDIA", "LicenseRef-NVIDIA-Proprietary", "LicenseRef-Intel"})
"""Makers' own terms, for what only a device of theirs needs; in no image of Muster."""
OPTIONAL = frozenset({"vllm", "vllm-cpu", "cuda"})
"""Lock files of environments that a user makes; their unknown licences are listed, and refused elsewhere."""

_CLASSIFIERS: Mapping[str, str] = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-2.1-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "Other/Proprietary License": "LicenseRef-Proprietary",
}
_TEXTS: tuple[tuple[str, str], ...] = (
    (r"nvidia", "LicenseRef-NVIDIA"),
    (r"intel simplified|intel end user", "LicenseRef-Intel"),
    (r"(gnu )?affero|\bagpl", "AGPL-3.0-only"),
    (r"\blgpl|lesser general", "LGPL-3.0-only"),
    (r"\bgpl|general public", "GPL-3.0-only"),
    (r"apache", "Apache-2.0"),
    (r"2-clause|simplified bsd|bsd 2", "BSD-2-Clause"),
    (r"bsd", "BSD-3-Clause"),
    (r"\bmit\b", "MIT"),
    (r"mozilla|\bmpl", "MPL-2.0"),
    (r"\bpsf|python software foundation", "PSF-2.0"),
    (r"\bisc\b", "ISC"),
    (r"unlicense", "Unlicense"),
)
BY_HAND: Mapping[str, str] = {
    "async-timeout": "Apache-2.0",
    "fastuuid": "BSD-3-Clause",
    "litellm": "MIT",
    "tiktoken": "MIT",
    "uv": "Apache-2.0 OR MIT",
    "vllm": "Apache-2.0",
    "vllm-cpu": "Apache-2.0",
}
"""As their projects state them, where no metadata could be read."""

_PROPRIETARY: Mapping[str, str] = {
    "nvidia": "LicenseRef-NVIDIA",
    "cuda": "LicenseRef-NVIDIA",
    "intel": "LicenseRef-Intel",
}


HEAD = """\
# Licences of what Muster is installed with

Written by `make licences` from the metadata of every package in `requirements/`; a test reads it again.
Not in it are the clients of `make test-clients` (`clients-*.txt`), which are there to test it, and what
makes the site of `make docs` (`docs.txt`).
Muster itself is under Apache-2.0. Admitted are permissive licences, and weak copyleft for packages that are
used as they come (psycopg: LGPL; certifi: MPL). GPL, AGPL, and what is not known, are refused in the lock
files of Muster's own environments. The environments of vLLM and the libraries of CUDA are made by their user,
on a machine with such a device: there makers' own terms are admitted, and what could not be read where this
was written is listed as not known ({n_unknown} of {n_packages} packages).

`read from`: `installed` = the package's metadata in this environment; `wheel` = those of a wheel; with a
version = those of that version; `its project, by hand` = as its project states it.

"""


class Package(NamedTuple):
    """A locked package. `files`: the lock files that name it."""

    name: str
    versions: tuple[str, ...]
    files: tuple[str, ...]


class Row(NamedTuple):
    package: Package
    licence: str
    read_from: str


def locked(folder: Path = ROOT / "requirements") -> list[Package]:
    """All packages of the lock files, but for those that only test Muster or make its site."""
    found: dict[str, dict[str, set[str]]] = {}
    for path in sorted(set(folder.glob("*.txt")) - set(folder.glob("clients-*.txt")) - {folder / "docs.txt"}):
        for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE):
            found.setdefault(name, {}).setdefault(version.partition("+")[0], set()).add(path.stem)
    return [
        Package(name, tuple(sorted(versions)), tuple(sorted(set().union(*versions.values()))))
        for name, versions in sorted(found.items())
    ]


def licence_of(metadata: Message) -> str:
    """Licence as an SPDX expression, from a package's metadata: `UNKNOWN` where they do not say."""
    name = str(metadata.get("Name", "")).lower()
    expression = str(metadata.get("License-Expression") or "")
    text = str(metadata.get("License") or "")
    for stated in filter(None, (expression, text)):
        try:
            return str(canonicalize_license_expression(stated))
        except InvalidLicenseExpression:
            if expression:
                return expression
    if not text:
        return _by_classifiers(metadata, name)
    classified = _by_classifiers(metadata, name)
    if classified not in (UNKNOWN, "LicenseRef-Proprietary", "BSD-3-Clause"):
        return classified
    first = text[:400].lower()
    return next((spdx for pattern, spdx in _TEXTS if re.search(pattern, first)), classified)


def _by_classifiers(metadata: Message, name: str) -> str:
    stated = [
        str(c).rpartition(":: ")[2]
        for c in metadata.get_all("Classifier", [])
        if str(c).startswith("License")
    ]
    known = list(dict.fromkeys(_CLASSIFIERS[c] for c in stated if c in _CLASSIFIERS))
    if "LicenseRef-Proprietary" in known or not known:
        maker = next((terms for prefix, terms in _PROPRIETARY.items() if name.startswith(prefix)), None)
        return maker or (known[0] if known else UNKNOWN)
    return " OR ".join(known)


def objection(licence: str, files: Iterable[str]) -> str | None:
    """Reason why a package may not be locked; None = it may."""
    in_optional = set(files) <= OPTIONAL
    if licence == UNKNOWN:
        return None if in_optional else "its licence is not known"
    allowed = PERMISSIVE | WEAK | (OWN_TERMS if in_optional else frozenset())
    words = re.findall(r"[()]|[^\s()]+", licence)
    if _holds(words, allowed) and not words:
        return None
    return f"'{licence}' does not go with Apache-2.0, or is not on the list of those that do"


def _holds(words: list[str], allowed: frozenset[str]) -> bool:
    """Whether an expression can be met with the allowed licences; takes its words off the list."""
    found = _holds_all(words, allowed)
    while words and words[0] == "OR":
        words.pop(0)
        found = _holds_all(words, allowed) or found
    return found


def _holds_all(words: list[str], allowed: frozenset[str]) -> bool:
    found = _is_allowed(words, allowed)
    while words and words[0] == "AND":
        words.pop(0)
        found = _is_allowed(words, allowed) and found
    return found


def _is_allowed(words: list[str], allowed: frozenset[str]) -> bool:
    word = words.pop(0) if words else ""
    if word == "(":
        found = _holds(words, allowed)
        return bool(words) and words.pop(0) == ")" and found
    if words[:1] == ["WITH"]:
        exception = "".join(words[1:2])
        del words[:2]
        return f"{word} WITH {exception}" in allowed or (word in allowed and exception in EXCEPTIONS)
    return word in allowed


def known_here(wheels: Iterable[Path]) -> dict[tuple[str, str], tuple[str, str]]:
    """(name, version) to licence and source, from installed packages and from wheels."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for metadata, source in (*_of_wheels(wheels), *_of_environment()):
        name = canonicalize_name(str(metadata["Name"]))
        version = str(metadata["Version"]).partition("+")[0]
        found[(name, version)] = (licence_of(metadata), source)
    return found


def _of_environment() -> Iterator[tuple[Message, str]]:
    for distribution in distributions():
        yield message_from_bytes(str(distribution.read_text("METADATA") or "").encode()), "installed"


def _of_wheels(folders: Iterable[Path]) -> Iterator[tuple[Message, str]]:
    for path in (wheel for folder in folders for wheel in sorted(folder.rglob("*.whl"))):
        try:
            with zipfile.ZipFile(path) as archive:
                inner = next(n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
                yield message_from_bytes(archive.read(inner)), "wheel"
        except (OSError, StopIteration, zipfile.BadZipFile):
            continue


def rows(
    packages: Iterable[Package],
    known: Mapping[tuple[str, str], tuple[str, str]],
    earlier: Mapping[str, Row],
) -> list[Row]:
    """A row for each package: by its metadata, else as it stood, else by another version's, else unknown."""
    return [_row(package, known, earlier) for package in packages]


def _row(
    package: Package, known: Mapping[tuple[str, str], tuple[str, str]], earlier: Mapping[str, Row]
) -> Row:
    for version in package.versions:
        if (package.name, version) in known:
            return Row(package, *known[(package.name, version)])
    before = earlier.get(package.name)
    if before is not None and before.package.versions == package.versions and before.licence != UNKNOWN:
        return before._replace(package=package)
    other = next(((v, *found) for (name, v), found in known.items() if name == package.name), None)
    if other is not None:
        return Row(package, other[1], f"{other[2]}, version {other[0]}")
    if package.name in BY_HAND:
        return Row(package, BY_HAND[package.name], "its project, by hand")
    maker = next((terms for prefix, terms in _PROPRIETARY.items() if package.name.startswith(prefix)), None)
    return Row(package, maker or UNKNOWN, "its maker" if maker else "nothing here")


def page(found: Iterable[Row]) -> str:
    """The document."""
    table = list(found)
    unknown = [row.package.name for row in table if row.licence == UNKNOWN]
    lines = "".join(
        f"| {row.package.name} | {', '.join(row.package.versions)} | {row.licence} "
        f"| {', '.join(row.package.files)} | {row.read_from} |\n"
        for row in table
    )
    head = HEAD.format(n_unknown=len(unknown), n_packages=len(table))
    return f"{head}| package | version | licence | lock files | read from |\n|---|---|---|---|---|\n{lines}"


def read_page(text: str) -> dict[str, Row]:
    """The rows of a document, by package."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"[a-z0-9-]+", cells[0]) and cells[0] not in ("package", "---"):
            package = Package(cells[0], tuple(cells[1].split(", ")), tuple(cells[3].split(", ")))
            found[cells[0]] = Row(package, cells[2], cells[4])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheels", nargs="*", type=Path, help="folders of wheels")
    folders = parser.parse_args().wheels
    earlier = read_page(TARGET.read_text()) if TARGET.exists() else {}
    found = rows(locked(), known_here(folders), earlier)
    TARGET.write_text(page(found))
    refused = [(row, why) for row in found if (why := objection(row.licence, row.package.files))]
    for row, why in refused:
        print(f"{row.package.name} {', '.join(row.package.versions)}: {why}", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
