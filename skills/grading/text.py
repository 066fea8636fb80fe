"""Free text: canonical answer = the normalised text, compared exactly.

A statement is found anywhere. Without one a short text is the answer as a whole; a long one is an abstention:
no two essays are the same text.
"""

import json
import re
import unicodedata

from orchestrator.domain.queries import Query
from skills.grading.base import Reading, Verdict
from skills.grading.fences import fenced_blocks
from skills.grading.marks import unmarked
from skills.grading.statements import Origin, Statement, statements

MAX_WHOLE_CHARS = 300
"""Of a text that counts as a whole, and of the prose around a fenced value."""

_QUOTES = "\"'“”‘’«»„‹›「」『』"
_COMMAND = re.compile(r"\\(?:text|mathrm|textbf|mathbf|textit|mathit|textrm|texttt|emph)\s{0,3}\{([^{}]*)\}")
_LAYOUT = re.compile(r"\\[()\[\]]")
_FORMULA = re.compile(r"(?<!\\)\$([^$\n]{1,300})\$")
_REASON = re.compile(
    r"\s(?i:because|denn|weil|porque|parce que|perché)\b|,\s(?i:since|as|which|where|who)\b"
    r"|(?<=[^\W\d_]{4})[.!?]\s(?=[A-Z\"“(])|(?<=[\d\"”'’)\]])[.!?]\s(?=[A-Z\"“(])|。"
)
_SHORT_ANSWER = re.compile(
    r"\A(?:yes|no|true|false|ja|nein|oui|non|s[íì]|да|нет)\b"
    r"(?=[.;:!]\s|,\s(?:it|he|she|they|there|this|that|these|those|we|you|the|because|since|as)\b)",
    re.IGNORECASE,
)
_EXCLAIMED = re.compile(r"(?<=[^\W\d_])!{1,3}\Z")
_BULLET = re.compile(r"\A(?:[-*+•>]|A:)[ \t]+(?=\S)")
_AFTER_MARKED = re.compile(r"\A\s*(?:\Z|[.,;:!?(–—-])")


class TextGrader:
    """Canonical form: NFKC, case folded unless the query's comparison keeps it, single blanks, no surrounding
    quotes or final period."""

    def read(self, query: Query, text: str, *, truncated: bool) -> Reading:
        keeps_case = query.comparison.case == "keep"
        for said in reversed(statements(text, truncated=truncated)):
            value = normalised_text(_stated(said), keep_case=keeps_case)
            if value:
                return Reading(value)
        if truncated:
            return Reading(None, "truncated before a stated answer")
        whole = _whole(text)
        if whole is None:
            return Reading(None, "a long text without a stated answer")
        value = normalised_text(whole, keep_case=keeps_case)
        return Reading(value) if value else Reading(None, "no text")

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return a == b

    def check(self, query: Query, value: str) -> Verdict:
        reference = normalised_text(str(query.answer), keep_case=query.comparison.case == "keep")
        return Verdict(value == reference)


def normalised_text(text: str, *, keep_case: bool = False) -> str:
    """`" “New  York”. "` -> `new york`; idempotent."""
    plain = unicodedata.normalize("NFKC", text)
    value = " ".join((plain if keep_case else plain.casefold()).split())
    # Case folding can leave NFKC, so it is applied again.
    value = unicodedata.normalize("NFKC", value).lstrip(f" {_QUOTES}").rstrip(f".。 {_QUOTES}")
    return _EXCLAIMED.sub("", value)


def _stated(said: Statement) -> str:
    """The words of a statement without the reason that may follow them."""
    if said.origin is not Origin.LINE:
        return _without_layout(_only_item(said.text))
    rest = said.text[len(said.marked) :] if said.text.startswith(said.marked) else "x"
    if said.marked and _AFTER_MARKED.match(rest):
        return _without_layout(said.marked)
    text = _without_layout(said.text)
    short = _SHORT_ANSWER.match(text)
    return short.group() if short else _REASON.split(text, maxsplit=1)[0] or text


def _only_item(text: str) -> str:
    """`["Paris"]` -> `Paris`; a text, and a list of several, are themselves."""
    if not text.startswith("["):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else text


def _whole(text: str) -> str | None:
    """The value that a text is, or that its one fenced block holds; None of a long text."""
    blocks = [block for block in fenced_blocks(text) if block.is_closed]
    if len(blocks) == 1 and len(text) - len(blocks[0].body) <= MAX_WHOLE_CHARS:
        return blocks[0].body
    whole = text.strip()
    if len(whole) > MAX_WHOLE_CHARS:
        return None
    return _without_layout(unmarked(whole if "\n" in whole else _BULLET.sub("", whole))[0])


def _without_layout(text: str) -> str:
    """`\\\\text{New York}` -> `New York`; formulas keep their commands."""
    if "\\" not in text and "$" not in text:
        return text
    for _ in range(2):
        text = _COMMAND.sub(r"\1", text)
    return _FORMULA.sub(r"\1", _LAYOUT.sub("", text))
