"""Turns: which conversations a chat template takes, and a conversation in a form that it takes.

A template is tried once, on words that stand nowhere else: a turn is taken if the template renders and its
words are in the prompt. Some templates raise at what they do not know, others leave it out. One that leaves
out all but the last question is taken at its word: its model knows single questions.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.features import RENDERS_ALL, Rendering
from orchestrator.domain.queries import Message
from workers.checkpoints.gguf import GGUF, GgufError, read_gguf
from workers.checkpoints.templates import (
    ChatTemplate,
    TemplateFaultError,
    Turn,
    chosen,
    special_tokens_of,
    templates_of,
)

_BETWEEN = "\n\n"
_OTHERS = ("chat-template", "chat_template", "no-jinja")
"""Parts of arguments by which servers are given a template other than the model's."""
_USUAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
"""In place of those that a GGUF file names by their numbers."""
_WORDS = ("zqa", "zqb", "zqc", "zqd", "zqe")


class Takes(NamedTuple):
    """Conversations that a template takes as they are, beside one turn of a user.

    Attributes:
        as_text: contents are texts; False = lists of parts.
        system: a first turn of the system; `late_system`: further ones, anywhere.
        neighbours: two turns of one role in a row.
        history: earlier questions and their answers, or it leaves them out.
        first_assistant: a conversation that an assistant's turn begins, or it leaves that out.
        prefill: an answer that is begun.
        alone: a user's turn without a system's before it.
        last_only: all but the last question is left out, and nothing is rewritten.
    """

    as_text: bool = True
    system: bool = True
    late_system: bool = True
    neighbours: bool = True
    history: bool = True
    first_assistant: bool = True
    prefill: bool = True
    alone: bool = True
    last_only: bool = False


ANYTHING = Takes()


class LeavesOutError(TemplateFaultError):
    """A template that renders, and shows no question: whoever runs it."""


def taken_by(template: ChatTemplate) -> Takes:
    """Conversations that a template takes, found by trying.

    Raises:
        TemplateFaultError: it renders no question, with or without a system's turn before it.
    """
    fault: TemplateFaultError | None = None
    for as_text in (True, False):
        try:
            alone = _shows(template, "u", as_text=as_text)
            if not alone and not _shows(template, "su", as_text=as_text):
                continue
        except TemplateFaultError as error:
            fault = fault or error
            continue
        return _tried(template, as_text=as_text, alone=alone)
    raise fault or LeavesOutError("it leaves out what the user says")


def rendering_of(engine: EngineSpec) -> Rendering:
    """Conversations that the template of an engine's model renders; all, where that cannot be told: its load
    will say why."""
    try:
        takes = takes_of(engine)
    except TemplateFaultError:
        return RENDERS_ALL
    return Rendering(prefill=takes.prefill, assistant_first=takes.first_assistant)


def takes_of(engine: EngineSpec) -> Takes:
    """Conversations that the template of an engine's model takes, read of its folder or its GGUF file;
    anything, where there is none, or a command names another one.

    Raises:
        TemplateFaultError: it renders no question.
    """
    place = Path(engine.model)
    try:
        if engine.members or names_another(engine):
            return ANYTHING
        if place.is_dir():
            text, tokens = chosen(templates_of(place), engine.chat_template), special_tokens_of(place)
        elif place.suffix.lower() == GGUF and place.is_file():
            text, tokens = read_gguf(place).template, _USUAL_TOKENS
        else:
            return ANYTHING
    except (OSError, GgufError):
        return ANYTHING
    return ANYTHING if text is None else _remembered(text, tuple(tokens.items()))


def names_another(engine: EngineSpec) -> bool:
    """True if a command names a template other than the model's."""
    return any(word in str(engine.options.get("command")) for word in _OTHERS)


@lru_cache(maxsize=256)
def _remembered(text: str, tokens: tuple[tuple[str, str], ...]) -> Takes:
    return taken_by(ChatTemplate(text, dict(tokens)))


