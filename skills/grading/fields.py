"""Answer fields: `{"answer": 42}` in JSON or as Python writes it, and tags such as `<answer>42</answer>`.

A field is found by its key, whatever stands around it: models break their JSON, and texts are cut.
"""

import json
import re
from collections import deque
from typing import NamedTuple

MAX_FIELDS = 100
MAX_FIELD_CHARS = 2_000

_QUOTES = "\"'“”"
_KEY = re.compile(
    r"(?P<quote>\\?[\"'“])(?:[a-z]{1,10}[ _-]?)?"
    r"(?:(?P<strong>answers?|ans)(?:[ _-]?(?:value|letter|choice|option|text))?"
    r"|result|output|solution|choice|prediction|conclusion)\\?[\"'”]",
    re.IGNORECASE,
)
_COLON = re.compile(r"\A\s*(?::|：|=>|=)\s*")
_NEXT_KEY = re.compile(r"\A\s*,\s*\\?[\"'“][\w -]+\\?[\"'”]\s*:")
_STRUCTURE = re.compile(r'"(?:[^"\\\n]|\\.)*"?|[{}]')
_ENDS = re.compile(r"\A\s*(?:\Z|[}\]`]|\\[\])]|</|,\s*\Z)|\A[ \t]*(?:\n|,[ \t]*\n)")
_ANOTHER_KEY = re.compile(r"[\"'“]{0,2}\w{1,40}[\"'”]\s{0,3}:")
"""In the place of a value: what was begun there is not said."""
_LAST = re.compile(r"\A[\s`}\])*;.]*\Z")
_TAG = re.compile(
    r"<(?P<name>(?:final[_ -]?)?(?:answer|ans))>|\[(?P<square>(?:FINAL[_ ]?)?ANSWER)\]"
    r"|(?P<box><\|begin_of_box\|>)",
    re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_COMMAND = re.compile(
    r"\\(?=(?:frac|forall|beta|bar|binom|boxed|begin|big|bmod|bot|nu|neq?|nabla|not|neg|nmid|rho|right|rangle"
    r"|rceil|rfloor|theta|times|text|tan|tau|to|tfrac|triangle|tilde|top)(?![a-z]))"
)
_ESCAPED_COMMAND = re.compile(r"\\\\[A-Za-z]")
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "/": "/",
    '"': '"',
    "'": "'",
    "\\": "\\",
}
_OPENERS, _CLOSERS = "([{", ")]}"


class Field(NamedTuple):
    """One answer field.

    Attributes:
        at: where the object or tag ends that it belongs to.
        raw: its value as written, quotes and all.
        text: the value; of a string without its quotes and escapes.
        is_weak: its key may as well name something else ("result"), or it is a tag that never closes.
        is_tag: a tag, not a key.
        key: where the key begins.
    """

    at: int
    raw: str
    text: str
    is_weak: bool = False
    is_tag: bool = False
    key: int = 0


def fields(text: str, *, truncated: bool = False) -> list[Field]:
    """Answer fields, in the order of their keys, and tags; of very many, the last hundred. Takes time linear
    in the text.

    In a truncated text a field counts only if its end is seen.
    """
    return [*_keyed(text, truncated=truncated), *_tagged(text, truncated=truncated)]


def _keyed(text: str, *, truncated: bool) -> list[Field]:
    found: list[Field] = []
    if not any(quote in text for quote in _QUOTES):
        return found
    at = len(text)
    before = len(text)
    for key in reversed(deque(_KEY.finditer(text), maxlen=MAX_FIELDS)):
        colon = _COLON.match(text[key.end() : key.end() + 100])
        if colon is None:
            continue
        start = key.end() + colon.end()
        end = _value_end(text, start, truncated=truncated)
        if end is None:
            continue
        at = _object_end(text, end, before) or at
        before = key.start()
        raw = text[start:end].strip()
        value = unescaped(raw).strip()
        is_weak = not key["strong"]
        is_said = bool(value) or raw[:1] in _QUOTES  # an empty text is a value, too
        if (
            is_said
            and not _ANOTHER_KEY.match(value)
            and not (is_weak and not _LAST.match(text[end : end + 100]))
        ):
            found.append(Field(at, raw, value, is_weak, key=key.start()))
    return found[::-1]


def _object_end(text: str, start: int, stop: int) -> int | None:
    """The place of the brace that closes the object of a value which ends at `start`; `start` where another
    object opens before `stop`; None where neither is."""
    depth = 0
    for part in _STRUCTURE.finditer(text, start, stop):
        depth += {"{": 1, "}": -1}.get(part.group(), 0)
        if depth < 0:
            return part.start()
    return start if depth else None


