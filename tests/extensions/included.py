"""Files shown in a document: each stands in a fence below a comment that names it.

`python -m tests.extensions.included` writes them into the documents anew.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/extending.md"
EXAMPLES = ROOT / "docs/examples.md"

_SHOWN = re.compile(r"<!-- include: (\S+) -->\n```(\w+)\n(.*?)```\n", re.DOTALL)


def paths(document: str) -> list[str]:
    """Files that the document shows."""
    return [match[1] for match in _SHOWN.finditer(document)]


def with_files(document: str) -> str:
    """The document, with the files as they are now."""

    def shown(match: re.Match[str]) -> str:
        path, language = match[1], match[2]
        return f"<!-- include: {path} -->\n```{language}\n{(ROOT / path).read_text()}```\n"

    return _SHOWN.sub(shown, document)


if __name__ == "__main__":
    for document in (DOCUMENT, EXAMPLES):
        document.write_text(with_files(document.read_text()))
