"""Literals of Python and JSON: canonical answer = the value's canonical text, exact by value and type."""

import ast
import json
import re
import warnings
from collections import deque
from collections.abc import Iterator

from orchestrator.domain.literals import MAX_LITERAL_CHARS, literal
from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict
from skills.grading.fences import fenced_blocks
from skills.grading.fields import Field, fields, unescaped
from skills.grading.marks import unmarked
from skills.grading.statements import Origin, Statement, statements

MAX_TRIED_LINES = 3
MAX_SIGNS = 8

_EITHER = re.compile(r"\A(?P<plain>[^'\"\[({\s]\S*) or (?P<quoted>['\"].*)\Z", re.DOTALL)
_SCALAR = re.compile(r"\A[-\w.(][^'\"\[{,]*\Z")
_ESCAPED = re.compile(r"\A[^\\'\n\r\t]*\\(?:[^\\'\n\r\t]|\\[nrt\\])*\Z")
"""A text in which backslashes are those of escapes, as in a literal that has lost its quotes."""
_COMMAND = re.compile(r"\A\\(?:text|texttt|mathtt|mathrm|textbf|mathbf)\s{0,3}\{(.*)\}\Z", re.DOTALL)
_PROTECTED = re.compile(r"\\([{}_%&#$ ])")
_TYPED_QUOTES = {ord("“"): '"', ord("”"): '"', ord("‘"): "'", ord("’"): "'"}
_SPAN = re.compile(r"\A(?:``(?!`)(?P<two>[^`]*)``|`(?!`)(?P<one>[^`]*)`)(?P<rest>[^`]*)\Z")
_LEAD = re.compile(
    r"\A(?:(?:the )?(?:output|result|answer|return(?:ed)? value|value|returns?)\b"
    r"(?:[ ]{0,2}(?:(?:is|are|will be|would be|should be|becomes|equals)\b:?|:|=(?!=)|->|=>))?"
    r"|(?:->|=>|→|==|>>>|#)|=(?!=))\s*",
    re.IGNORECASE,
)
_SIGN = re.compile(r"==|->|=>|→|\breturns\b|(?<![=!<>])=(?!=)")
_OUTCOME = re.compile(
    r"\b(?:(?:the |final ){0,2}(?:output|result|(?:return(?:ed)? |final )?value)(?: of [^\n]{1,60}?)?"
    r" (?:is|are|will be|would be|should be|becomes)"
    r"|returns|outputs|prints|evaluates to|(?:will|would) (?:return|output|print|be))\b:?"
    r"(?=\s*[*_`]{0,3}[-'\"\[({\d.TFN“‘])",
    re.IGNORECASE,
)
"""Words before what comes out, in the line that a text ends with."""
_NUMBER = re.compile(
    r"\A(?:[-+]?(?:0[xX][0-9a-fA-F]+|\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
    r"|True|False|None|true|false|null|nan)(?!\w|\.\d)"
)
_STRING = re.compile(r"\A[rRbBuU]{0,2}(?P<quote>[\"'])")
_REST = re.compile(
    r"\A(?:\s*(?:[.,;:!)]|\Z|\n)|\s+[-–—(]"
    r"|\s+(?:because|since|as|which|where|so|for|when|after|with|due)\b)"
)
_CLOSERS = {"[": "]", "(": ")", "{": "}"}
_CONTROL = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


class LiteralGrader:
    """Canonical form: as `orchestrator.domain.literals` has it.

    A number, `True` or `None` that stands in a string of JSON may be meant as a text: `{"answer": "3"}` is
    read as `3 or '3'`, which is the same as either. Without such readings equality is an equivalence.
    """

    def read(self, _query: Query, text: str, *, truncated: bool) -> Reading:
        found = _sources(text, truncated=truncated)
        for said in reversed(found):
            value = _of_field(said) if isinstance(said, Field) else _of_statement(said)
            if value is not None:
                return Reading(value)
        if truncated:
            return Reading(None, "truncated before a stated answer")
        value = None if found else _bare(text)
        return Reading(None, "no stated literal") if value is None else Reading(value)

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return not _meanings(a).isdisjoint(_meanings(b))

    def check(self, query: Query, value: str) -> Verdict:
        reference = literal(str(query.answer))
        if reference is None:
            raise SkillError(
                f"query '{query.id}': the reference answer '{query.answer}' is no Python literal.",
                param="answer",
                remedy="Write it as Python does: 'text' in quotes, [1, 2], True.",
            )
        return Verdict(reference in _meanings(value))


