"""Queries: the question, its options, and the form its answer takes."""

import string
from enum import StrEnum
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestrator.domain.lettered import lettered
from orchestrator.domain.terms import Terms
from orchestrator.domain.tools import ToolCall
from orchestrator.domain.values import Value, content_hash

MAX_OPTIONS = 26
MAX_QUESTION_CHARS = 200_000
MAX_ID_CHARS = 512
MAX_CHECKS = 64
"""Checks of a rubric."""
LETTERS = string.ascii_uppercase

CHARS_PER_TOKEN = 4
"""Rough length of a token, where nobody has counted."""


def rough_tokens(n_chars: int) -> int:
    """Tokens of a text of so many characters, where nobody has counted; rounded down."""
    return n_chars // CHARS_PER_TOKEN


class AnswerType(StrEnum):
    """Form of an answer: how it is read and compared; one grader each. `OPEN` has no exact answer: responses
    are graded by a score, and nobody votes."""

    CHOICE = "choice"
    NUMBER = "number"
    LATEX = "latex"
    TEXT = "text"
    JSON = "json"
    CODE = "code"
    LITERAL = "literal"
    OPEN = "open"

    @property
    def is_graded(self) -> bool:
        """True if a response is worth a score in [0, 1], rather than right or wrong."""
        return self is AnswerType.OPEN


class Comparison(Value):
    """Rules by which answers of one question are compared, where its type leaves a choice.

    Attributes:
        case: of texts; `keep` tells "Us" from "US".
        tolerance: of numbers, relative to the larger one; 0 = as they are written.
        units: of numbers; `keep` tells 5 km from 5 m; 5 alone is right in the reference's unit, and in votes
            a group of its own.
    """

    case: Literal["fold", "keep"] = "fold"
    tolerance: float = Field(default=0.0, ge=0.0, lt=1.0)
    units: Literal["ignore", "keep"] = "ignore"


PLAIN_COMPARISON = Comparison()


class Message(Value):
    """A turn of a conversation. `tool_calls`: of an assistant; `tool_call_id`: which of them a tool's turn
    is the result of."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def n_chars(self) -> int:
        """Characters of its text, and of names and arguments of its tool calls."""
        if not self.tool_calls:
            return len(self.content)
        return len(self.content) + sum(len(call.name) + len(call.arguments) for call in self.tool_calls)


def _is_blank(text: str) -> bool:
    return not any(ch.isprintable() and not ch.isspace() for ch in text)


class Query(Value):
    """One question to answer.

    `answer` is the reference (choice: 0-based option index; code: unit tests as Python source; open: a text
    to grade against, if there is one), present only in labelled sets and never shown to an expert, like
    `rubric`, checks that an open answer should pass. `comparison`: how answers are compared. `context`
    holds the messages that came before the question in a conversation, `after` those that came after it:
    calls of tools, what these gave, and the beginning of the answer. `domain` and `skills` are labels of a
    data set: for reports, never for routing. `candidates` are answers to choose from: questions of the
    aggregator exam (methods 1.4) have them. `terms`: how it is to be answered, where it is not as its job
    says; `endpoint`: path of OpenAI's API in whose form the answer is told, "" = our own form. Both are no
    part of what is asked. `infers`: nobody said a type; it is `open` until one is inferred where the question
    is routed, and the decision keeps that.
    """

    id: str = Field(min_length=1, max_length=MAX_ID_CHARS)
    question: str = Field(max_length=MAX_QUESTION_CHARS)
    options: tuple[str, ...] = ()
    answer: str | int | None = None
    answer_type: AnswerType = AnswerType.TEXT
    infers: bool = False
    comparison: Comparison = PLAIN_COMPARISON
    rubric: tuple[str, ...] = Field(default=(), max_length=MAX_CHECKS)
    domain: str | None = None
    skills: tuple[str, ...] = ()
    context: tuple[Message, ...] = ()
    after: tuple[Message, ...] = ()
    candidates: tuple[str, ...] = ()
    terms: Terms | None = None
    endpoint: str = ""

    @field_validator("question")
    @classmethod
    def _question_has_text(cls, question: str) -> str:
        if _is_blank(question):
            raise ValueError("question is empty; write the text to answer")
        return question

    @field_validator("id", "question", "options")
    @classmethod
    def _no_nul(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if "\x00" in (value if isinstance(value, str) else "".join(value)):
            raise ValueError("contains a NUL character; remove it")  # PostgreSQL's text cannot hold one
        return value

    @model_validator(mode="after")
    def _options_fit_the_type(self) -> Self:
        if self.answer_type is not AnswerType.CHOICE:
            if self.options:
                raise ValueError(f"options belong to answer_type 'choice', not '{self.answer_type}'")
            return self
        if not 2 <= len(self.options) <= MAX_OPTIONS:
            raise ValueError(f"a choice needs 2 to {MAX_OPTIONS} options, got {len(self.options)}")
        if any(_is_blank(option) for option in self.options):
            raise ValueError("an option is empty")
        if len(set(self.options)) != len(self.options):
            raise ValueError("options repeat; each must be different")
        if self.answer is not None and (
            not isinstance(self.answer, int) or not 0 <= self.answer < len(self.options)
        ):
            raise ValueError(f"answer of a choice is an option index 0..{len(self.options) - 1}")
        return self

    @model_validator(mode="after")
    def _rubric_fits_the_type(self) -> Self:
        if self.rubric and not self.answer_type.is_graded:
            raise ValueError(f"a rubric belongs to answer_type 'open', not '{self.answer_type}'")
        if any(_is_blank(check) for check in self.rubric):
            raise ValueError("a check of the rubric is empty")
        return self

    def typed(self, answer_type: AnswerType) -> Self:
        """The query with the type that was inferred for it; of a choice, its text's lettered options are its
        options."""
        apart = lettered(self.question) if answer_type is AnswerType.CHOICE else None
        if apart is not None:
            return self.replaced(answer_type=answer_type, question=apart.question, options=apart.options)
        if answer_type is AnswerType.CHOICE or self.options or self.rubric:
            return self.replaced(answer_type=answer_type)
        return self.changed(answer_type=answer_type)  # of the rest any type is right

    @property
    def is_begun(self) -> bool:
        """True if the conversation ends in the beginning of the answer."""
        return bool(self.after) and self.after[-1].role == "assistant" and not self.after[-1].tool_calls

    @cached_property
    def text(self) -> str:
        """The question as an expert and the router read it: options follow as lettered lines."""
        lines = [f"{LETTERS[i]}) {option}" for i, option in enumerate(self.options)]
        return "\n".join([self.question, *lines])

    @cached_property
    def content_hash(self) -> str:
        """Identity of what is asked, whatever the query's id: caches and reuse are keyed on it."""
        return content_hash(
            [
                self.question,
                self.options,
                self.answer_type,
                [m.model_dump(exclude_defaults=True) for m in self.context],
                self.candidates,
                *([[m.model_dump(exclude_defaults=True) for m in self.after]] if self.after else []),
                *([self._compared()] if self.comparison != PLAIN_COMPARISON else []),
                *([{"infers": True}] if self.infers else []),
            ]
        )

    def _compared(self) -> dict[str, object]:
        """What groups of answers depend on beside the question."""
        return {"comparison": self.comparison.model_dump(exclude_defaults=True)}
