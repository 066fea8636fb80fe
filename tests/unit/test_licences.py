"""docs/licences.md lists every locked package with a licence that goes with Muster's own."""

from email.message import Message
from pathlib import Path

import pytest

from scripts.licences import (
    OPTIONAL,
    UNKNOWN,
    Package,
    Row,
    known_here,
    licence_of,
    locked,
    objection,
    page,
    read_page,
    rows,
)

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "licences.md").read_text()
LISTED = read_page(TEXT)
LOCKED = locked()


def test_every_locked_package_is_listed_in_its_versions_and_nothing_else() -> None:
    assert {name: row.package for name, row in LISTED.items()} == {
        package.name: package for package in LOCKED
    }, "run `make licences`"
    assert page(LISTED.values()) == TEXT


def test_no_licence_is_unknown_or_against_ours() -> None:
    assert {
        name: why for name, row in LISTED.items() if (why := objection(row.licence, row.package.files))
    } == {}


def test_what_is_not_known_belongs_to_environments_of_vllm_and_cuda_only() -> None:
    unknown = [row for row in LISTED.values() if row.licence == UNKNOWN]
    assert all(set(row.package.files) <= OPTIONAL for row in unknown)
    assert f"({len(unknown)} of {len(LISTED)} packages)" in TEXT


def test_installed_packages_are_listed_as_their_metadata_say() -> None:
    """As far as they are installed in the locked version."""
    known = known_here([])
    compared = 0
    for name, row in LISTED.items():
        for version in row.package.versions:
            if (name, version) in known and row.read_from == "installed":
                assert row.licence == known[(name, version)][0], f"{name}: run `make licences`"
                compared += 1
    assert compared > 100


def stated(**fields: str) -> Message:
    message = Message()
    message["Name"] = fields.pop("name", "some")
    for name, value in fields.items():
        for line in value.split("|"):
            message[name.replace("_", "-")] = line
    return message


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        (stated(License_Expression="mit"), "MIT"),
        (stated(License_Expression="Apache-2.0 OR BSD-2-Clause"), "Apache-2.0 OR BSD-2-Clause"),
        (stated(License="BSD", Classifier="License :: OSI Approved :: BSD License"), "BSD-3-Clause"),
        (stated(License="BSD 2-Clause License"), "BSD-2-Clause"),
        (stated(License="Apache 2.0"), "Apache-2.0"),
        (stated(Classifier="License :: OSI Approved :: MIT License"), "MIT"),
        (stated(License="GNU GPL v3"), "GPL-3.0-only"),
        (stated(License="AGPLv3+"), "AGPL-3.0-only"),
        (stated(License="GNU Lesser General Public License"), "LGPL-3.0-only"),
        (stated(name="nvidia-x", Classifier="License :: Other/Proprietary License"), "LicenseRef-NVIDIA"),
        (stated(Classifier="Topic :: Software Development"), UNKNOWN),
        (stated(), UNKNOWN),
    ],
)
def test_metadata_are_read_in_the_forms_that_packages_use(metadata: Message, licence: str) -> None:
    assert licence_of(metadata) == licence


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "MIT OR GPL-3.0-only",
        "MPL-2.0 AND (Apache-2.0 OR MIT)",
        "Apache-2.0 WITH LLVM-exception AND MIT",
    ],
)
def test_what_goes_with_ours_is_admitted(licence: str) -> None:
    assert objection(licence, ["dev"]) is None


@pytest.mark.parametrize(
    "licence",
    [
        *(
            UNKNOWN,
            "GPL-3.0-only",
            "AGPL-3.0-only",
            "SSPL-1.0",
            "LicenseRef-NVIDIA",
            "CC-BY-NC-4.0",
            "",
            "MIT AND",
        ),
        *("GPL-2.0-only AND (MIT OR Apache-2.0)", "MIT AND GPL-3.0-only", "MIT WITH Some-exception", "(MIT"),
    ],
)
def test_what_does_not_or_is_not_known_fails_in_environments_of_ours(licence: str) -> None:
    assert objection(licence, ["image", "vllm"]) is not None


def test_what_was_read_before_is_kept_only_for_the_version_that_it_was_read_of() -> None:
    before = {"some": Row(Package("some", ("1.0",), ("vllm",)), "MIT", "wheel")}
    same, newer = Package("some", ("1.0",), ("remote",)), Package("some", ("2.0",), ("remote",))
    assert rows([same], {}, before) == [Row(same, "MIT", "wheel")]
    assert rows([newer], {}, before)[0].licence == UNKNOWN
    assert (
        rows([newer], {("some", "1.9"): ("ISC", "installed")}, before)[0].read_from
        == "installed, version 1.9"
    )
