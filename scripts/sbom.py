"""The bill of materials of a release: CycloneDX 1.6 as JSON, from a lock file and docs/licences.md.

A component is a locked package, with its licence and the sha256 of every file of it that may be installed
(wheels of all machines and Pythons). Edges are those of the lock's own comments. The same inputs give the
same bytes.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from scripts.licences import UNKNOWN, read_page

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "image.txt"
"""What a user of the service installs: all dependencies, and those of the stack."""
_START = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^\s;\\]+)")
_NAMESPACE = uuid.UUID("5f0c3d3c-6c8e-4c0a-9a43-6a5f6f1c8a11")


class Locked(NamedTuple):
    """A package of a lock file. `wanted_by`: names of packages that need it; `muster` is Muster itself."""

    name: str
    version: str
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]


def read_lock(text: str) -> list[Locked]:
    """Packages of a lock file as `make lock` writes it, by name; several entries of one version are one."""
    found: dict[str, Locked] = {}
    for name, version, lines in _entries(text):
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", lines)
        wanted = re.findall(r"#(?: via)? +([a-z0-9][a-z0-9.-]*)", lines)
        before = found.get(name, Locked(name, version, (), ()))
        found[name] = Locked(
            name,
            version,
            tuple(sorted({*before.hashes, *hashes})),
            tuple(sorted({*before.wanted_by, *(one for one in wanted if one != "via")})),
        )
    return [found[name] for name in sorted(found)]


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    lines = text.splitlines()
    starts = [(i, match) for i, line in enumerate(lines) if (match := _START.match(line))]
    ends = [i for i, _ in starts[1:]] + [len(lines)]
    for (begin, match), end in zip(starts, ends, strict=True):
        yield match[1], match[2].partition("+")[0], "\n".join(lines[begin:end])


def sbom(
    version: str, wheel_sha256: str, packages: list[Locked], licences: Mapping[str, str], epoch: int
) -> dict[str, Any]:
    """The document.

    Args:
        licences: SPDX expressions by package; a package without one has none in the document.
        epoch: seconds since 1970 that the document is dated by.
    """
    refs = {package.name: purl(package.name, package.version) for package in packages}
    muster = purl("muster", version)
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": muster,
                "name": "muster",
                "version": version,
                "purl": muster,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": wheel_sha256}],
            },
        },
        "components": [_component(package, licences.get(package.name, UNKNOWN)) for package in packages],
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(refs[p.name] for p in packages if name in p.wanted_by)}
            for name, ref in [("muster", muster), *refs.items()]
        ],
    }
    text = json.dumps(document, sort_keys=True)
    return {"serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, text)}", **document}


def purl(name: str, version: str) -> str:
    """The package URL of a package for Python."""
    return f"pkg:pypi/{name}@{version}"


def _component(package: Locked, licence: str) -> dict[str, Any]:
    ref = purl(package.name, package.version)
    stated = {} if licence == UNKNOWN else {"licenses": [_licence(licence)]}
    return {
        "type": "library",
        "bom-ref": ref,
        "name": package.name,
        "version": package.version,
        "purl": ref,
        "hashes": [{"alg": "SHA-256", "content": one} for one in package.hashes],
        **stated,
    }


def _licence(expression: str) -> dict[str, Any]:
    if expression.startswith("LicenseRef-") and " " not in expression:
        return {"license": {"name": expression.removeprefix("LicenseRef-")}}
    return {"expression": expression} if " " in expression else {"license": {"id": expression}}


def write_sbom(target: Path, version: str, wheel_sha256: str, epoch: int) -> None:
    """Write the document of this checkout's lock file and licences."""
    rows = read_page((ROOT / "docs" / "licences.md").read_text())
    licences = {name: row.licence for name, row in rows.items()}
    document = sbom(version, wheel_sha256, read_lock(LOCK.read_text()), licences, epoch)
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
