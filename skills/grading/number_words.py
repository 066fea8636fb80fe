"""Numbers in English words: `forty-two` -> `42`, `one hundred and five` -> `105`, `two thirds` -> `2/3`."""

import re
from collections.abc import Mapping

MAX_CHARS = 120

_UNITS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL: Mapping[str, int] = {
    **{word: value for value, word in enumerate(_UNITS)},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
}
_LARGE: Mapping[str, int] = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_PARTS: Mapping[str, int] = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
    "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10,
}  # fmt: skip
_LEAD = re.compile(r"\s*(?:(?P<sign>minus|negative)\s)?", re.IGNORECASE)
_WORD = re.compile(r"[\s-]{0,3}(?P<word>[A-Za-z]{1,10})(?![A-Za-z'’])")
_AND_PART = re.compile(r"\A\sand\s(?:a|one)\s(?P<part>half|third|quarter)\b", re.IGNORECASE)
_END = re.compile(r"\A\s?(?:[.,;:!(\n]|\Z)")
_UNIT = re.compile(r"\A\s[A-Za-z]{3,20}\s?(?:[.,;:!(\n]|\Z)")


def in_digits(text: str) -> str | None:
    """The number that a text begins with in words, as digits; None where it begins with none, or more than a
    unit of one word follows ("two or three", "one of them")."""
    words, end = _words(text[:MAX_CHARS])
    value = _value(words)
    rest = text[end:MAX_CHARS]
    part = _AND_PART.match(rest)
    if part is not None and value is not None and "/" not in value:
        value, rest = f"{value} 1/{_PARTS[part['part'].casefold()]}", rest[part.end() :]
    is_alone = _END.match(rest) or (words != ["one"] and _UNIT.match(rest))
    return value if value is not None and is_alone else None


def _words(text: str) -> tuple[list[str], int]:
    """The words of a number that a text begins with, and where they end."""
    words: list[str] = []
    end = at = 0
    lead = _LEAD.match(text)
    if lead is not None and lead["sign"]:
        words.append("minus")
    at = lead.end() if lead else 0
    while (found := _WORD.match(text, at)) is not None:
        word = found["word"].casefold()
        if word not in ("and", "a", "hundred", *_SMALL, *_LARGE, *_PARTS):
            break
        at = found.end()
        if word != "and":
            words.append(word)
            end = at
        elif not words or words[-1] not in ("hundred", *_LARGE):
            break
    return words, end


def _value(words: list[str]) -> str | None:
    sign = "-" if words[:1] == ["minus"] else ""
    words = words[1:] if sign else words
    if words[:1] == ["a"] and words[1:2] in (["hundred"], *([word] for word in _LARGE)):
        words = ["one", *words[1:]]
    if words and words[-1] in _PARTS:
        whole = _whole(words[:-1]) if words[:-1] not in ([], ["a"]) else 1
        return None if whole is None else f"{sign}{whole}/{_PARTS[words[-1]]}"
    whole = _whole(words)
    return None if whole is None else f"{sign}{whole}"


def _whole(words: list[str]) -> int | None:
    """The integer that words make; None where they make several or none."""
    total = group = 0
    last = 10**12  # what is said becomes smaller from word to word
    for word in words:
        if word in _LARGE:
            if not group or _LARGE[word] >= last:
                return None
            total, group, last = total + group * _LARGE[word], 0, _LARGE[word]
        elif word == "hundred":
            if not 0 < group < 10:
                return None
            group *= 100
        elif word in _SMALL:
            value = _SMALL[word]
            fits = group % 100 == 0 or (group % 10 == 0 and group % 100 >= 20 and 0 < value < 10)
            if not fits or (group == 0 and total == 0 and value == 0 and len(words) > 1):
                return None
            group += value
        else:
            return None
    return total + group if words else None
