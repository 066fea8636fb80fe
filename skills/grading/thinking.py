"""Thinking that stands in an answer's text: the final part is what follows it.

Marks of models as their templates write them, and as they look where an engine dropped the tokens that
a template marks thinking with. Every function takes time linear in the text.
"""

import re
from collections import deque

_HARD = r"(?:seed:)?think(?:ing)?"
_SOFT = r"(?:thoughts?|reasoning|reflection|analysis|scratchpad|inner_monologue)"

_MARK = re.compile(
    rf"(?P<open><{_HARD}(?:\s[^<>]{{0,40}})?>|(?-i:\[THINK\])|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|<\|channel>thought)"
    rf"|^[ \t]{{0,8}}(?P<soft><{_SOFT}>|(?-i:\[(?:THOUGHT|REASONING)\]))"
    rf"|(?P<close></(?:{_HARD}|{_SOFT})>|(?-i:\[/(?:THINK|THOUGHT|REASONING)\])|◁/think▷|<\|end_of_thought\|>"
    r"|<\|END_THINKING\|>|<channel\|>|\[BEGIN FINAL RESPONSE\]|^\.{3}done thinking\.)",
    re.IGNORECASE | re.MULTILINE,
)
_SIGNS = ("<", "[", "◁", "...")
"""A text without any of them has no `_MARK`."""
_TOLD = re.compile(r"\AHere(?: is|'s) my thought process:", re.IGNORECASE)
_TELLS = re.compile(r"^Here(?: is|'s) my response:", re.IGNORECASE | re.MULTILINE)

_CHANNEL = re.compile(r"<\|channel\|>\s{0,3}(?P<name>[a-z]{1,12})(?: [^<>|]{0,40})?<\|message\|>")
_CONTROL = re.compile(r"<\|[a-z_]{1,30}\|>")
_MERGED = re.compile(r"\A(?:assistant)?(?:analysis|commentary)(?=[A-Z])")
_MERGED_FINAL = re.compile(r"assistant\n?final")

_ANSWER_TAG = re.compile(r"<(?:final[_ -]?)?answer>|\[ANSWER\]", re.IGNORECASE)
_WRAPPED = re.compile(
    r"\A(?:<(?:response|final|output)>|<\|begin_of_solution\|>|<\|START_RESPONSE\|>)"
    r"|(?:</(?:response|final|output)>|<\|end_of_solution\|>|<\|END_RESPONSE\|>|\[END FINAL RESPONSE\])\Z",
    re.IGNORECASE,
)


def without_thinking(text: str) -> str | None:
    """The part after the last thinking block, "" if there is none; None when a block was opened and
    never closed.

    A lone closing mark ends a block that the chat template opened. Where nothing follows the last block,
    the part before it is final. An opened block of a tag that may be an asked-for form (`<reasoning>`)
    ends at an answer's tag, too.
    """
    said = _final_channel(text)
    parts = None if said is None else _spoken(said)
    if parts is None:
        return None
    final = next((part for part in reversed(parts) if part), "")
    return _WRAPPED.sub("", final).strip()


def _final_channel(text: str) -> str | None:
    """The last final message of a harmony reply, else the text; None where a reply never comes to it."""
    channels = list(_CHANNEL.finditer(text)) if "<|channel|>" in text else []
    finals = [match for match in channels if match["name"] == "final"]
    if channels:
        return _CONTROL.split(text[finals[-1].end() :], maxsplit=1)[0] if finals else None
    merged = deque(_MERGED_FINAL.finditer(text) if "assistant" in text else (), maxlen=1)
    if merged:
        return text[merged[0].end() :]
    return None if _MERGED.match(text.lstrip()) else text


def _spoken(text: str) -> list[str] | None:
    """Parts outside of thinking, stripped, in order; None where the text ends in thinking."""
    if _TOLD.match(text.lstrip()):
        told = _TELLS.search(text)
        return [text[told.end() :].strip()] if told else None
    if not any(sign in text for sign in _SIGNS):
        return [text.strip()]
    parts: list[str] = []
    opened: re.Match[str] | None = None
    begin = 0
    for mark in _MARK.finditer(text):
        if mark["close"]:
            parts = parts if opened else []
            opened, begin = None, mark.end()
        elif opened is None:
            parts.append(text[begin : mark.start()].strip())
            opened = mark
    if opened is None:
        return [*parts, text[begin:].strip()]
    answer = _ANSWER_TAG.search(text, opened.end()) if opened["soft"] else None
    return [*parts, text[answer.start() :].strip()] if answer else None
