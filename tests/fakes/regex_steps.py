"""A backtracking matcher that counts its steps: what `re` does, and how often, without a clock.

It understands what Muster's patterns use. A step is one look at one item of the pattern at one place.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

Items = Sequence[tuple[Any, Any]]


class StepCounter:
    """
    Attributes:
        n_steps: of all searches so far.
    """

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._items: Items = _plain(parser.parse(pattern.pattern, pattern.flags))
        self._is_multiline = bool(pattern.flags & re.MULTILINE)
        self._dot_takes_all = bool(pattern.flags & re.DOTALL)
        self._ignores_case = bool(pattern.flags & re.IGNORECASE)
        self._accepted: dict[tuple[int, str], bool] = {}
        self.n_steps = 0

    def find_all(self, text: str) -> list[tuple[int, int]]:
        """Spans of all matches, as `finditer` finds them."""
        found, at = [], 0
        while at <= len(text):
            starts = ((start, self._once(text, start)) for start in range(at, len(text) + 1))
            span = next(((start, ends[0]) for start, ends in starts if ends), None)
            if span is None:
                break
            found.append(span)
            at = span[1] + (span[0] == span[1])
        return found

    def _once(self, text: str, start: int) -> list[int]:
        end = next(self._run(self._items, 0, text, start), None)
        return [] if end is None else [end]

    def _run(self, items: Items, k: int, text: str, at: int) -> Iterator[int]:
        """Ends of all ways in which the items from the k-th on match, in the order of preference."""
        self.n_steps += 1
        while k < len(items):  # items that have one way at most need no walk of their own
            code, given = items[k]
            if code in _ONE:
                self.n_steps += 1
                if at == len(text) or not self._takes(items[k], text[at]):
                    return
                at += 1
            elif code is not op.AT:
                break
            elif not self._is_at(given, text, at):
                return
            k += 1
            self.n_steps += 1
        if k == len(items):
            yield at
            return
        for end in self._item(code, given, text, at):
            yield from self._run(items, k + 1, text, end)

    def _takes(self, item: tuple[Any, Any], character: str) -> bool:
        key = (id(item), character)
        if key not in self._accepted:
            self._accepted[key] = self._accepts(*item, character)
        return self._accepted[key]

    def _item(self, code: Any, given: Any, text: str, at: int) -> Iterator[int]:
        if code is op.SUBPATTERN:
            yield from self._run(given, 0, text, at)
        elif code is op.BRANCH:
            for branch in given:
                yield from self._run(branch, 0, text, at)
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, high, inner = given
            yield from self._repeat(inner, low, high, text, at, greedy=code is op.MAX_REPEAT)
        elif code in (op.ASSERT, op.ASSERT_NOT):
            if self._looks(given, text, at) == (code is op.ASSERT):
                yield at
        else:
            raise NotImplementedError(f"{code}: teach it to the counter")

    def _repeat(
        self, inner: Items, low: int, high: Any, text: str, at: int, *, greedy: bool
    ) -> Iterator[int]:
        """Iterative: a repetition may be as long as the text."""
        ways: list[tuple[int, Iterator[int]]] = []
        if low == 0 and not greedy:
            yield at
        if high == 0:
            return
        ways.append((at, self._run(inner, 0, text, at)))
        while ways:
            start, ends = ways[-1]
            end = next(ends, None)
            if end is None:
                ways.pop()
                if greedy and len(ways) >= low:
                    yield start
                continue
            if end == start and len(ways) > low:
                continue
            if not greedy and len(ways) >= low:
                yield end
            if high is op.MAXREPEAT or len(ways) < high:
                ways.append((end, self._run(inner, 0, text, end)))
            elif greedy:
                yield end

    def _looks(self, given: Any, text: str, at: int) -> bool:
        direction, width, inner = given
        if direction > 0:
            return next(self._run(inner, 0, text, at), None) is not None
        return at >= width and any(end == at for end in self._run(inner, 0, text, at - width))

    def _accepts(self, code: Any, given: Any, character: str) -> bool:
        if code is op.ANY:
            return self._dot_takes_all or character != "\n"
        if code is op.LITERAL:
            return self._same(given, character)
        if code is op.NOT_LITERAL:
            return not self._same(given, character)
        negated = given[0][0] is op.NEGATE
        return any(self._in(kind, what, character) for kind, what in given[negated:]) != negated

    def _in(self, kind: Any, what: Any, character: str) -> bool:
        if kind is op.LITERAL:
            return self._same(what, character)
        if kind is op.RANGE:
            cases = {character}
            if self._ignores_case:
                cases |= {character.lower(), character.upper()}
            return any(len(c) == 1 and what[0] <= ord(c) <= what[1] for c in cases)
        return _CATEGORIES[what](character)

    def _same(self, code_point: int, character: str) -> bool:
        wanted = chr(code_point)
        return wanted == character or (self._ignores_case and wanted.lower() == character.lower())

    def _is_at(self, where: Any, text: str, at: int) -> bool:
        before, after = text[at - 1 : at] if at else "", text[at : at + 1]
        lines = self._is_multiline
        if where in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
            return at == 0 or (lines and where is op.AT_BEGINNING and before == "\n")
        if where is op.AT_END_STRING:
            return at == len(text)
        if where is op.AT_END:
            return at == len(text) or text[at:] == "\n" or (lines and after == "\n")
        is_border = _is_word(before) != _is_word(after)
        return is_border == (where is op.AT_BOUNDARY)


def samples(pattern: re.Pattern[str], rng: random.Random) -> Iterator[str]:
    """Texts that the pattern might match, as far as looking around leaves them."""
    tree = list(parser.parse(pattern.pattern, pattern.flags))
    while True:
        yield "".join(_sample(tree, rng))


def _sample(items: Items, rng: random.Random) -> Iterator[str]:
    for code, given in items:
        if code is op.LITERAL:
            yield chr(given)
        elif code in (op.ANY, op.NOT_LITERAL):
            yield "a"
        elif code is op.IN:
            yield _one_of(given, rng)
        elif code is op.SUBPATTERN:
            yield from _sample(list(given[3]), rng)
        elif code is op.BRANCH:
            yield from _sample(list(rng.choice(given[1])), rng)
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT):
            for _ in range(max(given[0], int(given[1] > 0))):
                yield from _sample(list(given[2]), rng)


def _one_of(given: Any, rng: random.Random) -> str:
    if given[0][0] is op.NEGATE:
        refused = {what for kind, what in given[1:] if kind is op.LITERAL}
        return next(c for c in "a1 \n" if ord(c) not in refused)
    kind, what = rng.choice(given)
    if kind is op.LITERAL:
        return chr(what)
    return chr(what[0]) if kind is op.RANGE else _MEMBERS[what]


def _plain(tree: Any) -> Items:
    """Items of a parsed pattern in lists: a subpattern as its items, branches as a list of such, what looks
    around with its width (characters)."""
    found = []
    for code, given in tree:
        if code is op.SUBPATTERN:
            given = _plain(given[3])
        elif code is op.BRANCH:
            given = [_plain(branch) for branch in given[1]]
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT):
            given = (given[0], given[1], _plain(given[2]))
        elif code in (op.ASSERT, op.ASSERT_NOT):
            given = (given[0], given[1].getwidth()[0], _plain(given[1]))
        found.append((code, given))
    return found


_ONE = (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN)


def _is_word(character: str) -> bool:
    return bool(character) and (character.isalnum() or character == "_")


_MEMBERS: dict[Any, str] = {
    op.CATEGORY_DIGIT: "1",
    op.CATEGORY_NOT_DIGIT: "a",
    op.CATEGORY_SPACE: " ",
    op.CATEGORY_NOT_SPACE: "a",
    op.CATEGORY_WORD: "a",
    op.CATEGORY_NOT_WORD: " ",
}
_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    op.CATEGORY_DIGIT: str.isdecimal,
    op.CATEGORY_NOT_DIGIT: lambda c: not c.isdecimal(),
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_NOT_SPACE: lambda c: not c.isspace(),
    op.CATEGORY_WORD: _is_word,
    op.CATEGORY_NOT_WORD: lambda c: not _is_word(c),
}
