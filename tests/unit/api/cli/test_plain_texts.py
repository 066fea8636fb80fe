"""What others wrote is shown on a terminal as it is, and neither styles it nor steers it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from api.cli.plain import plain
from api.cli.session import Session
from api.cli.tables import table

HOSTILE = "a\x1b[2Jb \x9b1mc\x07 \x7f"
WRITTEN = r"a\x1b[2Jb \x9b1mc\x07 \x7f"


@pytest.mark.parametrize("text", ["[/red]", "[red]x[/red]", "[", ":smile:", "[link=http://x]y[/link]"])
def test_what_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """A job's label that closed a tag nobody had opened once ended `muster jobs` with a stack trace."""
    shown = table("Jobs", "id", "label")
    shown.add_row("job-1", text)
    Session().emit({}, shown, text, Text(text))
    assert capsys.readouterr().out.count(text) == 3


def test_control_characters_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    shown = table("Jobs", "id", "label")
    shown.add_row("job-1", HOSTILE)
    Session().emit({}, shown, HOSTILE, Text(HOSTILE))
    Session().remark(HOSTILE)
    told = capsys.readouterr()
    for stream in (told.out, told.err):
        assert not {"\x1b", "\x9b", "\x7f"} & set(stream)
    assert told.err.strip() == WRITTEN


@pytest.mark.parametrize("mark", "\u202a\u202b\u202d\u202e\u202c\u2066\u2067\u2068\u2069")
def test_what_would_turn_the_direction_of_the_rest_of_a_line_is_written_out(mark: str) -> None:
    assert plain(f"{mark}gpj.exe") == f"\\u{ord(mark):04x}gpj.exe"


def test_lines_and_tabs_and_letters_of_any_script_stay() -> None:
    text = "first\tä\n家 👨‍👩‍👧 می‌خواهم\n"
    assert plain(text) == text


@given(st.text())
def test_a_plain_text_has_no_control_characters_and_is_plain_for_good(text: str) -> None:
    once = plain(text)
    assert plain(once) == once
    assert [c for c in once if c not in "\t\n" and (ord(c) < 32 or 127 <= ord(c) < 160)] == []
