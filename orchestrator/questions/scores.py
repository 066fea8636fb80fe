"""Scores that somebody else gave, and rubrics, as files: read with the place of all that is wrong.

Scores are JSON lines `{"id", "expert", "score", "judge"?}`. A rubric is a JSON list of checks for all open
questions, or an object of such lists by question id.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.domain.queries import MAX_CHECKS, Query
from orchestrator.errors import InputError
from orchestrator.ports.profiling import GivenScores
from orchestrator.questions.file_forms import NotQuestionsError
from orchestrator.questions.files import (
    MAX_REPORTED,
    STANDARD,
    STANDARD_INPUT,
    LineError,
    QuestionFileError,
    Readable,
    numbered_lines,
    opened,
    parse_object,
)
from orchestrator.questions.json_checks import RepeatedKeyError, first_flaw, unique_keys
from orchestrator.runtime.files import open_readable

FIELDS = ("id", "expert", "score", "judge")
MAX_CHECK_CHARS = 2000
MAX_JUDGE_CHARS = 256
MAX_RUBRIC_BYTES = 16 << 20
_SHOWN = 80


class Known(NamedTuple):
    """Questions and experts that scores may be of."""

    queries: Mapping[str, Query]
    experts: Collection[str]


class _Line(NamedTuple):
    number: int
    query_id: str
    expert_id: str
    score: float
    judge: str


def read_scores(path: Path, queries: Sequence[Query], experts: Collection[str]) -> GivenScores:
    """Scores of a file or pipe (`-` = standard input).

    Args:
        experts: ids of those who answer.

    Raises:
        QuestionFileError: bad lines, with their numbers.
        InputError: unreadable, empty, or not JSON lines at all.
    """
    name = STANDARD_INPUT if str(path) == STANDARD else str(path)
    with opened(path, name) as file:
        return parse_scores(file, name, queries, experts)


def parse_scores(
    file: Readable, name: str, queries: Sequence[Query], experts: Collection[str]
) -> GivenScores:
    """`read_scores` of an open file, which messages call `name`.

    Raises:
        QuestionFileError: with the wrong lines.
        NotQuestionsError: it holds none.
    """
    known = Known({query.id: query for query in queries}, experts)
    found: list[_Line] = []
    errors: list[LineError] = []
    for number, raw in numbered_lines(file, name):
        try:
            found.append(_parsed(raw, number, known))
        except InputError as error:
            errors.append(LineError(number, str(error).rstrip("."), error.code, error.param))
        if len(errors) >= MAX_REPORTED:
            break
    errors = sorted([*errors, *_conflicts(found)], key=lambda error: error.line)
    if errors:
        raise QuestionFileError(name, errors[:MAX_REPORTED])
    if not found:
        raise NotQuestionsError(f"{name} holds no scores.", remedy="Write one JSON object per line.")
    return GivenScores({(one.query_id, one.expert_id): one.score for one in found}, found[0].judge)


def _parsed(raw: bytes, number: int, known: Known) -> _Line:
    data = parse_object(raw)
    unknown = sorted(set(data) - set(FIELDS))
    if unknown:
        raise InputError(f"{_short(unknown[0])}: unknown field; valid: {', '.join(FIELDS)}", param=unknown[0])
    query_id, expert_id = (_name(data, field) for field in ("id", "expert"))
    judge = _name(data, "judge") if data.get("judge") is not None else ""
    if len(judge) > MAX_JUDGE_CHARS:
        raise InputError(f"judge: is longer than {MAX_JUDGE_CHARS} characters", param="judge")
    score = _score(data)
    query = known.queries.get(query_id)
    if query is None:
        raise InputError(f"id: no question is called '{_short(query_id)}'", param="id")
    if not query.answer_type.is_graded:
        raise InputError(f"id: question '{_short(query_id)}' has an exact answer and no score", param="id")
    if expert_id not in known.experts:
        raise InputError(f"expert: nobody who answers is called '{_short(expert_id)}'", param="expert")
    return _Line(number, query_id, expert_id, score, judge)


def _name(data: Mapping[str, object], field: str) -> str:
    value = data.get(field)
    if not isinstance(value, str) or not value:
        raise InputError(f"{field}: must be a text that is not empty", param=field)
    return value


def _score(data: Mapping[str, object]) -> float:
    value = data.get("score")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("score: must be a number from 0 to 1", param="score")
    if not 0 <= value <= 1:
        shown = str(value)[:_SHOWN]
        raise InputError(f"score: {shown} is not from 0 to 1; divide by the best score", param="score")
    return float(value)


def _conflicts(lines: Sequence[_Line]) -> Iterator[LineError]:
    """Scores that are given twice, and those of another judge than the first line's."""
    first: dict[tuple[str, str], int] = {}
    for line in lines:
        pair = (line.query_id, line.expert_id)
        if pair in first:
            said = f"'{_short(line.query_id)}' of '{_short(line.expert_id)}'"
            yield LineError(line.number, f"{said} has a score on line {first[pair]} already", param="id")
        first.setdefault(pair, line.number)
        if line.judge != lines[0].judge:
            said = f"judge '{_short(line.judge)}'" if line.judge else "no judge"
            other = f"'{_short(lines[0].judge)}'" if lines[0].judge else "none"
            message = f"judge: {said}, and {other} on line {lines[0].number}: scores of two are never mixed"
            yield LineError(line.number, message, param="judge")