def _meanings(value: str) -> frozenset[str]:
    """The canonical texts that a reading may stand for: one, or a scalar and its text."""
    either = _EITHER.match(value)
    return frozenset([either["plain"], either["quoted"]] if either else [value])


def _sources(text: str, *, truncated: bool) -> list[Statement | Field]:
    """Statements and fields in the order in which they count; fields as written, an empty text among them."""
    placed: list[tuple[int, Statement | Field]] = [
        (said.start, said)
        for said in statements(text, truncated=truncated)
        if said.origin not in (Origin.FIELD, Origin.TAG)
    ]
    for field in fields(text, truncated=truncated):
        place = field.at - len(text) - 1 if field.is_weak else field.at
        placed += [(place, field)]
    return [source for _, source in sorted(placed, key=lambda each: each[0])]


def _of_field(field: Field) -> str | None:
    """The literal of a field: its value; of a string the literal that it holds, else the string itself."""
    raw = field.raw
    if field.is_tag or len(raw) < 2 or raw[0] not in "\"'" or raw[-1] != raw[0]:
        return stated_literal(raw)
    content = _string(raw)
    value = whole_literal(content)
    if value is None or (content != content.strip() and _SCALAR.match(value)):
        return literal(f"'{content}'") or repr(content) if _ESCAPED.match(content) else repr(content)
    return f"{value} or {content!r}" if _SCALAR.match(value) else value


def _string(raw: str) -> str:
    """Content of a quoted string, blanks kept."""
    try:
        value = json.loads(raw, strict=False)
    except ValueError:
        value = None
    return value if isinstance(value, str) else unescaped(raw)


def _of_statement(said: Statement) -> str | None:
    plain = said.text
    if said.origin is Origin.BOX:
        plain = _PROTECTED.sub(r"\1", _COMMAND.sub(r"\1", plain))
    tried = dict.fromkeys([plain, said.raw, said.text, said.marked, said.paragraph])
    return next((value for source in tried if source and (value := stated_literal(source))), None)


def _bare(text: str) -> str | None:
    """A text that is a literal, its last fenced block, or its last line, else its first, that says what comes
    out; of several lines the first may be a step on the way, so that an equality in it says nothing."""
    said = text.strip()
    first, *more = (line.strip() for line in said.splitlines() if line.strip())
    whole = _value(said, begins=not more) if len(said) <= MAX_LITERAL_CHARS else None
    if whole is not None:
        return whole
    blocks = [block.body for block in fenced_blocks(text) if block.is_closed]
    in_block = stated_literal(blocks[-1]) if blocks else None
    if in_block is not None:
        return in_block
    last = more[-1] if more else first
    if max(len(first), len(last)) > MAX_LITERAL_CHARS:
        return None
    plain = _value(_outside_of_span(last), begins=False) or _outcome(last)
    at_begin = _value(_outside_of_span(first), begins=True) or _outcome(first)
    at_sign = stated_literal(last) if not more or _SIGN.search(last) else None
    return plain or at_begin or at_sign or _asserted([first, *more][-MAX_TRIED_LINES:])


def _asserted(lines: list[str]) -> str | None:
    """What the last comparison of a program is to: `assert f(x) == [1]`."""
    compared = (_compared(line) for line in reversed(lines) if len(line) <= MAX_LITERAL_CHARS)
    return next((value for source in compared if source and (value := literal(source))), None)


def _outcome(line: str) -> str | None:
    """What a line says to come out: `so f(x) returns [1]`, `the final value of x is **[1]**`."""
    found = deque(_OUTCOME.finditer(line), maxlen=1)
    return stated_literal(line[found[0].end() :]) if found else None


