"""What `make release` looks at before anything is published, and the bill of materials that it writes."""

import gzip
import io
import json
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from orchestrator import __version__
from scripts.licences import read_page
from scripts.release import (
    Built,
    changelog_mistake,
    content_mistakes,
    metadata_mistakes,
    names_in,
    normalise,
    sha256,
)
from scripts.sbom import LOCK, Locked, read_lock, sbom
from scripts.trying import ReleaseError, _run

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "orchestrator.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", __version__)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("# C\n\n## [1.0.0] - 2026-11-28\n\n- It began.\n", None),
        ("# C\n\n## [Unreleased]\n\n## [1.0.0] - 2026-11-28\n### Added\n- It began.\n", None),
        ("# C\n\n## [Unreleased]\n- More.\n\n## [1.0.0] - 2026-11-28\n- It began.\n", "under [Unreleased]"),
        ("# C\n\n## [Unreleased]\n- It began.\n", "under [Unreleased]"),
        ("# C\n\n## [0.9.0] - 2026-11-28\n- It began.\n", "newest section"),
        ("# C\n\n## [1.0.0]\n- It began.\n", "newest section"),
        ("# C\n\n## [1x0.0] - 2026-11-28\n- It began.\n", "newest section"),
        ("# C\n\n## [1.0.0] - 2026-11-28\n### Added\n\n## [0.9.0] - 2026-10-01\n- x\n", "nothing stands"),
        ("# C\n", "newest section"),
    ],
)
def test_a_changelog_is_that_of_a_version_or_it_is_said_why_not(text: str, mistake: str | None) -> None:
    found = changelog_mistake(text, "1.0.0")
    assert found is None if mistake is None else mistake in str(found)


def sdist(path: Path, names: dict[str, bytes], *, mtime: int = 5, owner: str = "me") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in names.items():
            member = tarfile.TarInfo(f"muster-1.0/{name}")
            member.size, member.mtime, member.uname, member.mode = len(content), mtime, owner, 0o664
            tar.addfile(member, io.BytesIO(content))
    return path


def wheel(path: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in names.items():
            file.writestr(name, content)
    return path


def test_who_built_an_archive_and_when_leaves_no_trace_in_it(tmp_path: Path) -> None:
    one = sdist(tmp_path / "one.tar.gz", {"b.py": b"2", "a.py": b"1"})
    other = sdist(tmp_path / "other.tar.gz", {"a.py": b"1", "b.py": b"2"}, mtime=7, owner="you")
    assert sha256(one) != sha256(other)
    for path in (one, other):
        normalise(path, epoch=1000)
    assert sha256(one) == sha256(other)
    assert names_in(one) == ["a.py", "b.py"]
    with gzip.open(one) as file, tarfile.open(fileobj=file) as tar:
        assert {(m.mtime, m.mode, m.uname) for m in tar.getmembers()} == {(1000, 0o644, "")}


PAGE = "api/dashboard/templates/base.html"
WEIGHTS = "examples/zoo/models/roman/model.safetensors"
FOLDER = "api"
INSTALLED_WEIGHTS = WEIGHTS.replace("examples", FOLDER)
WHOLE = {
    "api/main.py": b"",
    PAGE: b"",
    WEIGHTS: b"",
    "docs/index.md": b"",
}
INSTALLED = {
    "api/main.py": b"",
    PAGE: b"",
    INSTALLED_WEIGHTS: b"",
    "muster.py": b"",
    "muster-1.0.dist-info/METADATA": b"",
}


def told(tmp_path: Path, shipped: dict[str, bytes], installed: dict[str, bytes]) -> list[str]:
    built = Built(sdist(tmp_path / "s.tar.gz", shipped), wheel(tmp_path / "w.whl", installed))
    return content_mistakes(built, [*WHOLE, ".ci/run"])


def test_packages_that_hold_all_and_nothing_else_are_in_order(tmp_path: Path) -> None:
    assert told(tmp_path, {**WHOLE, "PKG-INFO": b"", "setup.cfg": b""}, INSTALLED) == []


@pytest.mark.parametrize("left_out", [PAGE, INSTALLED_WEIGHTS])
def test_what_a_wheel_lacks_is_told(left_out: str, tmp_path: Path) -> None:
    installed = {name: content for name, content in INSTALLED.items() if name != left_out}
    assert told(tmp_path, WHOLE, installed) == [f"{left_out} is not in the wheel"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (f"{FOLDER}/__pycache__/a.cpython-311.pyc", "leftover"),
        (f"{FOLDER}/.muster/x.sqlite3", "leftover"),
        (f"{FOLDER}/model.gguf", "weights of others"),
        ("big.bin", "weights of others"),
        ("notes.txt", "is not in the commit"),
    ],
)
def test_what_does_not_belong_into_a_source_distribution_is_told(
    name: str, says: str, tmp_path: Path
) -> None:
    found = told(tmp_path, {**WHOLE, name: b""}, INSTALLED)
    assert any(says in mistake and name in mistake for mistake in found)


