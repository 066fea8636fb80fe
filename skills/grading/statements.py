"""Finds where a text states its final answer. Knows phrases, fields and boxes, not answer types.

Texts come from models that may run wild: every function here takes time linear in the text.
"""

import re
from enum import IntEnum
from typing import NamedTuple

from skills.grading.fields import fields
from skills.grading.languages import without_tail
from skills.grading.marks import unmarked, without_closer
from skills.grading.phrases import DENIED, Lead, leads

MAX_STATEMENTS = 100
MAX_STATEMENT_CHARS = 2_000
LONG_CHARS = 200
"""What follows an answer under a heading is longer only where the heading is that of the whole text."""

_REFUSAL = re.compile(
    r"^\W*(?:i'?m sorry|i am sorry|sorry,? (?:but|i)\b|i apologi[sz]e|unfortunately,? i"
    r"|i (?:can(?:no|')t|can not|won't|am unable|am not able)|i'?m (?:unable|not able)"
    r"|i (?:do not|don't) know|as an ai\b)",
    re.IGNORECASE,
)
_BRACE = re.compile(
    r"(?P<twice>\\?)(?P<box>\\(?:boxed|fbox|framebox)\s*\{)|\\[{}]|(?P<open>\{)|(?P<close>\})"
    r"|\\boxed[ \t]{1,2}(?P<bare>[A-Za-z0-9]{1,20})|\\boxed(?P<digit>\d)"
)
_FENCE = re.compile(r"(?P<fence>```|~~~|\$\$|\\\[)")
_FENCE_ENDS = {"```": "```", "~~~": "~~~", "$$": "$$", "\\[": "\\]"}
_BULLET = re.compile(r"\A(?:[-*+•>]|\d{1,2}[.)])\s+(?=\S)")
_NEXT_TURN = re.compile(
    r"^[ \t]{0,3}(?:#{1,6} ?(?:[A-Za-z-]{1,12} )?(?:Question|Instruction|Exercise)s?\b"
    r"|(?:Question|Instruction|Human|User|Q) ?\d{0,3}:|<\|(?:user|im_start)\|>|\[INST\])",
    re.MULTILINE,
)
_BLANK = re.compile(
    r"\A(?:[_.…?-]{2,}|[<\[{(](?:your|the|final|insert|answer|value|number)[^<>\[\]{}()]*[>\]})])\Z",
    re.IGNORECASE,
)
_SHOWN = re.compile(r"(?:e\.g\.|for example|such as|for instance|like)[,:]?\W*\Z", re.IGNORECASE)
_BLANK_LINE = re.compile(r"\n[ \t]*\n")


class Origin(IntEnum):
    """The form in which an answer is stated."""

    LINE = 0
    BOX = 1
    FIELD = 2
    TAG = 3


class Statement(NamedTuple):
    """One answer that a text states.

    Attributes:
        start: orders statements: the last is the one that counts. Of a field it is the end of its object, so
            that nothing else in the object comes after it; of what counts only where nothing else is stated,
            below 0.
        text: after a phrase the rest of the line or the block that follows, else the content of the box,
            field or tag; without the marks around it.
        origin: the form.
        raw: as written, with marks and quotes; of a line to its end.
        marked: what the marks enclose that the statement begins with: of `**42** km` the 42; "" = no marks.
        paragraph: of a line: from the statement to the next blank line.
        key: of a field: where its key begins.
    """

    start: int
    text: str
    origin: Origin = Origin.LINE
    raw: str = ""
    marked: str = ""
    paragraph: str = ""
    key: int = 0

    @property
    def denies(self) -> bool:
        """Says that there is no answer, or more than one."""
        return DENIED.match(self.text) is not None


def is_refusal(text: str) -> bool:
    """Opens like a refusal and states no answer."""
    return _REFUSAL.match(text) is not None and not statements(text)


def statements(text: str, *, truncated: bool = False) -> list[Statement]:
    """Explicit statements of an answer, in order; of very many, the last hundred.

    In a truncated text a line counts only if a later line follows: its end may be missing. A box, a field and
    a tag count once they are closed.
    """
    found = [*_stated_lines(text, truncated=truncated), *_boxes(text), *_fields(text, truncated=truncated)]
    given = [said for said in found if not _is_example(text, said)]
    return sorted(_of_first_turn(text, given), key=lambda said: said.start)[-MAX_STATEMENTS:]


def _of_first_turn(text: str, found: list[Statement]) -> list[Statement]:
    """Statements before a model goes on to ask itself the next question, where there are some."""
    first = min((said.start for said in found if said.start >= 0), default=len(text))
    turn = _NEXT_TURN.search(text, first)
    return found if turn is None else [said for said in found if said.start < turn.start()]


