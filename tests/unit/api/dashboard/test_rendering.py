"""Words of pages, worked by hand; files of ours are named by their content."""

import hashlib

import pytest

from api.dashboard.rendering import STATIC, count, duration, percent, shade, static_url, usd


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


def test_numbers_are_said_as_people_read_them() -> None:
    assert (percent(0.834), percent(None)) == ("83 %", "–")
    assert (count(1234), count(97.6)) == ("1,234", "97.6")
    assert (usd(0), usd(0.00123), usd(1234.5)) == ("$0", "$0.0012", "$1,234.50")


@pytest.mark.parametrize(
    ("share", "name"), [(0.0, "h0"), (1.0, "h10"), (0.44, "h4"), (7.0, "h10"), (None, "none")]
)
def test_shades_have_eleven_steps(share: float | None, name: str) -> None:
    assert shade(share) == name


def test_the_address_of_a_file_changes_with_its_content() -> None:
    digest = hashlib.sha256((STATIC / "muster.css").read_bytes()).hexdigest()
    assert static_url("muster.css") == f"/static/{digest[:12]}/muster.css"
