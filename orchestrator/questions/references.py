"""Reference answers and ids as data sets store them, in the form that a query has.

What has one meaning is taken: a number as the answer of a number question, an object as that of a JSON
question, a letter or an option's text as that of a choice. What has several is refused, with what to write.
"""

import json
import math
import string
from collections.abc import Mapping, Sequence

from orchestrator.domain.literals import canonical, literal
from orchestrator.domain.queries import AnswerType
from orchestrator.errors import InputError

LETTERS = string.ascii_uppercase


def plain_fields(data: Mapping[str, object]) -> dict[str, object]:
    """Fields of a query, with `id`, `options` and `answer` in the form that a query has.

    Raises:
        InputError: an answer with no meaning, or several; of fields that a query does not take, another
            place tells.
    """
    fields = dict(data)
    if isinstance(fields.get("id"), int | float) and not isinstance(fields["id"], bool):
        fields["id"] = json.dumps(fields["id"])
    if "options" in fields:
        fields["options"] = _option_texts(fields["options"])
    answer, answer_type = fields.get("answer"), fields.get("answer_type", AnswerType.TEXT)
    if answer is not None and answer_type in tuple(AnswerType):
        fields["answer"] = reference(AnswerType(str(answer_type)), answer, options=fields.get("options"))
    return fields


def reference(answer_type: AnswerType, answer: object, *, options: object = ()) -> str | int:
    """A reference answer in the form that a query of the type has.

    Args:
        answer: as JSON has it, not null.
        options: of a choice, as they came.

    Raises:
        InputError: saying what to write instead.
    """
    if answer_type is AnswerType.CHOICE:
        texts = [str(option) for option in options] if isinstance(options, Sequence) else []
        return _option(answer, texts)
    if answer_type is AnswerType.JSON:
        return _json_text(answer)
    if answer_type is AnswerType.LITERAL:
        return _literal_text(answer)
    if isinstance(answer, str):
        return answer
    if answer_type is AnswerType.CODE:
        return _tests(answer)
    return _plain_text(answer_type, answer)


def _option_texts(options: object) -> object:
    """Texts of numbers and truth values, and those of options by letter: `{"A": "Rome", "B": "Oslo"}`."""
    if isinstance(options, dict) and list(options) == list(LETTERS[: len(options)]):
        options = list(options.values())
    if isinstance(options, list):
        return [json.dumps(option) if isinstance(option, int | float) else option for option in options]
    return options


def _json_text(answer: object) -> str:
    """A text is the JSON that it holds, and must hold some."""
    if not isinstance(answer, str):
        return json.dumps(answer, ensure_ascii=False)
    if not _is_json(answer):
        remedy = 'Write the value itself, or a text in quotes: "\\"Paris\\"".'
        raise _refused("is a text that holds no JSON", remedy)
    return answer


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _literal_text(answer: object) -> str:
    """A text is the literal that it holds, and must hold one."""
    if not isinstance(answer, str):
        return canonical(answer)
    if literal(answer) is None:
        raise _refused(
            "is no Python literal", "Write it as Python does: \"'text'\" with quotes inside, [1, 2], true."
        )
    return answer


def _tests(answer: object) -> str:
    """Lines of a test list, as one source."""
    if isinstance(answer, list) and answer and all(isinstance(line, str) for line in answer):
        return "\n".join(answer)
    raise _refused(
        f"is {_kind(answer)}; that of a code question is its unit tests", "Write them as one text."
    )


def _plain_text(answer_type: AnswerType, answer: object) -> str | int:
    if isinstance(answer, bool):
        if answer_type in (AnswerType.TEXT, AnswerType.OPEN):
            return json.dumps(answer)
    elif isinstance(answer, int):
        return answer
    elif isinstance(answer, float) and math.isfinite(answer):
        return json.dumps(answer)
    raise _refused(f"is {_kind(answer)}", f"That of a {answer_type} question is a number or a text.")


def _option(answer: object, options: Sequence[str]) -> int:
    """Index of the option that an answer names: 0-based index, letter, or the option's text."""
    if isinstance(answer, int) and not isinstance(answer, bool):
        return answer  # the query itself checks its range
    said = answer if isinstance(answer, str) else json.dumps(answer)
    meant = set(_named(said, options))
    if len(meant) == 1:
        return meant.pop()
    remedy = "Write the 0-based index as a number, the letter, or the option's text."
    if meant:
        raise _refused(f"'{said[:80]}' names several options", remedy)
    raise _refused(f"'{said[:80]}' names no option", remedy)


def _named(said: str, options: Sequence[str]) -> list[int]:
    exact = [i for i, option in enumerate(options) if option == said]
    alike = exact or [i for i, option in enumerate(options) if _folded(option) == _folded(said)]
    letter = said.strip().strip("().:").upper()
    by_letter = LETTERS.find(letter) if len(letter) == 1 else -1
    return [*alike, *([by_letter] if 0 <= by_letter < len(options) else [])]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _kind(answer: object) -> str:
    if isinstance(answer, bool):
        return json.dumps(answer)
    return "a list" if isinstance(answer, list) else "an object" if isinstance(answer, dict) else "no number"


def _refused(what: str, remedy: str) -> InputError:
    return InputError(f"answer: {what}.", param="answer", remedy=remedy)
