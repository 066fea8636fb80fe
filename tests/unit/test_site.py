"""The documentation as a site (mkdocs.yml) has every page, leads nowhere else, and fetches nothing."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.site_hooks import on_config, with_bars_in_code, with_lists_apart, with_pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without calling what it names."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
SITE: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)


def named(item: Any) -> Iterator[str]:
    """Pages that an item of the nav names, itself or within."""
    if isinstance(item, str):
        yield item
    for inner in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
        yield from named(inner)


def test_every_page_stands_in_the_nav_once_and_nothing_else_does() -> None:
    nav = on_config({"docs_dir": str(DOCS), "nav": SITE["nav"]})["nav"]
    assert sorted(named(nav)) == sorted(str(page.relative_to(DOCS)) for page in PAGES), "see mkdocs.yml"


def test_a_folder_of_the_nav_stands_for_its_pages_in_order(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for name in ("b.md", "a.md", "picture.svg"):
        (tmp_path / "notes" / name).write_text("")
    assert with_pages({"Notes": "notes/"}, tmp_path) == {"Notes": ["notes/a.md", "notes/b.md"]}
    assert with_pages({"Notes": "notes.md"}, tmp_path) == {"Notes": "notes.md"}
    assert with_pages({"Notes": ["notes.md"]}, tmp_path) == {"Notes": ["notes.md"]}
    assert with_pages("notes.md", tmp_path) == "notes.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_of_a_page_lead_to_files_of_the_site(page: Path) -> None:
    """The site has docs/ only; a folder is no page of it."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = [
        link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", text) if "://" not in link
    ]
    found = {target: (page.parent / target).resolve() for target in targets if target}
    assert [name for name, path in found.items() if not (path.is_file() and path.is_relative_to(DOCS))] == []


def test_nothing_is_fetched_when_a_page_is_read() -> None:
    assert SITE["theme"]["font"] is False
    assert {"extra_javascript", "extra_css", "repo_url", "extra"} & set(SITE) == set()
    for page in PAGES:
        assert re.findall(r"!\[[^\]]*\]\(\s*\w+://|<(?:script|img|link|iframe)\b", page.read_text()) == [], (
            page
        )


def test_a_link_that_leads_nowhere_ends_the_build() -> None:
    assert set(SITE["validation"]["links"].values()) == set(SITE["validation"]["nav"].values()) == {"warn"}
    built = re.findall(r"mkdocs build.*", (ROOT / "Makefile").read_text())
    assert built == ["mkdocs build --strict"], "with --quiet warnings are not counted, and nothing is strict"


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("One.\n- a\n- b\n", "One.\n\n- a\n- b\n"),
        ("One\ntwo:\n1. a\n2. b\n", "One\ntwo:\n\n1. a\n2. b\n"),
        ("# Head\n- a\n", "# Head\n\n- a\n"),
        ("One.\n\nTwo.\n* a\n", "One.\n\nTwo.\n\n* a\n"),
        ("```\nx\n```\nOne.\n- a\n", "```\nx\n```\nOne.\n\n- a\n"),
    ],
)
def test_a_list_after_a_paragraph_is_set_apart(text: str, apart: str) -> None:
    assert with_lists_apart(text) == apart
    assert with_lists_apart(apart) == apart


@pytest.mark.parametrize(
    "text",
    [
        "- a\n  goes on\n- b\n",
        "- a\n\n  more of a\n- b\n",
        "One.\n\n- a\n- b\n",
        "it takes 1,000 to\n89. For that\n",
        "5 − 3\n-2 is not an item\n",
        "```\nOne.\n- code\n```\n",
        "| a | b |\n|---|---|\n| - c | d |\n",
        "",
    ],
)
def test_what_is_no_list_after_a_paragraph_stays_as_it_is(text: str) -> None:
    assert with_lists_apart(text) == text


def test_bars_in_code_of_tables_have_no_backslash_and_others_keep_theirs() -> None:
    assert with_bars_in_code("| `a\\|b` | c \\| d | `e` \\| `f` |\n") == "| `a|b` | c \\| d | `e` \\| `f` |\n"
    assert with_bars_in_code("outside `a\\|b`\n") == "outside `a\\|b`\n"
