"""Phrases that come before an answer: "the answer is", "Answer:", a heading. One table a language.

Every function takes time linear in the text: a word is found anywhere, what links it to the answer is looked
for in a window behind it.
"""

import re
from collections import deque
from typing import NamedTuple

from skills.grading.languages import FOREIGN_DENIALS, foreign_leads, has_sign
from skills.grading.marks import opened_before

_WINDOW = 200

_NOUN = re.compile(
    r"(?<![A-Za-z])(?:answers?|ans|choice|option)(?![A-Za-z])"
    r"|^[ \t>*_#]{0,12}(?:(?:the |my )?(?:final )?(?:result|output|conclusion))(?=[ \t*_]{0,4}[:：])"
    r"|^[ \t]{0,8}####(?!#)",
    re.IGNORECASE | re.MULTILINE,
)
_SIGNS = ("ans", "choice", "option", "result", "output", "conclusion", "####")
"""An ASCII text without any of them, in small letters, has no `_NOUN`; of others the case is not so plain."""
_VERB = (
    r"(?:is|are|was|would be|will be|must be|should be|has to be|comes? (?:out )?to|comes out as|equals"
    r"|turns out to be|becomes|works out (?:to|as)(?: be)?)\b"
)
_SIGN = r"(?::|：|=(?!=)|→|->|=>|⇒|\\(?:rightarrow|to|implies)\b|—|–(?=\s)|-(?=\s))"
_UNIT = r"(?:\([^()\n]{1,60}\)[*_`]{0,4}\s*)?"
_LINK = re.compile(
    rf"\A(?:[*_`\"'”’)]{{0,6}}\s*{_UNIT}{_VERB}|[*_`)]{{0,6}}\s*{_UNIT}{_SIGN})", re.IGNORECASE
)
_ASIDE = re.compile(
    r"\A[ \t]+(?:to|for|of|in(?! the (?:JSON|requested|given|required)\b)|here|when|rounded|expressed"
    r"|as|we|I)\b"
    rf"[^.:\n!?=]{{0,100}}?(?:\b{_VERB}|(?=[:：]))",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"\A\s*(?:,?\s*(?:therefore|thus|then|hence|indeed|clearly|simply|just|exactly|about|approximately)\b[,:]?\s*)?",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"\A[ \t]*(?:[#>]{1,6}[ \t]*)?[*_]{0,3}(?:\d[.)] )?(?:the |my )?(?:final |short |correct )?\Z",
    re.IGNORECASE,
)
_ALONE = re.compile(r"\A[*_]{0,3}[ \t]*\n")
_GLUED = re.compile(r"\A\.?[*_]{0,3}[ \t]+(?=[-+−]?[\d$€£¥\\(\[`*])")
_WOULD = re.compile(r"\bwould be\b", re.IGNORECASE)
_IF = re.compile(r"\bif\b[^.!?\n]*\Z", re.IGNORECASE)
_COLON = re.compile(r"\A\s*[:：]")
_TEXT = re.compile(r"\S")

DENIED = re.compile(
    rf"^(?:{FOREIGN_DENIALS}|not\b|none\b|neither\b|both\b|unclear\b|unknown\b|undefined\b|impossible\b|cannot\b|n/?a\b)",
    re.IGNORECASE,
)
"""Statements that there is no answer, or more than one."""


class Lead(NamedTuple):
    """A phrase before an answer.

    Attributes:
        end: where the answer begins.
        below: it begins on a later line.
        mark: mark of Markdown that is opened before the phrase and not closed before the answer; "" = none.
    """

    start: int
    end: int
    below: bool
    mark: str


def leads(text: str, *, most: int) -> list[Lead]:
    """Phrases that announce an answer, in order; the last `most` of them."""
    found: deque[Lead] = deque(maxlen=most)
    is_searched = not text.isascii() or has_sign(text, _SIGNS)
    for noun in _NOUN.finditer(text) if is_searched else ():
        lead = _lead(text, noun.start(), noun.end(), is_sign=noun.group().endswith("#"))
        if lead is not None:
            found.append(lead)
    foreign = [_lead(text, start, end, is_sign=True) for start, end in foreign_leads(text, most=most)]
    known = [*found, *(lead for lead in foreign if lead is not None)]
    return sorted(known, key=lambda lead: lead.start)[-most:]


def _lead(text: str, start: int, end: int, *, is_sign: bool) -> Lead | None:
    window = text[end : end + _WINDOW]
    head = text[max(0, start - _WINDOW) : start].rpartition("\n")[2]
    size = 0 if is_sign else _link_length(window, head)
    if size is None:
        return None
    if _WOULD.search(window[:size]) and _IF.search(head):
        return None
    mark = opened_before(head + text[start : end + size])
    if mark and window.startswith(mark, size):
        size, mark = size + len(mark), ""
    for pattern in (_COLON, _FILLER):
        more = pattern.match(window[size:])
        size += more.end() if more else 0
    first = _TEXT.search(text, end + size)
    if first is None:
        return None
    return Lead(start, first.start(), "\n" in text[end : first.start()], mark)


def _link_length(window: str, head: str) -> int | None:
    """Length of what links the noun to its answer; None where nothing does.

    Args:
        head: the line before the noun, or its end.
    """
    link = _LINK.match(window) or _ASIDE.match(window)
    if link is not None:
        return link.end()
    if not _HEADING.match(head):
        return None
    alone = _ALONE.match(window) or _GLUED.match(window)
    return alone.end() if alone else None
