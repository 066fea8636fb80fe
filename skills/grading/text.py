"""Free text: canonical answer = the normalised text, compared exactly."""

import re
import unicodedata

from orchestrator.domain.queries import Query
from skills.grading.base import Reading, Verdict
from skills.grading.statements import without_emphasis

_PREFIX = re.compile(
    r"^[ \t]*(?:final\s+)?answer\s*:\s*|^[ \t]*the (?:final |correct )?answer is:?\s+",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTES = "\"'“”‘’«»"


class TextGrader:
    """Canonical form: NFKC, case folded, single blanks, no surrounding quotes or final period."""

    def read(self, _query: Query, text: str, *, truncated: bool) -> Reading:
        stated = _after_prefix(text, truncated=truncated)
        if stated is None and truncated:
            return Reading(None, "truncated before a stated answer")
        value = normalised_text(text if stated is None else stated)
        return Reading(value) if value else Reading(None, "no text")

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return a == b

    def check(self, query: Query, value: str) -> Verdict:
        return Verdict(value == normalised_text(str(query.answer)))


def normalised_text(text: str) -> str:
    """`" “New  York”. "` -> `new york`; idempotent."""
    value = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    # Case folding can leave NFKC, so it is applied again.
    return unicodedata.normalize("NFKC", value).lstrip(f" {_QUOTES}").rstrip(f". {_QUOTES}")


def _after_prefix(text: str, *, truncated: bool) -> str | None:
    """What follows the last "Answer:" at the start of a line, to the end of that line.

    Asterisks, underscores and backticks are Markdown only around such a prefix; elsewhere they
    may belong to the answer.
    """
    plain = without_emphasis(text)
    ends = [match.end() for match in _PREFIX.finditer(plain)]
    for start in reversed(ends):
        line_end = plain.find("\n", start)
        is_cut = line_end < 0 and truncated
        line = plain[start : None if line_end < 0 else line_end]
        if line.strip() and not is_cut:
            return line
    return None
