"""Prompts that ask an expert a query, in the styles that a member of the pool may choose from."""

from collections.abc import Callable, Mapping

from orchestrator.domain.queries import AnswerType, Message, Query
from orchestrator.prompts.defusing import defuse, defused
from orchestrator.prompts.histories import without_tools
from orchestrator.tables import NameTable

ANSWER_FORMS: Mapping[AnswerType, str] = {
    AnswerType.CHOICE: (
        "Think step by step, then finish with one line: The answer is (X), "
        "where X is the letter of the right option."
    ),
    AnswerType.NUMBER: "Think step by step, then finish with one line: The answer is N, where N is a number.",
    AnswerType.LATEX: "Think step by step, then finish with the result in \\boxed{}.",
    AnswerType.TEXT: "",
    AnswerType.JSON: "Reply with one JSON value in a ```json block and nothing after it.",
    AnswerType.CODE: "Reply with one complete Python program in a ```python block and nothing after it.",
    AnswerType.LITERAL: (
        "Think step by step, then finish with one line: The answer is `X`, where X is a Python literal."
    ),
    AnswerType.OPEN: "",
}

INFERRED_FORMS: Mapping[AnswerType, str] = {
    **dict.fromkeys(AnswerType, ""),
    AnswerType.NUMBER: "If the answer is a number, finish with one line: The answer is N.",
    AnswerType.LATEX: "If the answer is a mathematical result, finish with it in \\boxed{}.",
    AnswerType.JSON: "If the answer is a JSON value, give it in a ```json block.",
    AnswerType.CODE: "If the answer is a program, give it in a ```python block.",
    AnswerType.LITERAL: (
        "If the answer is a value of Python, finish with one line: The answer is `X`, where X is a literal."
    ),
}
"""Of questions whose type nobody said: whoever asked a chat for prose is not told to end in a number."""


def answer_form(query: Query) -> str:
    """Words that ask for the form of a query's answer; "" = it has none."""
    return (INFERRED_FORMS if query.infers else ANSWER_FORMS)[query.answer_type]


def _instruct(query: Query) -> str:
    return "\n\n".join(part for part in (defuse(query.text), answer_form(query)) if part)


def _plain(query: Query) -> str:
    return defuse(query.text)


_STYLES: Mapping[str, Callable[[Query], str]] = {"instruct": _instruct, "plain": _plain}
EXPERT_STYLES = NameTable("prompt", _STYLES, param="muster.prompt")


def expert(
    query: Query, *, style: str, system_prompt: str | None = None, form: str = "", calls_tools: bool = False
) -> tuple[Message, ...]:
    """Messages that ask one expert a query.

    Args:
        style: `instruct` states the form of the answer (for general models), `plain` asks the bare
            question (for models trained on bare questions, and for chats).
        form: of the answer, as the request wants it; in place of the style's own words. "" = it says nothing.
        calls_tools: the expert reads calls of tools; else they are shown to it as texts.

    Raises:
        UnknownNameError: no such style.
    """
    system = (Message(role="system", content=system_prompt),) if system_prompt else ()
    asked = EXPERT_STYLES.find(style)(query)
    if form:
        asked = f"{defuse(query.text)}\n\n{form}"
    turns = (*defused(query.context), Message(role="user", content=asked), *defused(query.after))
    return (*system, *(turns if calls_tools else without_tools(turns)))
