"""Reads the files of a replay set that hold JSON lines: what experts wrote, and the values that they gave."""

import lzma
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from orchestrator.domain.queries import LETTERS, AnswerType, Query
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.sets import (
    EXPERTS,
    FORMAT_REMEDY,
    PACKED,
    TEXTS,
    VALUES,
    RecordedExpert,
    RightValues,
)
from orchestrator.questions.files import parse_object


class QuestionValues(NamedTuple):
    """Canonical answers of one question, and which of them are right."""

    values: tuple[str, ...]
    right: RightValues


def read_texts(
    folder: Path, experts: Sequence[RecordedExpert], columns: Mapping[str, int]
) -> Mapping[int, Sequence[str | None]]:
    """Expert row -> its Q texts, of all files of the folder.

    Raises:
        InputError: a file is broken, or names who or what is not in the set.
    """
    rows = {expert.id: row for row, expert in enumerate(experts)}
    texts: dict[int, list[str | None]] = {}
    for path in sorted([*folder.glob(TEXTS), *folder.glob(TEXTS + PACKED)]):
        lines = _lines(path)
        number, head = next(lines, (1, {}))
        of_file = _named_rows(head.get("experts"), rows, path, number)
        for row in of_file:
            texts.setdefault(row, [None] * len(columns))
        for number, line in lines:
            column = _column(line, columns, path, number)
            for row, text in zip(of_file, _strings(line, len(of_file), path, number), strict=True):
                texts[row][column] = text
    return texts


def read_values(
    folder: Path, queries: Sequence[Query], columns: Mapping[str, int]
) -> Mapping[int, QuestionValues] | None:
    """Column -> its values; None where the folder has no such file.

    Raises:
        InputError: a file is broken, or a line does not fit its question.
    """
    path = next((p for p in (folder / VALUES, folder / (VALUES + PACKED)) if p.exists()), None)
    if path is None:
        return None
    found: dict[int, QuestionValues] = {}
    for number, line in _lines(path):
        column = _column(line, columns, path, number)
        try:
            if column in found:
                raise InputError(f"question '{line['id']}' stands on an earlier line already")
            found[column] = _values(line, queries[column])
        except InputError as error:
            raise InputError(f"{path}: line {number}: {error}.", remedy=FORMAT_REMEDY) from None
    return found


def _values(line: Mapping[str, object], query: Query) -> QuestionValues:
    values = line.get("values")
    if query.answer_type.is_graded:
        raise InputError(f"question '{query.id}' is of type '{query.answer_type}', which has no `values`")
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise InputError("`values` must be a list of strings, none of them empty")
    if len(set(values)) != len(values):
        raise InputError("`values` holds a value twice")
    if "right" not in line:
        raise InputError("has no `right`: the index of the right value, or null")
    found = QuestionValues(tuple(values), _right(line["right"], len(values)))
    if query.answer_type is AnswerType.CHOICE:
        _check_letters(found, query)
    return found


def _check_letters(found: QuestionValues, query: Query) -> None:
    """Values of a choice are letters of its options, and the one of its answer is right."""
    assert isinstance(query.answer, int), "checked by Query"
    letters = LETTERS[: len(query.options)]
    if not set(found.values) <= set(letters):
        raise InputError(
            f"question '{query.id}' is a choice: its `values` are letters, {letters[0]} to {letters[-1]}"
        )
    if {found.values[i] for i in found.right} != {letters[query.answer]} & set(found.values):
        raise InputError(f"`right` of choice '{query.id}' is not its answer, {letters[query.answer]}")


def _right(right: object, n: int) -> RightValues:
    """`2` -> {2}; `null` -> nothing; `[0, 2]` -> both."""
    indices = [] if right is None else right if isinstance(right, list) else [right]
    if not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < n for i in indices):
        raise InputError(f"`right` is no index of {n} values, nor a list of some")
    return frozenset(indices)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Numbered objects of a file of JSON lines, packed or not."""
    number = 0
    try:
        with lzma.open(path, "rb") if path.suffix == PACKED else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                yield number, parse_object(raw)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{path} cannot be read after line {number}: {error}.") from error
    except InputError as error:
        raise InputError(f"{path}: line {number}: {error}.", remedy=FORMAT_REMEDY) from None


def _column(line: Mapping[str, object], columns: Mapping[str, int], path: Path, number: int) -> int:
    column = columns.get(str(line.get("id")))
    if column is None:
        raise InputError(f"{path}: line {number}: unknown question '{line.get('id')}'.")
    return column


def _named_rows(names: object, rows: Mapping[str, int], path: Path, number: int) -> list[int]:
    if not isinstance(names, list) or not names:
        raise InputError(f"{path}: line {number} must name its `experts`.", remedy=FORMAT_REMEDY)
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise InputError(f"{path}: expert '{unknown[0]}' is not in {EXPERTS}.", remedy=FORMAT_REMEDY)
    return [rows[name] for name in names]


def _strings(line: Mapping[str, object], n: int, path: Path, number: int) -> list[str | None]:
    texts = line.get("texts")
    if not isinstance(texts, list) or len(texts) != n or not all(isinstance(t, str | None) for t in texts):
        raise InputError(f"{path}: line {number}: `texts` must hold {n} strings.", remedy=FORMAT_REMEDY)
    return texts
