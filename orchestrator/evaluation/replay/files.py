"""Reads a replay set: a folder that holds questions and what each expert of a pool answered.

The format is in docs/replay.md. Nothing is written, and nothing is unpickled.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import JsonValue, TypeAdapter, ValidationError

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.answers import read_answers
from orchestrator.evaluation.replay.sets import (
    EMBEDDINGS,
    EXPERTS,
    FORMAT_REMEDY,
    QUESTIONS,
    SPLITS,
    TEST,
    IntArray,
    RecordedExpert,
    ReplaySet,
    missing,
)
from orchestrator.questions.fields import parse_query
from orchestrator.questions.files import LineError, QuestionFileError, numbered_lines, parse_object


def read_replay_set(folder: Path) -> ReplaySet:
    """Read and check a folder.

    Raises:
        InputError: a file is missing, broken, or does not fit the others; says which and what to do.
    """
    if not folder.is_dir():
        raise InputError(f"no replay set at {folder}.", remedy="Give a folder. " + FORMAT_REMEDY)
    queries, mended = _read_questions(folder / QUESTIONS)
    experts = _read_experts(folder / EXPERTS)
    columns = {query.id: column for column, query in enumerate(queries)}
    answers = read_answers(folder, experts, queries, columns)
    return ReplaySet(
        experts=experts,
        queries=queries,
        **answers._asdict(),
        embeddings=_read_embeddings(folder / EMBEDDINGS, len(queries)),
        splits=_read_splits(folder / SPLITS, columns),
        mended=mended,
    )


def _read_questions(path: Path) -> tuple[tuple[Query, ...], int]:
    queries: list[Query] = []
    errors: list[LineError] = []
    seen: dict[str, int] = {}
    mended = 0
    try:
        with path.open("rb") as file:
            for number, raw in numbered_lines(file, str(path)):
                try:
                    query, was_mended = _question(raw)
                    if query.id in seen:
                        raise InputError(f"id '{query.id}' stands on line {seen[query.id]} already")
                except InputError as error:
                    errors.append(LineError(number, str(error).rstrip(".")))
                    continue
                seen[query.id] = number
                queries.append(query)
                mended += was_mended
    except OSError as error:
        raise missing(path, error) from error
    if errors:
        raise QuestionFileError(str(path), errors)
    if not queries:
        raise InputError(f"{path} holds no questions.", remedy=FORMAT_REMEDY)
    return tuple(queries), mended


def _question(raw: bytes) -> tuple[Query, bool]:
    """A query, and whether its options had to be mended for it."""
    data = parse_object(raw)
    if not data.get("id"):
        raise InputError("has no id")
    data.setdefault("answer_type", AnswerType.CHOICE.value)
    if data.get("answer") is None and data["answer_type"] != AnswerType.OPEN:
        raise InputError("has no reference answer")
    options = data.get("options")
    if not isinstance(options, list):
        return parse_query(data), False
    distinct = distinct_options(options)
    return parse_query({**data, "options": distinct}), distinct != options


def distinct_options(options: Sequence[object]) -> list[object]:
    """Options as a query takes them, none added and none left out, so that an index means the same.

    A repeat gets its count, a blank one says so: `["x", "x", " "]` -> `["x", "x (2)", "(blank)"]`.
    """
    kept: list[object] = []
    for option in options:
        if not isinstance(option, str):
            kept.append(option)
            continue
        plain = option.replace("\x00", "") if option.strip() else "(blank)"
        name, n = plain, 1
        while name in kept:
            n += 1
            name = f"{plain} ({n})"
        kept.append(name)
    return kept


_EXPERTS = TypeAdapter(tuple[RecordedExpert, ...])


def _read_experts(path: Path) -> tuple[RecordedExpert, ...]:
    try:
        experts = _EXPERTS.validate_python(_read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "file"
        raise InputError(f"{path}: {place}: {first['msg']}.", remedy=FORMAT_REMEDY) from None
    ids = [expert.id for expert in experts]
    repeated = next((i for i in ids if ids.count(i) > 1), None)
    if not experts or repeated is not None:
        what = "lists no expert" if not experts else f"lists '{repeated}' twice"
        raise InputError(f"{path} {what}.", remedy=FORMAT_REMEDY)
    return experts


def _read_embeddings(path: Path, n_questions: int) -> FloatMatrix | None:
    if not path.exists():
        return None
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} is not an .npy file of numbers: {error}.", remedy="Remove it to embed here."
        ) from error
    if matrix.ndim != 2 or len(matrix) != n_questions or matrix.dtype.kind != "f":
        raise InputError(
            f"{path}: {matrix.dtype} {list(matrix.shape)}, not floats with {n_questions} rows.",
            remedy="Give one row per question, or remove it to embed here.",
        )
    exact = matrix.astype(np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    if not np.isfinite(exact).all() or not (length > 0).all():
        raise InputError(f"{path} holds rows that are zero or not finite.", remedy="Remove it to embed here.")
    return np.asarray(exact / length, dtype=np.float32)


def _read_splits(path: Path, columns: Mapping[str, int]) -> Mapping[str, Mapping[str, IntArray]]:
    if not path.exists():
        return {}
    document = _read_json(path)
    if not isinstance(document, dict):
        raise InputError(f"{path} is not an object of seeds.", remedy=FORMAT_REMEDY)
    return {seed: _read_split(path, seed, sets, columns) for seed, sets in document.items()}


def _read_split(path: Path, seed: str, sets: JsonValue, columns: Mapping[str, int]) -> Mapping[str, IntArray]:
    if not isinstance(sets, dict) or not isinstance(sets.get(TEST), list) or len(sets) < 2:
        raise InputError(f"{path}: {seed}: give a '{TEST}' list and a profile list.", remedy=FORMAT_REMEDY)
    found = {name: _columns(path, f"{seed}.{name}", ids, columns) for name, ids in sets.items()}
    for name, members in found.items():
        if name != TEST and np.intersect1d(members, found[TEST]).size:
            raise InputError(
                f"{path}: {seed}: '{name}' and '{TEST}' share questions.", remedy="Test on other questions."
            )
    return found


def _columns(path: Path, place: str, ids: JsonValue, columns: Mapping[str, int]) -> IntArray:
    if not isinstance(ids, list) or not ids:
        raise InputError(f"{path}: {place} is not a list of question ids.", remedy=FORMAT_REMEDY)
    unknown = [i for i in ids if str(i) not in columns]
    if unknown:
        raise InputError(f"{path}: {place}: unknown question '{unknown[0]}'.", remedy=f"Ids of {QUESTIONS}.")
    found = np.array([columns[str(i)] for i in ids], dtype=np.int64)
    if len(np.unique(found)) != len(found):
        raise InputError(f"{path}: {place} lists a question twice.", remedy="List each once.")
    return found


def _read_json(path: Path) -> JsonValue:
    try:
        document: JsonValue = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise missing(path, error) from error
    except (ValueError, RecursionError) as error:
        place = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InputError(f"{path} is not JSON: {place}.", remedy=FORMAT_REMEDY) from error
    return document
