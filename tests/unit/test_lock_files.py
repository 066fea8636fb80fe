"""`requirements/*.txt` and `pyproject.toml` agree: locked is what the project asks for, with hashes."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
BUILD = PROJECT["build-system"]["requires"]
PACKAGES = BUILD + PROJECT["project"]["dependencies"]
# What each file must satisfy, as `scripts/lock.py` writes them.
WANTED = {
    "dev": PACKAGES + EXTRAS["dev"],
    "image": PACKAGES + EXTRAS["stack"],
    "remote": PACKAGES + EXTRAS["dev"] + EXTRAS["remote"],
    **PROJECT["dependency-groups"],
}


def lines(name: str) -> list[str]:
    """Requirements of a lock file, each with its options."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def locked(name: str) -> list[tuple[str, str]]:
    found = [re.match(r"([a-z0-9-]+)==(\S+)", line) for line in lines(name)]
    return [(match[1], match[2]) for match in found if match]


def direct(wanted: list[str]) -> Iterator[Requirement]:
    """With the extras of Muster itself that an extra names."""
    for requirement in map(Requirement, wanted):
        if requirement.name == PROJECT["project"]["name"]:
            for extra in requirement.extras:
                yield from direct(EXTRAS[extra])
        else:
            yield requirement


ALL = sorted(path.stem for path in (ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("name", ALL)
def test_every_package_has_one_version_and_hashes_and_comes_from_no_named_place(name: str) -> None:
    assert lines(name)
    for line in lines(name):
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+]+( ; [^#]*?)?( +--hash=sha256:[0-9a-f]{64})+ *", line), line
    assert "://" not in (ROOT / "requirements" / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", sorted(WANTED))
def test_what_is_asked_for_is_locked_at_a_version_that_is_admitted(name: str) -> None:
    packages = locked(name)
    for requirement in direct(WANTED[name]):
        versions = [
            version for package, version in packages if package == canonicalize_name(requirement.name)
        ]
        assert versions, f"{requirement} is not in requirements/{name}.txt: run `make lock`"
        wrong = [version for version in versions if version not in requirement.specifier]
        assert not wrong, (
            f"requirements/{name}.txt has {wrong}, pyproject.toml {requirement}: run `make lock`"
        )


def test_every_file_belongs_to_a_part_of_the_project_or_to_torch() -> None:
    assert set(ALL) == {*WANTED, "cuda", "torch-cpu"}


def test_the_oldest_release_that_is_tested_is_the_oldest_that_is_allowed() -> None:
    (allowed,) = (one for one in direct(PROJECT["project"]["dependencies"]) if one.name == "transformers")
    ((package, version),) = locked("oldest")
    oldest = next(part.version for part in allowed.specifier if part.operator == ">=")
    assert (package, Version(version)) == ("transformers", Version(oldest))


def test_the_image_has_the_versions_that_are_tested() -> None:
    assert set(locked("image")) <= set(locked("dev"))


def test_both_builds_of_torch_are_the_version_of_the_locks() -> None:
    ((_, cpu),) = locked("torch-cpu")
    versions = {dict(locked(name))["torch"] for name in ("dev", "image", "remote", "vllm-cpu")}
    assert {f"{version}+cpu" for version in versions} == {cpu}


@pytest.mark.parametrize("name", ["dev", "image", "remote"])
def test_libraries_of_cuda_are_apart(name: str) -> None:
    cuda = {package for package, _ in locked("cuda")}
    assert any(package.startswith("nvidia-") for package in cuda)
    assert cuda.isdisjoint(package for package, _ in locked(name))


def test_every_dependency_has_an_upper_bound() -> None:
    asked = [*PROJECT["project"]["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]
    open_ended = [
        str(requirement)
        for requirement in direct(asked)
        if not any(part.operator in {"<", "==", "~="} for part in requirement.specifier)
    ]
    assert open_ended == []
