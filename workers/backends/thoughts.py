"""Thoughts of a model, told apart from what it says: by the marks around them.

Marks are tokens of its tokenizer (`<think>`, `[THINK]`, the channels of harmony), or texts that its chat
template or the pool file names. Where they are special tokens, decoding drops them: thought and answer
would become one text.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.experts import ThoughtMarks

Decode = Callable[[Sequence[int]], str]

_KNOWN = (
    ThoughtMarks(open="<think>", close="</think>"),
    ThoughtMarks(open="<thinking>", close="</thinking>"),
    ThoughtMarks(open="<thought>", close="</thought>"),
    ThoughtMarks(open="<reasoning>", close="</reasoning>"),
    ThoughtMarks(open="[THINK]", close="[/THINK]"),
    ThoughtMarks(open="<seed:think>", close="</seed:think>"),
    ThoughtMarks(open="◁think▷", close="◁/think▷"),
    ThoughtMarks(open="<|START_THINKING|>", close="<|END_THINKING|>"),
    ThoughtMarks(open="<|begin_of_thought|>", close="<|end_of_thought|>"),
    ThoughtMarks(open="<|inner_prefix|>", close="<|inner_suffix|>"),
)
_CHANNEL, _MESSAGE, _START = "<|channel|>", "<|message|>", "<|start|>"
_ENDS = ("<|end|>", "<|return|>", "<|call|>")
_THINKS = re.compile(r"think|thought|reason", re.IGNORECASE)
_OPENING = ("start", "begin", "open", "bot", "prefix")
_CLOSING = ("end", "end", "close", "eot", "suffix")
_N_TAIL = 64
"""Tokens of a prompt in which an opened thought is looked for."""


class Said(NamedTuple):
    """An output: what was said, and what was thought before it."""

    text: str
    reasoning: str = ""


class Thoughts:
    """The marks of one tokenizer.

    Args:
        tokens: ids of the tokenizer's added tokens by their texts.
        template: chat template in force, which may name marks that are no tokens.
        marks: what the pool file says; they go before all others.
        decode: text of token ids without special tokens; `decode_all` keeps these.
    """

    def __init__(
        self,
        tokens: Mapping[str, int],
        *,
        template: str | None,
        marks: ThoughtMarks | None,
        decode: Decode,
        decode_all: Decode,
    ) -> None:
        self._tokens = tokens
        self._is_given = marks is not None
        self._marks = marks or known_marks(tokens, template)
        self._has_channels = marks is None and _CHANNEL in tokens and _MESSAGE in tokens
        self._decode = decode
        self._decode_all = decode_all

    @property
    def are_marked(self) -> bool:
        """False if all of an output is said."""
        return self._has_channels or self._marks is not None

    def begun(self, prompt_ids: Sequence[int]) -> bool:
        """True if a prompt ends in an opened thought."""
        marks = self._marks
        if marks is None or self._has_channels:
            return False
        tail = list(prompt_ids[-_N_TAIL:])
        if (pair := self._pair()) is None:
            return self._decode_all(tail).rstrip().endswith(marks.open)
        opened = max((at for at, token in enumerate(tail) if token == pair[0]), default=-1)
        return opened >= 0 and not self._decode_all(tail[opened + 1 :]).strip()

    def split(self, ids: Sequence[int], *, begun: bool) -> Said:
        """Speech of an output apart from its thoughts. Args: begun: the prompt ended in an opened thought."""
        if self._has_channels:
            return self._said(*self._by_channel(ids))
        if self._marks is None:
            return Said(self._decode(ids))
        pair = self._pair()
        if pair is not None:
            return self._said(*_between(ids, *pair, begun=begun))
        return split_text(self._decode(ids), self._marks, begun=begun, lone_close=self._is_given)

    def spoken(self, ids: Sequence[int], *, begun: bool) -> Sequence[int]:
        """Tokens of an output that are no thoughts, where tokens tell; all of them else.

        Args:
            begun: the prompt ends within a thought.
        """
        if self._has_channels:
            return self._by_channel(ids)[1]
        pair = self._pair()
        return ids if pair is None else _between(ids, *pair, begun=begun)[1]

    def _pair(self) -> tuple[int, int] | None:
        """Ids of the marks, where both are tokens."""
        if (
            self._marks is None
            or self._marks.open not in self._tokens
            or self._marks.close not in self._tokens
        ):
            return None
        return self._tokens[self._marks.open], self._tokens[self._marks.close]

    def _said(self, thought: Sequence[int], spoken: Sequence[int]) -> Said:
        text = self._decode(spoken)
        return Said(text.lstrip(), self._decode(thought).strip()) if thought else Said(text)

    def _by_channel(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """Thoughts and speech of a text in channels: speech is in `final`, or in none."""
        heads = {self._tokens[name] for name in (_CHANNEL, _START) if name in self._tokens}
        ends = {self._tokens[name] for name in _ENDS if name in self._tokens}
        thought: list[int] = []
        spoken: list[int] = []
        head: list[int] = []
        into = spoken
        for token in ids:
            if token in heads:
                into = head = []
            elif token == self._tokens[_MESSAGE]:
                channel = self._decode(head).split()
                into = spoken if not channel or channel[-1].startswith("final") else thought
            elif token in ends:
                into = []
            else:
                into.append(token)
        return thought, spoken


def known_marks(tokens: Collection[str], template: str | None) -> ThoughtMarks | None:
    """The marks that added tokens make a pair of; else those of a well-known pair that a template names; None
    = there are none."""
    for marks in _KNOWN:
        if marks.open in tokens and marks.close in tokens:
            return marks
    for opening in tokens:
        closing = next((word for word in _closings(opening) if word in tokens), None)
        if closing is not None and _THINKS.search(opening):
            return ThoughtMarks(open=opening, close=closing)
    named = (marks for marks in _KNOWN if template and marks.close in template)
    return next(named, None)


def _closings(opening: str) -> list[str]:
    """How a mark that closes `opening` may be written."""
    lower = opening.lower()
    found = [opening[:1] + "/" + opening[1:], opening[:2] + "/" + opening[2:]]
    for begin, end in zip(_OPENING, _CLOSING, strict=True):
        at = lower.find(begin)
        if at >= 0:
            word = opening[at : at + len(begin)]
            cased = end.upper() if word.isupper() else end
            found.append(opening[:at] + cased + opening[at + len(begin) :])
    return found


def _between(ids: Sequence[int], opens: int, closes: int, *, begun: bool) -> tuple[list[int], list[int]]:
    """Thoughts and speech. A mark that closes what was never opened ends a thought that began the text."""
    thought: list[int] = []
    spoken: list[int] = []
    is_inside = begun
    for token in ids:
        if token == opens:
            is_inside = True
        elif token == closes:
            if not is_inside:
                thought, spoken = [*thought, *spoken], []
            is_inside = False
        else:
            (thought if is_inside else spoken).append(token)
    return thought, spoken


def split_text(text: str, marks: ThoughtMarks, *, begun: bool = False, lone_close: bool = False) -> Said:
    """A text that begins with a thought, apart from it; another one as it is.

    Args:
        begun: the thought was opened before the text.
        lone_close: a closing mark without an opening one ends a thought.
    """
    body = text.lstrip()
    if not begun and marks.open.startswith(body):  # the mark, or what may become one
        return Said("") if body else Said(text)
    if not begun and body.startswith(marks.open):
        body = body[len(marks.open) :]
    elif not (begun or (lone_close and marks.close in text)):
        return Said(text)
    thought, is_closed, spoken = body.partition(marks.close)
    return Said(spoken.lstrip() if is_closed else "", thought.strip())
