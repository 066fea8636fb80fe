"""docs/cli.md and docs/api.md are what the commands and the routes say of themselves today."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from api.cli.main import COMMANDS, GROUPS, INNER, app
from scripts.reference_pages import PAGES, cell, cli_page, needs, paragraphs, prose, summary

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "page"), PAGES.items(), ids=PAGES)
def test_a_reference_page_is_current(name: str, page: Callable[[], str]) -> None:
    assert (DOCS / name).read_text() == page(), "run `make reference`"


def test_every_command_has_a_section_and_its_options_a_row() -> None:
    page = cli_page()
    inner = [f"{group} {name}" for group, (_, commands) in GROUPS.items() for name in commands]
    beside = [f"{outer} {name}" for outer, commands in INNER.items() for name in commands]
    for name in (*COMMANDS, *inner, *beside):
        assert f"\n## muster {name}\n" in page
    group = typer.main.get_command(app)
    options = {name for option in group.commands["batch"].params for name in option.opts}  # type: ignore[attr-defined]
    section = page.split("\n## muster batch\n")[1].split("\n## ")[0]
    assert {name for name in options if name not in section} == set()


def test_a_route_names_the_scope_that_it_or_its_module_asks_for() -> None:
    assert needs("/v1/jobs/{job_id}", "get") == "`ask` or `batch`"
    assert needs("/v1/keys", "post") == "`admin`"
    assert needs("/v1/experts/{expert_id}", "get") == ""
    assert needs("/v1/experts/{expert_id}/pause", "post") == "`admin`"
    with pytest.raises(LookupError, match="get /v1/nothing"):
        needs("/v1/nothing", "get")


def test_texts_break_neither_tables_nor_pages() -> None:
    assert cell("one\n  or | two") == "one or \\| two"
    assert prose("x < y") == "x &lt; y"
    assert paragraphs("One\nline.\n\nA <tag>.\n") == "One line.\n\nA &lt;tag>."
    assert summary({"description": "Do <this>. Then that.\n\nMore.", "summary": "It"}) == "Do &lt;this>."
    assert summary({"summary": "Get Model"}) == "Get Model."