def _tried(template: ChatTemplate, *, as_text: bool, alone: bool) -> Takes:
    before = "" if alone else "s"

    def shown(*conversations: str, begun: bool = False) -> bool:
        """True if all turns of all of them are in the prompts."""
        with suppress(TemplateFaultError):
            return all(_shows(template, roles, as_text=as_text, begun=begun) for roles in conversations)
        return False

    def rendered(roles: str) -> bool:
        """True if it does not raise."""
        with suppress(TemplateFaultError):
            _shows(template, roles, as_text=as_text)
            return True
        return False

    prefill = as_text and shown(f"{before}ua", begun=True)
    history = rendered(f"{before}uau")
    if history and not shown(f"{before}uau"):
        return Takes(as_text=as_text, prefill=prefill, alone=alone, last_only=True)
    return Takes(
        as_text=as_text,
        system=shown("su"),
        late_system=shown("ssu", "suasu"),
        neighbours=shown(f"{before}uu", f"{before}uaau"),
        history=history,
        first_assistant=rendered(f"{before}au"),
        prefill=prefill,
        alone=alone,
    )


def _shows(template: ChatTemplate, roles: str, *, as_text: bool, begun: bool = False) -> bool:
    """True if all turns are in the prompt. Args: roles: a letter for each: s, u or a.

    Raises:
        TemplateFaultError: the template refuses them.
    """
    names = {"s": "system", "u": "user", "a": "assistant"}
    words = _WORDS[: len(roles)]
    turns = [turn(names[role], word, as_text=as_text) for role, word in zip(roles, words, strict=True)]
    text = template.render(turns, begun=begun).lower()
    return all(word in text for word in words)


def turn(role: str, content: str, *, as_text: bool) -> Turn:
    """A turn as templates read it. Args: as_text: its content is a text, else a list of parts."""
    parts: list[JsonValue] = [{"type": "text", "text": content}]
    return {"role": role, "content": content if as_text else parts}


def question_for(takes: Takes) -> tuple[Message, ...]:
    """The shortest conversation that a template takes."""
    asked = Message(role="user", content="Hello")
    return (asked,) if takes.alone else (Message(role="system", content="Answer."), asked)


def fitted(messages: Sequence[Message], takes: Takes) -> list[Message]:
    """The conversation in a form that the template takes: what a system says that it does not know is said by
    the user, turns of one role are joined, and so are earlier turns where it knows the last one only.

    One that nothing helps is given as it is: the template will say so.
    """
    turns = list(messages)
    if not takes.system:
        turns = _said_by_user(turns, n_kept=0)
    elif not takes.late_system:
        turns = _said_by_user(_joined(turns, only="system"), n_kept=1)
    if not takes.neighbours:
        turns = _joined(turns)
    return turns if takes.history else _flat(turns)


def _said_by_user(turns: Sequence[Message], *, n_kept: int) -> list[Message]:
    """What systems say, before the words of the next user. Args: n_kept: first turns that stay."""
    told = list(turns[:n_kept])
    waiting: list[str] = []
    for message in turns[n_kept:]:
        if message.role == "system":
            waiting.append(message.content)
            continue
        if waiting and message.role == "user":
            message = _with(message, _BETWEEN.join([*waiting, message.content]))
        elif waiting:
            told.append(Message(role="user", content=_BETWEEN.join(waiting)))
        told.append(message)
        waiting = []
    return [*told, Message(role="user", content=_BETWEEN.join(waiting))] if waiting else told


def _joined(turns: Sequence[Message], *, only: str | None = None) -> list[Message]:
    """Neighbours of one role as one turn. Args: only: of this role."""
    told: list[Message] = []
    for role, group in groupby(turns, key=lambda message: message.role):
        same = list(group)
        if len(same) > 1 and only in (None, role):
            same = [_with(same[-1], _BETWEEN.join(message.content for message in same))]
        told += same
    return told


def _flat(turns: Sequence[Message]) -> list[Message]:
    """One turn of the user, after that of the system; as it is where it ends in a begun answer."""
    first = 1 if turns and turns[0].role == "system" else 0
    said = turns[first:]
    if len(said) < 2 or said[-1].role != "user":
        return list(turns)
    return [*turns[:first], _with(said[-1], _BETWEEN.join(message.content for message in said))]


def _with(message: Message, content: str) -> Message:
    return message.model_copy(update={"content": content})