def stated_literal(text: str) -> str | None:
    """The literal that a statement gives, if nothing but a reason follows it; None when it gives none."""
    return next((value for source in _undressed(text) if (value := _value(source, begins=True))), None)


def whole_literal(text: str) -> str | None:
    """The literal that a text gives from its beginning to its end."""
    return next((value for source in _undressed(text) if (value := _value(source, begins=False))), None)


def _value(source: str, *, begins: bool) -> str | None:
    """Args: begins: words may follow the literal, and a period is the sentence's."""
    value = literal(source.removesuffix(".") if begins else source) or literal(source.removesuffix("."))
    if value is None and "\n" in source:
        value = literal(source.translate(_CONTROL))  # the escape of a line end was undone with those of JSON
    if value is None and source[:1] in "“‘":
        value = literal(source.translate(_TYPED_QUOTES).removesuffix("."))
    return value or (_begun(source) if begins else None)


def _undressed(text: str) -> Iterator[str]:
    """Sources that may be the literal, surest first: the text, without marks around it, and what it says to
    be equal to something (`assert f(x) == [1]`, `Output: [1]`, `f(x) -> [1]`, `>>> f(x)` and a line)."""
    said = text.strip()
    if not said or len(said) > MAX_LITERAL_CHARS:
        return
    yield said
    blocks = [block.body.strip() for block in fenced_blocks(said)]
    bodies = blocks or [said]
    for body in bodies[-1:]:
        inside = _outside_of_span(body)
        yield inside
        lines = [line.strip() for line in inside.splitlines() if line.strip()]
        yield from lines[-1:]
        for line in dict.fromkeys([inside, *lines[:1], *lines[: -MAX_TRIED_LINES - 1 : -1]]):
            yield from _told(line)


def _told(line: str) -> Iterator[str]:
    """What a line says that something is equal to."""
    compared = _compared(line)
    if compared is not None:
        yield compared
    lead = _LEAD.match(line)
    if lead is not None:
        yield _outside_of_span(line[lead.end() :].strip())
    for sign in list(_SIGN.finditer(line))[:MAX_SIGNS]:
        yield _outside_of_span(line[sign.end() :].strip())


def _outside_of_span(text: str) -> str:
    """`` `[1, 2]`, because ... `` and `**[1, 2]**` -> `[1, 2]`; another text is itself."""
    if text[:1] in ("*", "_"):
        text = unmarked(text)[0].strip()
    span = _SPAN.match(text)
    if span is None or not _REST.match(span["rest"]):
        return text
    return (span["one"] or span["two"] or "").strip()


def _compared(line: str) -> str | None:
    """`assert f(x) == [1], "why"` -> `[1]`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(line).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    node: ast.AST | None = body[0] if len(body) == 1 else None
    node = node.test if isinstance(node, ast.Assert) else node.value if isinstance(node, ast.Expr) else None
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.Is):
        return ast.get_source_segment(line, node.comparators[0])
    return None


def _begun(text: str) -> str | None:
    """The literal that a text begins with, if nothing but a reason or the end of the clause follows."""
    end = _literal_end(text)
    return literal(text[:end]) if end is not None and _REST.match(text[end : end + 40]) else None


def _literal_end(text: str) -> int | None:
    """The place behind the literal that a text begins with; None where it begins with none."""
    number = _NUMBER.match(text)
    if number is not None:
        return number.end()
    string = _STRING.match(text)
    if string is not None:
        return _string_end(text, string.end(), string["quote"])
    return _bracket_end(text) if text[:1] in _CLOSERS else None


def _string_end(text: str, at: int, quote: str) -> int | None:
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == quote:
            return at + 1
        at += 1
    return None


def _bracket_end(text: str) -> int | None:
    depth = at = 0
    while at < len(text):
        if text[at] in "\"'":
            end = _string_end(text, at + 1, text[at])
            if end is None:
                return None
            at = end
            continue
        depth += (text[at] in "([{") - (text[at] in ")]}")
        at += 1
        if depth == 0:
            return at
    return None