def _value_end(text: str, start: int, *, truncated: bool) -> int | None:
    """The end of a value; None where it has none within bounds."""
    window = text[start : start + MAX_FIELD_CHARS]
    if not window:
        return None
    escaped = window.startswith('\\"')
    if escaped:
        close = window.find('\\"', 2)
        return None if close < 0 else start + close + 2
    is_string = window[0] in _QUOTES
    length = _string_length(window) if is_string else _bare_length(window)
    runs_out = length is None or (not is_string and length == len(window))
    if runs_out and (truncated or len(text) - start > MAX_FIELD_CHARS):
        return None
    if length is None:
        length = len(window.split("\n", 1)[0])
    return start + length


def _string_length(window: str) -> int | None:
    """Length of a quoted value: to the first quote behind which an object goes on or ends.

    Models put quotes into strings without escapes: `"["a", "b"]"`. So a quote within open brackets ends the
    value only if no later one does.
    """
    quote = {"“": "”"}.get(window[0], window[0])
    first = None
    k = 1
    while k < len(window):
        if window[k] == "\\":
            k += 2
            continue
        if window[k] == quote:
            rest = window[k + 1 : k + 121]
            next_key = _NEXT_KEY.match(rest)
            if next_key or _ENDS.match(rest):
                first = first or k + 1
                if _balanced(window[1:k]):
                    return k + 1
            if next_key:
                break
        k += 1
    return first


def _balanced(content: str) -> bool:
    return all(content.count(a) == content.count(b) for a, b in zip(_OPENERS, _CLOSERS, strict=True))


def _bare_length(window: str) -> int | None:
    """Length of a value without quotes: a number, a list, an object, or what a model leaves bare."""
    depth, quote, k = 0, "", 0
    while k < len(window):
        ch = window[k]
        if quote:
            k += ch == "\\"
            quote = "" if ch == quote else quote
        elif depth and ch in "\"'":
            quote = ch
        elif ch in _OPENERS:
            depth += 1
        elif ch in _CLOSERS:
            if not depth:
                return k
            depth -= 1
        elif not depth and (ch == "\n" or (ch == "," and _ends_value(window[k : k + 100]))):
            return k
        k += 1
    return None if depth or quote else k


def _ends_value(rest: str) -> bool:
    return not rest[1:].split("\n", 1)[0].strip() or _NEXT_KEY.match(rest) is not None


def unescaped(raw: str) -> str:
    """A quoted value's text: JSON's escapes, Python's, or LaTeX that was written with single backslashes;
    what has no quotes is unchanged."""
    if raw.startswith('\\"'):
        return raw[2:-2].replace("\\\\", "\\")
    if raw[:1] not in _QUOTES or len(raw) < 2 or raw[-1] not in _QUOTES:
        return raw[1:] if raw[:1] and raw[0] in _QUOTES else raw.rstrip(",")
    inside = raw[1:-1]
    if _COMMAND.search(inside) and not _ESCAPED_COMMAND.search(inside):
        return inside.replace('\\"', '"')
    decoded = _decoded(raw)
    value = _ESCAPE.sub(_unescape, inside) if decoded is None else decoded
    return (
        value.encode("utf-8", "replace").decode().replace("\0", "")
    )  # halves of pairs, which no store takes


def _decoded(raw: str) -> str | None:
    try:
        value = json.loads(raw, strict=False)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _ESCAPES.get(match[2], match.group())


def _tagged(text: str, *, truncated: bool) -> list[Field]:
    found: list[Field] = []
    if "<" not in text and "[" not in text:
        return found
    lowered = text.lower() if text.isascii() else ""
    for tag in deque(_TAG.finditer(text), maxlen=MAX_FIELDS):
        name = (tag["name"] or tag["square"] or "").lower()
        close = f"</{name}>" if tag["name"] else f"[/{name}]" if tag["square"] else "<|end_of_box|>"
        window = text[tag.end() : tag.end() + MAX_FIELD_CHARS]
        end = (lowered[tag.end() : tag.end() + MAX_FIELD_CHARS] if lowered else window.lower()).find(close)
        if end >= 0:
            content = window[:end].strip()
            found += [Field(tag.end() + end, content, content, is_tag=True)] if content else []
        elif not truncated and _stands_last(text, tag):
            content = window.strip()
            found.append(Field(tag.end(), content, content, is_weak=True, is_tag=True))
    return found


def _stands_last(text: str, tag: re.Match[str]) -> bool:
    """A tag that begins a line and whose one line ends the text: a stop string cut the closing tag."""
    if len(text) - tag.end() > MAX_FIELD_CHARS or text[: tag.start()][-1:] not in ("", "\n"):
        return False
    rest = text[tag.end() :].strip()
    return bool(rest) and "\n" not in rest