def test_a_wheel_takes_no_other_names_than_its_own(tmp_path: Path) -> None:
    (mistake,) = told(tmp_path, WHOLE, {**INSTALLED, "test_a.py": b""})
    assert mistake == "test_a.py of the wheel is in no package of ours"


METADATA = (
    "Metadata-Version: 2.4\nName: muster\nVersion: 1.0\nLicense-Expression: Apache-2.0\n"
    "Description-Content-Type: text/markdown\n\n# Muster\n"
)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Name: muster", "Name: muster", ""),
        ("Version: 1.0", "Version: 1.1", "called muster 1.1"),
        ("Version: 1.0", "Version: one", "version"),
        ("License-Expression: Apache-2.0\n", "", "licence"),
        ("text/markdown", "text/plain", "README"),
        ("# Muster\n", "", "README"),
    ],
)
def test_metadata_that_an_index_would_refuse_are_told(old: str, new: str, says: str) -> None:
    mistakes = metadata_mistakes(METADATA.replace(old, new).encode(), "1.0")
    assert [says in mistake for mistake in mistakes] == ([True] if says else [])


def test_a_lock_is_read_with_all_hashes_and_whoever_wants_a_package() -> None:
    a, b = "a" * 64, "b" * 64
    text = (
        f"# Written\nnew-er==2.0 ; python_version < '3.12' \\\n    --hash=sha256:{b}\n    # via muster\n"
        f"old==1.0+cpu \\\n    --hash=sha256:{b} \\\n    --hash=sha256:{a}\n    # via\n"
        "    #   muster (pyproject.toml)\n"
        "    #   new-er\n"
    )
    assert read_lock(text) == [
        Locked("new-er", "2.0", (b,), ("muster",)),
        Locked("old", "1.0", (a, b), ("muster", "new-er")),
    ]


def test_a_bill_of_materials_names_each_locked_package_once_with_licence_hashes_and_edges() -> None:
    packages = read_lock(LOCK.read_text())
    licences = {name: row.licence for name, row in read_page((ROOT / "docs/licences.md").read_text()).items()}
    document = sbom("1.0", "0" * 64, packages, licences, epoch=0)
    assert document == sbom("1.0", "0" * 64, packages, licences, epoch=0)
    assert json.dumps(document)
    assert document["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"
    refs = [component["bom-ref"] for component in document["components"]]
    assert len(set(refs)) == len(refs) > 50
    assert all(component["licenses"] and component["hashes"] for component in document["components"])
    edges = {edge["ref"]: edge["dependsOn"] for edge in document["dependencies"]}
    assert set(edges) == {"pkg:pypi/muster@1.0", *refs}
    asked = {re.split(r"[\[<>=]", line)[0].lower() for line in PROJECT["project"]["dependencies"]}
    named = {ref.removeprefix("pkg:pypi/").partition("@")[0] for ref in edges["pkg:pypi/muster@1.0"]}
    assert asked <= named
    reached, new = set(), {"pkg:pypi/muster@1.0"}
    while new:
        reached |= new
        new = {ref for one in new for ref in edges[one]} - reached
    assert reached == set(edges), "a package that nobody wants"


def test_a_command_that_fails_ends_the_release_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"ended with 3:(?s:.)*too bad"):
        _run(["sh", "-c", "echo too bad; exit 3"], tmp_path)
