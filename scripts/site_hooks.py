"""Hooks of mkdocs: what mkdocs.yml and its Markdown read otherwise than the hosts of repositories do."""

import re
from pathlib import Path
from typing import Any

CODE = re.compile(r"`[^`]*`")
ITEM = re.compile(r" {0,3}(?:[-*+]|1[.)]) +\S")


def on_config(config: Any) -> Any:
    """The configuration with the folders of its nav replaced by their pages."""
    config["nav"] = [with_pages(item, Path(config["docs_dir"])) for item in config["nav"]]
    return config


def with_pages(item: Any, docs: Path) -> Any:
    """One item of the nav: `{title: "folder/"}` as `{title: [pages by name]}`, any other one as it is."""
    if isinstance(item, dict):
        (title, place), *_ = item.items()
        if isinstance(place, str) and place.endswith("/"):
            return {title: [str(page.relative_to(docs)) for page in sorted((docs / place).glob("*.md"))]}
    return item


def on_page_markdown(markdown: str, **_page: Any) -> str:
    """The text of a page as mkdocs has to see it."""
    return with_bars_in_code(with_lists_apart(markdown))


def with_bars_in_code(text: str) -> str:
    """Text whose tables have plain bars in code: mkdocs would show the backslash that other readers need."""
    rows = re.compile(r"^\|.*$", re.MULTILINE)
    return rows.sub(lambda row: CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), text)


def with_lists_apart(text: str) -> str:
    """Text with a blank line between a paragraph and its list, without which mkdocs sees no list."""
    lines: list[str] = []
    is_code = is_paragraph = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("```"):
            is_code, is_paragraph = not is_code, False
        elif not is_code:
            is_item = ITEM.match(line) is not None
            if is_item and is_paragraph:
                lines.append("\n")
            # A paragraph begins at the margin and lasts until a blank line or its list.
            begins = bool(line.strip()) and not line[0].isspace() and not lines_end_in_text(lines)
            is_paragraph = not is_item and bool(line.strip()) and (is_paragraph or begins)
        lines.append(line)
    return "".join(lines)


def lines_end_in_text(lines: list[str]) -> bool:
    """Whether the next line would go on with what stands before it."""
    return bool(lines) and bool(lines[-1].strip()) and not lines[-1].startswith(("#", "```"))
