from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import pytest

from orchestrator.errors import ConfigError, UnknownNameError
from orchestrator.tables import Extension, NameTable
from tests.fakes.packages import install, put_on_path

GROUP = "muster.tests"


def is_text(row: object) -> TypeGuard[str]:
    return isinstance(row, str)


def table() -> NameTable[str]:
    return NameTable(
        "shape", {"disc": "round"}, extension=Extension(GROUP, is_text, "a text"), param="shapes"
    )


def package(
    name: str, rows: Mapping[str, str], folder: Path, modules: Mapping[str, str] | None = None
) -> Path:
    return install(folder / name, name, {GROUP: rows}, modules)


def test_a_row_of_a_package_stands_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(monkeypatch, package("hex", {"hexagon": "hex_a:ROW"}, tmp_path, {"hex_a": "ROW = 'six'"}))
    assert list(table()) == ["disc", "hexagon"]
    assert dict(table()) == {"disc": "round", "hexagon": "six"}
    assert len(table()) == 2


def test_a_package_that_comes_later_is_seen_without_a_new_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = table()
    assert "cone" not in shapes
    put_on_path(monkeypatch, package("cone", {"cone": "cone_a:ROW"}, tmp_path, {"cone_a": "ROW = 'pointed'"}))
    assert shapes.find("cone") == "pointed"


def test_nothing_is_imported_before_its_name_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(monkeypatch, package("bang", {"bang": "bang_a:ROW"}, tmp_path, {"bang_a": "1 / 0"}))
    shapes = table()
    assert sorted(shapes) == ["bang", "disc"]
    assert shapes.find("disc") == "round"
    with pytest.raises(UnknownNameError, match=r"'disk'\. Did you mean 'disc'\? Valid: disc, bang"):
        shapes.find("disk")


@pytest.mark.parametrize(
    ("module", "text", "reason"),
    [
        ("b_zero", "1 / 0", "ZeroDivisionError: division by zero"),
        ("b_import", "import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("b_exit", "raise SystemExit(3)", "SystemExit: 3"),
        ("b_typo", "row = 'a misspelt attribute'", "AttributeError"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named_with_its_entry_point(
    module: str, text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(monkeypatch, package("bad-shapes", {"broken": f"{module}:ROW"}, tmp_path, {module: text}))
    with pytest.raises(ConfigError) as caught:
        table().find("broken")
    said = str(caught.value)
    assert f"package bad-shapes 1.0 (entry point 'broken = {module}:ROW' of {GROUP})" in said
    assert reason in said
    assert caught.value.param == "shapes"


def test_a_row_of_the_wrong_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(monkeypatch, package("wrong", {"wrong": "wrong_a:ROW"}, tmp_path, {"wrong_a": "ROW = 6"}))
    with pytest.raises(ConfigError, match=r"package wrong 1\.0 .* is not a text\. Mend the package"):
        table().find("wrong")


def test_a_package_may_not_take_a_name_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"disc": "flat_a:ROW", "plate": "flat_a:ROW"}
    put_on_path(monkeypatch, package("flat", rows, tmp_path, {"flat_a": "ROW = 'flat'"}))
    with pytest.raises(ConfigError, match=r"'disc' has several owners: Muster; package flat .*Muster: disc"):
        table().find("disc")
    assert table().find("plate") == "flat"


def test_two_packages_may_not_share_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [package(name, {"cube": f"{name}:ROW"}, tmp_path) for name in ("dice", "bricks")]
    put_on_path(monkeypatch, *folders)
    with pytest.raises(ConfigError, match=r"'cube' has several owners: package bricks .*; package dice "):
        table().find("cube")


def test_a_table_without_a_group_has_our_rows_only() -> None:
    closed = NameTable("shape", {"disc": "round"})
    assert dict(closed) == {"disc": "round"}
    with pytest.raises(UnknownNameError, match="Valid: disc"):
        closed.find("cube")
    assert closed.get("cube") is None