def read_rubric(path: Path, queries: Sequence[Query]) -> list[Query]:
    """The questions, open ones with the checks of a file.

    Raises:
        InputError: a file that cannot be read or used; names all that is wrong, the first five in words.
    """
    try:
        with open_readable(path) as file:
            raw = file.read(MAX_RUBRIC_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.", param="rubric") from error
    return with_rubric(parse_rubric(raw, str(path)), str(path), queries)


def parse_rubric(raw: bytes, name: str) -> JsonValue:
    """The JSON document of a rubric file, which messages call `name`.

    Raises:
        InputError: too large, or not JSON.
    """
    if len(raw) > MAX_RUBRIC_BYTES:
        raise InputError(f"{name}: larger than {MAX_RUBRIC_BYTES >> 20} MiB.", param="rubric")
    try:
        document: JsonValue = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=unique_keys)
    except RepeatedKeyError as error:
        raise InputError(f"{name}: {error}.", param="rubric") from None
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not JSON, as UTF-8 text.", param="rubric") from None
    flaw = first_flaw(document)
    if flaw is not None:
        raise InputError(f"{name}: {flaw.place or 'it'}: {flaw.text}.", param="rubric")
    return document


def with_rubric(document: JsonValue, name: str, queries: Sequence[Query]) -> list[Query]:
    """The questions, open ones with the checks of a rubric; those that it does not name keep their own.

    Raises:
        InputError: as `read_rubric`.
    """
    by_id = {query.id: query for query in queries}
    if isinstance(document, list):
        mistakes = list(_list_mistakes("it", document))
        checks = {q.id: document for q in queries if q.answer_type.is_graded}
    elif isinstance(document, dict) and document:
        mistakes = [m for query_id, of_one in document.items() for m in _mistakes(query_id, of_one, by_id)]
        checks = {i: of_one for i, of_one in document.items() if isinstance(of_one, list)}
    else:
        mistakes = ["it must be a list of checks, or an object of such lists by question id"]
        checks = {}
    if mistakes:
        more = f"; and {len(mistakes) - 5} more" if len(mistakes) > 5 else ""
        raise InputError(f"{name}: {'; '.join(mistakes[:5])}{more}.", param="rubric")
    if not checks:
        raise InputError(f"{name}: none of the questions is open.", param="rubric")
    return [
        query.replaced(rubric=tuple(str(c) for c in checks[query.id])) if query.id in checks else query
        for query in queries
    ]


def _mistakes(query_id: str, checks: JsonValue, queries: Mapping[str, Query]) -> Iterator[str]:
    shown = f"'{_short(query_id)}'"
    if query_id not in queries:
        yield f"no question is called {shown}"
    elif not queries[query_id].answer_type.is_graded:
        yield f"question {shown} has an exact answer and no rubric"
    if isinstance(checks, list):
        yield from _list_mistakes(shown, checks)
    else:
        yield f"{shown} must have a list of checks"


def _list_mistakes(what: str, checks: Sequence[JsonValue]) -> Iterator[str]:
    if not 1 <= len(checks) <= MAX_CHECKS:
        yield f"{what} must have 1 to {MAX_CHECKS} checks, not {len(checks)}"
    for number, check in enumerate(checks, start=1):
        if not isinstance(check, str) or not check.strip():
            yield f"check {number} of {what} must be a text that is not empty"
        elif len(check) > MAX_CHECK_CHARS:
            yield f"check {number} of {what} is longer than {MAX_CHECK_CHARS} characters"
    texts = [check for check in checks if isinstance(check, str)]
    if len(set(texts)) < len(texts):
        yield f"a check of {what} stands twice"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