def _is_example(text: str, said: Statement) -> bool:
    """An answer that only shows a form: `___`, `<your answer>`, `e.g., "answer": "42"`."""
    return _BLANK.match(said.text) is not None or (
        said.origin is Origin.FIELD and _SHOWN.search(text[max(0, said.key - 20) : said.key]) is not None
    )


def _stated_lines(text: str, *, truncated: bool) -> list[Statement]:
    found = []
    for lead in leads(text, most=MAX_STATEMENTS):
        said = _after(text, lead, truncated=truncated)
        if said is not None:
            found.append(said)
    return found


def _after(text: str, lead: Lead, *, truncated: bool) -> Statement | None:
    """The statement that follows a phrase, on its line or below it."""
    window = text[lead.end : lead.end + MAX_STATEMENT_CHARS]
    block = _block(window)
    raw, is_cut = block if block is not None else _line(window, bullet=lead.below)
    if not raw or (is_cut and truncated and lead.end + len(window) == len(text)):
        return None
    said, marked = unmarked(without_closer(raw, lead.mark))
    said = said.strip() if said.isascii() else without_tail(said.strip())
    if not said:
        return None
    paragraph = _BLANK_LINE.split(window, maxsplit=1)[0].strip()
    is_heading = lead.below and block is None and len(window.strip()) > len(paragraph) + LONG_CHARS
    start = lead.start - len(text) - 1 if is_heading else lead.start
    return Statement(start, said, Origin.LINE, raw, marked, paragraph)


def _line(window: str, *, bullet: bool) -> tuple[str, bool]:
    """The first line, and whether the window ends before the line does."""
    line, end, _ = window.partition("\n")
    line = line.strip()
    return (_BULLET.sub("", line) if bullet else line), not end


def _block(window: str) -> tuple[str, bool] | None:
    """The content of a fence, or of a formula of several lines, that a window begins with."""
    match = _FENCE.match(window)
    if match is None:
        return None
    end = window.find(_FENCE_ENDS[match["fence"]], match.end())
    content = window[match.end() : end]
    if end < 0 or "\n" not in content:
        return None
    is_formula = match["fence"] not in ("```", "~~~")
    inside = " ".join(content.split()) if is_formula else content.partition("\n")[2]
    return inside.strip("\n").rstrip(), False


def _boxes(text: str) -> list[Statement]:
    """Contents of closed boxes; one that holds more than a statement can is none."""
    if "\\" not in text:
        return []
    found = []
    opened: list[tuple[int, bool] | None] = []  # where a box's content starts; None for a plain brace
    for match in _BRACE.finditer(text):
        if match["box"] or match["open"]:
            opened.append((match.end(), bool(match["twice"])) if match["box"] else None)
        elif match["close"] and opened:
            box = opened.pop()
            if box is not None and match.start() - box[0] <= MAX_STATEMENT_CHARS:
                found.append(_box(box[0], text[box[0] : match.start()], twice=box[1]))
        elif match["bare"] or match["digit"]:
            found.append(_box(match.start(), match["bare"] or match["digit"], twice=False))
    return [box for box in found if box.text]


def _box(start: int, raw: str, *, twice: bool) -> Statement:
    """`twice`: the backslash of the box is escaped, as in JSON; so are those of its content."""
    content = raw.replace("\\\\", "\\") if twice else raw
    text, marked = unmarked(content.strip())
    return Statement(start, text.strip(), Origin.BOX, raw, marked)


def _fields(text: str, *, truncated: bool) -> list[Statement]:
    found = []
    for field in fields(text, truncated=truncated):
        said, marked = unmarked(_innermost(field.text))
        start = field.at - len(text) - 1 if field.is_weak else field.at
        origin = Origin.TAG if field.is_tag else Origin.FIELD
        if said.strip():
            found.append(Statement(start, said.strip(), origin, field.raw, marked, key=field.key))
    return found


def _innermost(value: str) -> str:
    """`The answer is \\boxed{x}.` as a field's value -> `x`; a quoted or bracketed value is itself."""
    if value[:1] in "[({'\"":
        inner = fields(value)
        return inner[-1].text if inner else value
    boxes = _boxes(value)
    if boxes:
        return boxes[-1].text
    said = _stated_lines(value, truncated=False)
    return said[-1].raw if said else value


def unboxed(text: str) -> str:
    """`\\boxed{x}` and text around it -> `x`; a text without a closed box is unchanged."""
    boxes = _boxes(text)
    return boxes[0].text if boxes else text
