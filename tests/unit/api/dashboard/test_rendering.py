"""Words of pages, worked by hand; files of ours are named by their content."""

import shutil
from pathlib import Path

import pytest

from api.dashboard import rendering
from api.dashboard.rendering import STATIC, count, duration, memory, percent, shade, short, static_url, usd


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0.34, "340 ms"),
        (-1.0, "0 ms"),
        (9.96, "10.0 s"),
        (12.4, "12 s"),
        (60.0, "1 min"),
        (250.0, "4 min 10 s"),
        (3599.6, "1 h"),
        (7500.0, "2 h 5 min"),
        (273_600.0, "3 d 4 h"),
    ],
)
def test_durations_are_said_in_two_units_at_most(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_compositions_and_experts_are_called_by_their_own_names() -> None:
    assert [short(name) for name in ("auto", "muster/knn", "expert:roman")] == ["auto", "knn", "roman"]


def test_numbers_are_said_as_people_read_them() -> None:
    assert (percent(0.834), percent(None)) == ("83 %", "–")
    assert (count(1234), count(97.6)) == ("1,234", "97.6")
    assert (usd(0), usd(0.00123), usd(1234.5)) == ("$0", "$0.0012", "$1,234.50")
    assert (usd(0.0000012), usd(0.00999)) == ("$0.0000012", "$0.01")


@pytest.mark.parametrize(
    ("gib", "said"),
    [(19.84, "19.8 GiB"), (1, "1.0 GiB"), (0.025, "26 MiB"), (0.0001, "1 MiB"), (0, "0.0 GiB")],
)
def test_little_memory_is_not_said_to_be_none(gib: float, said: str) -> None:
    assert memory(gib) == said


@pytest.mark.parametrize(
    ("share", "name"), [(0.0, "h0"), (1.0, "h10"), (0.44, "h4"), (7.0, "h10"), (None, "none")]
)
def test_shades_have_eleven_steps(share: float | None, name: str) -> None:
    assert shade(share) == name


def test_addresses_change_with_the_content_of_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script names others beside it, and a browser keeps what it finds there for good."""
    files = shutil.copytree(STATIC, tmp_path / "static")
    monkeypatch.setattr(rendering, "STATIC", files)
    address = static_url.__wrapped__
    before = address("ask.js")
    assert address("ask.js") == before
    (files / "stream.js").write_text("// as of another version")
    assert address("ask.js") != before
    assert address("ask.js").endswith("/ask.js")
