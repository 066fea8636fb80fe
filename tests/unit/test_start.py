"""`muster` starts its own packages, and says so where others have taken their names."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import muster
from tests.fakes.packages import install, put_on_path

ROOT = Path(__file__).parents[2]


def started(
    *front: Path, arguments: tuple[str, ...] = ("--version",), cwd: Path
) -> "subprocess.CompletedProcess[str]":
    """`python -m muster` with folders in front of Muster's own on the import path."""
    path = os.pathsep.join(map(str, (*front, ROOT)))
    return subprocess.run(
        [sys.executable, "-P", "-m", "muster", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", muster.PACKAGES)
@pytest.mark.parametrize("form", ["{}/__init__.py", "{}.py"])
def test_a_name_that_leads_elsewhere_is_told_with_its_place(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / form.format(name)
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    (wrong,) = muster.hidden(ROOT)
    place = file.parent if file.name == "__init__.py" else file
    assert wrong.startswith(f"the package '{name}' of Muster is not found: its name leads to {place}")


def test_names_that_lead_home_are_in_order() -> None:
    assert list(muster.hidden(ROOT)) == []
    assert list(muster.shared()) == []


def test_names_that_lead_nowhere_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muster, "PACKAGES", ("no_such_package",))
    assert list(muster.hidden(tmp_path)) == [
        "the package 'no_such_package' of Muster is not found: its name leads nowhere."
    ]


def test_a_package_in_front_ends_the_start_with_2_and_both_forms_of_the_message(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").write_text("raise SystemExit('never run')")
    done = started(tmp_path, arguments=("jobs", "list", "--json"), cwd=tmp_path)
    assert done.returncode == 2
    assert f"leads to {tmp_path}/api" in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "packages_hidden"


def test_folders_of_the_same_names_in_the_working_directory_change_nothing(tmp_path: Path) -> None:
    for name in muster.PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('never run')")
    done = started(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_distribution_with_files_among_ours_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        site = install(tmp_path / name, name, {}, {"workers": ""})
        put_on_path(monkeypatch, site)
        record = next(site.glob("*.dist-info")) / "top_level.txt"
        record.write_text("workers\n")
    (wrong,) = (line for line in muster.shared() if "'workers'" in line)
    assert "first" in wrong
    assert "second" in wrong


def alone(folder: Path) -> "subprocess.CompletedProcess[str]":
    """`python -m muster` of a folder, with nothing installed but what lies there."""
    for name in muster.PACKAGES:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "__init__.py").write_text("")
    shutil.copy(ROOT / "muster.py", folder)
    return subprocess.run(
        [sys.executable, "-S", "-P", "-m", "muster"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_files_that_another_package_has_overwritten_are_told_as_such(tmp_path: Path) -> None:
    """Two distributions in one folder: ours, whose `api` was replaced by the later one's."""
    for name in ("muster", "web_thing"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "top_level.txt").write_text("api\n")
    done = alone(tmp_path)
    assert done.returncode == 2
    assert "'api' belongs to several installed distributions: muster, web_thing." in done.stderr


def test_a_library_that_is_missing_is_no_matter_of_names(tmp_path: Path) -> None:
    (tmp_path / "api" / "cli").mkdir(parents=True)
    (tmp_path / "api" / "cli" / "main.py").write_text("import no_such_library")
    done = alone(tmp_path)
    assert done.returncode == 1
    assert "No module named 'no_such_library'" in done.stderr
