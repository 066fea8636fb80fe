"""Write docs/cli.md and docs/api.md: the commands and the routes as the program itself describes them.

`make reference` runs it; `tests/unit/test_reference_pages.py` compares.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer.main
from fastapi.routing import APIRoute

from api.cli.main import ITSELF, app
from api.deps import Requires
from api.main import MOUNTS, create_app
from tests.fakes.app import FakeApp

DOCS = Path(__file__).parents[1] / "docs"

CLI_HEAD = """\
# Commands

Made by `make reference` from the commands themselves. `--config`, `--json` and `--debug` may stand
anywhere on the line. Exit codes are 0 done, 1 failed, 2 wrong usage, file or configuration, 130
interrupted. With `--json`, stdout holds one JSON document, `{"error": …}` when the command failed; logs
and progress go to stderr.
"""
API_HEAD = """\
# The REST API

Made by `make reference` from the OpenAPI document. A running server shows all of it, with fields and
examples, at `/openapi.json`, and pages to try it at `/docs`. *Needs* is the scope of the key, where
[keys](keys.md) are used; a key with the scope `admin` may do everything.
"""
TITLES: Mapping[str, str] = {"health": "Health", "route": "Who would be asked", "shadow": "Shadows"}
"""Headings of groups of routes that are not their tags."""


def cli_page() -> str:
    """Each command of `muster`, with its arguments and options."""
    return CLI_HEAD + "".join(section(command, name) for command, name in commands())


def commands() -> Iterator[tuple[Any, str]]:
    """The program itself, then each command under the words that call it."""
    group = typer.main.get_command(app)
    yield group, "muster"
    yield from below(group, "muster")


def below(group: Any, name: str) -> Iterator[tuple[Any, str]]:
    """Commands of a group, those within them included."""
    for word, command in group.commands.items():
        called = name if word == ITSELF else f"{name} {word}"
        inner = getattr(command, "commands", {})
        if not inner:
            yield command, called
        yield from below(command, called) if inner else ()


def section(command: Any, name: str) -> str:
    """One command: how it is called, what it does, a table of what it takes."""
    context = command.context_class(command, info_name=name)
    usage = " ".join([name, *usage_of(command, context)])
    rows = [record for record in (it.get_help_record(context) for it in command.params) if record]
    table = "".join(f"| `{cell(names)}` | {prose(meaning)} |\n" for names, meaning in rows)
    text = paragraphs(command.help or "")
    return f"\n## {name}\n\n```text\n{usage}\n```\n\n{text}\n" + (
        f"\n| | |\n|---|---|\n{table}" if rows else ""
    )


def usage_of(command: Any, context: Any) -> list[str]:
    """Words after the name: options in one, arguments as they are named."""
    pieces = [re.sub(r"^\{(.*)\}$", r"\1", piece) for piece in command.collect_usage_pieces(context)]
    return [re.sub(r"^\[\[(.*)\]\]$", r"[\1]", piece) for piece in pieces]


def paragraphs(text: str) -> str:
    """Help as Markdown: one line to a paragraph, and nothing read as HTML."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n")).replace("<", "&lt;")


def cell(text: str) -> str:
    """Text as it may stand between the bars of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def prose(text: str) -> str:
    """A cell in which nothing is read as HTML."""
    return cell(text).replace("<", "&lt;")


def api_page() -> str:
    """Each route of the REST API in a line, grouped as the document groups them."""
    document = create_app(FakeApp()).openapi()  # type: ignore[arg-type]
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            row = f"| `{method.upper()} {path}` | {summary(operation)} | {needs(path, method)} |\n"
            groups.setdefault(operation["tags"][0], []).append(row)
    return API_HEAD + "".join(
        f"\n## {TITLES.get(tag, tag.capitalize())}\n\n| route | | needs |\n|---|---|---|\n{''.join(rows)}"
        for tag, rows in groups.items()
    )


def summary(operation: Mapping[str, Any]) -> str:
    """First sentence of a route's description, else its title."""
    text = prose(operation.get("description", "").split("\n\n")[0]) or f"{operation['summary']}."
    return re.split(r"(?<=[.])\s(?=[A-Z])", text)[0]


def needs(path: str, method: str) -> str:
    """Scopes of which a key must have one: those of the route, else of its module."""
    for mount in MOUNTS:
        for route in mount.router.routes:
            if isinstance(route, APIRoute) and route.path_format == path and method.upper() in route.methods:
                own = [check.dependency for check in route.dependencies]
                scopes = next((check.scopes for check in own if isinstance(check, Requires)), mount.scopes)
                return " or ".join(f"`{scope.value}`" for scope in scopes)
    raise LookupError(f"{method} {path} is mounted nowhere")


PAGES = {"cli.md": cli_page, "api.md": api_page}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
