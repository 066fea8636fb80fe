"""Forms of files that are no question sets, told by how they begin."""

import re

from orchestrator.errors import InputError

_WIDE = {
    "UTF-32": re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff|\0{3}[^\0]|[^\0]\0{3}"),
    "UTF-16": re.compile(rb"\xff\xfe|\xfe\xff|\0[^\0]|[^\0]\0[^\0]"),
}
"""Beginnings of files in other forms of Unicode, with a mark or without."""


class NotQuestionsError(InputError):
    """A file that is no question set at all: empty, binary, or JSON of another shape."""

    code = "invalid_jsonl"


def refuse_other_forms(head: bytes, name: str) -> None:
    """Look at the beginning of a file, which messages call `name`.

    Raises:
        NotQuestionsError: another form than JSON lines in UTF-8.
    """
    wide = next((form for form, begins in _WIDE.items() if begins.match(head)), None)
    if wide is not None:
        raise NotQuestionsError(f"{name} is {wide}.", remedy="Save it as UTF-8.")
    if head[:4] in (b"PK\x03\x04", b"PAR1") or head[:2] == b"\x1f\x8b":
        raise NotQuestionsError(f"{name} is a binary or compressed file.", remedy="Give plain JSON lines.")
    start = head.removeprefix(b"\xef\xbb\xbf").strip()
    if start.startswith(b"["):
        raise NotQuestionsError(f"{name} is a JSON array.", remedy="Write one JSON object per line (JSONL).")
    if start == b"{":
        raise NotQuestionsError(
            f"{name} is pretty-printed JSON.", remedy="Write each object on a single line (JSONL)."
        )
