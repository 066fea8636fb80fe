"""Reads a replay set: a folder that holds questions and what each expert of a pool answered.

The format is in docs/replay.md. Nothing is written, and nothing is unpickled. Shapes: E experts in the
order of `experts.json`, Q questions in the order of `questions.jsonl`, S further samples, D embedding width.
"""

import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.values import Value
from orchestrator.errors import InputError, UnknownNameError
from orchestrator.questions.fields import parse_query
from orchestrator.questions.files import LineError, QuestionFileError, numbered_lines, parse_object

QUESTIONS, EXPERTS, RESPONSES = "questions.jsonl", "experts.json", "responses.npz"
SPLITS, EMBEDDINGS, TEXTS = "splits.json", "embeddings.npy", "texts_*.jsonl.xz"
TEST = "test"
ALL = "all"
"""Name of the pool of all experts, unless the set says who is in it."""

ABSTAINED = -1
"""`pred` of a response in which no answer was found."""

FORMAT_REMEDY = "docs/replay.md describes the format."

Int8Array = npt.NDArray[np.int8]
Int32Matrix = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.int64]


class RecordedExpert(Value):
    """One entry of `experts.json`. `cost_per_mtok`: USD per million tokens; `pools`: those it belongs to."""

    id: str = Field(min_length=1, max_length=256)
    params_b: float | None = Field(default=None, gt=0)
    cost_per_mtok: float = Field(default=0.0, ge=0)
    pools: tuple[str, ...] = ()


class Split(NamedTuple):
    """Columns of the profile questions and of the test questions; disjoint."""

    profile: IntArray
    test: IntArray


@dataclass(frozen=True)
class ReplaySet:
    """A recorded pool.

    Attributes:
        experts: E; queries: Q, each with its reference answer.
        pred: int8 [E, Q], index of the option chosen; -1 = no answer found.
        samples: int8 [S, E, Q], further answers of the same experts; S = 0 where only one was recorded.
        chars: int32 [E, Q], length of the recorded output.
        texts: expert row -> its Q texts, None where a question's is missing; experts without are absent.
        embeddings: float32 [Q, D], unit rows; None = not recorded.
        splits: name of a seed -> name of a set -> columns; empty = not recorded.
        mended: how many questions had options that a query cannot hold (`docs/replay.md`).
    """

    experts: tuple[RecordedExpert, ...]
    queries: tuple[Query, ...]
    pred: Int8Array
    samples: Int8Array
    chars: Int32Matrix
    texts: Mapping[int, Sequence[str | None]]
    embeddings: FloatMatrix | None
    splits: Mapping[str, Mapping[str, IntArray]]
    mended: int = 0

    @property
    def pools(self) -> tuple[str, ...]:
        """Names of the pools, in the order in which experts name them."""
        return tuple(dict.fromkeys(pool for expert in self.experts for pool in expert.pools))

    @property
    def largest_pool(self) -> str:
        """The pool with the most experts, the first of equals; `all` where no pools are named."""
        return max(self.pools, key=lambda pool: len(self.rows(pool)), default=ALL)

    def rows(self, pool: str) -> list[int]:
        """Experts of a pool.

        Raises:
            UnknownNameError: no expert is in such a pool.
        """
        rows = [i for i, expert in enumerate(self.experts) if pool in expert.pools]
        if not rows and pool == ALL:
            return list(range(len(self.experts)))
        if not rows:
            raise UnknownNameError("pool", pool, {*self.pools, ALL}, param="pool")
        return rows

    def with_embeddings(self, embeddings: FloatMatrix) -> "ReplaySet":
        return replace(self, embeddings=embeddings)


def read_replay_set(folder: Path) -> ReplaySet:
    """Read and check a folder.

    Raises:
        InputError: a file is missing, broken, or does not fit the others; says which and what to do.
    """
    if not folder.is_dir():
        raise InputError(f"no replay set at {folder}.", remedy="Give a folder. " + FORMAT_REMEDY)
    queries, mended = _read_questions(folder / QUESTIONS)
    experts = _read_experts(folder / EXPERTS)
    responses = _read_responses(folder / RESPONSES, experts, queries)
    columns = {query.id: column for column, query in enumerate(queries)}
    return ReplaySet(
        experts=experts,
        queries=queries,
        pred=responses.pred,
        samples=responses.samples,
        chars=responses.chars,
        texts=_read_texts(folder, experts, columns),
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
        raise _missing(path, error) from error
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
    if data["answer_type"] != AnswerType.CHOICE:
        raise InputError(f"answer_type '{data['answer_type']}': only choices can be replayed")
    if data.get("answer") is None:
        raise InputError("has no reference answer")
    options = data.get("options")
    distinct = distinct_options(options) if isinstance(options, list) else options
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


class _Responses(NamedTuple):
    pred: Int8Array
    samples: Int8Array
    chars: Int32Matrix


def _read_responses(path: Path, experts: Sequence[RecordedExpert], queries: Sequence[Query]) -> _Responses:
    shape = (len(experts), len(queries))
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pred = _integers(arrays, "pred", path, shape)
            chars = _integers(arrays, "chars", path, shape)
            samples = _further_samples(arrays, path, shape)
            _check_correct(arrays, pred, queries, path, shape)
    except OSError as error:
        raise _missing(path, error) from error
    except (ValueError, BadZipFile, EOFError) as error:
        raise InputError(
            f"{path} is not an .npz file of plain arrays: {error}.", remedy=FORMAT_REMEDY
        ) from error
    if (chars < 0).any():
        raise InputError(f"{path}: `chars` holds negative lengths.", remedy=FORMAT_REMEDY)
    for answers in (pred, *samples):
        _check_indices(answers, experts, queries, path)
    return _Responses(pred.astype(np.int8), samples.astype(np.int8), chars.astype(np.int32))


Arrays = Mapping[str, npt.NDArray[np.generic]]


def _integers(arrays: Arrays, name: str, path: Path, shape: tuple[int, ...]) -> IntArray:
    array = _array(arrays, name, path, shape)
    if array.dtype.kind not in "iu":
        raise InputError(f"{path}: `{name}` holds {array.dtype}, not integers.", remedy=FORMAT_REMEDY)
    return array.astype(np.int64)


def _array(arrays: Arrays, name: str, path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    if name not in arrays:
        raise InputError(f"{path} has no array `{name}`.", remedy=FORMAT_REMEDY)
    array = arrays[name]
    if array.shape != shape:
        raise InputError(
            f"{path}: `{name}` has the shape {list(array.shape)}, not {list(shape)}.",
            remedy=f"One row per expert of {EXPERTS}, one column per line of {QUESTIONS}.",
        )
    return array


def _further_samples(arrays: Arrays, path: Path, shape: tuple[int, int]) -> IntArray:
    if "samples" not in arrays:
        return np.zeros((0, *shape), dtype=np.int64)
    n_samples = arrays["samples"].shape[0] if arrays["samples"].ndim else 0
    return _integers(arrays, "samples", path, (n_samples, *shape))


def _check_correct(
    arrays: Arrays, pred: IntArray, queries: Sequence[Query], path: Path, shape: tuple[int, int]
) -> None:
    """`correct` repeats what `pred` and `answer` say; where they differ, columns or rows are mixed up."""
    correct = _array(arrays, "correct", path, shape).astype(bool)
    answers = np.array([query.answer for query in queries])
    wrong = np.argwhere(correct != (pred == answers))
    if len(wrong):
        expert, question = wrong[0].tolist()
        raise InputError(
            f"{path}: `correct` is not `pred == answer` at {len(wrong)} places, first at expert {expert}, "
            f"question '{queries[question].id}'.",
            remedy="Check the order of rows and columns; a guess in place of a missing answer is -1.",
        )


def _check_indices(
    pred: IntArray, experts: Sequence[RecordedExpert], queries: Sequence[Query], path: Path
) -> None:
    n_options = np.array([len(query.options) for query in queries])
    outside = np.argwhere((pred < ABSTAINED) | (pred >= n_options))
    if len(outside):
        row, column = outside[0].tolist()
        raise InputError(
            f"{path}: expert '{experts[row].id}' chose option {pred[row, column]} of "
            f"{n_options[column]} at question '{queries[column].id}'.",
            remedy="Options count from 0; -1 = no answer found.",
        )


def _read_texts(
    folder: Path, experts: Sequence[RecordedExpert], columns: Mapping[str, int]
) -> Mapping[int, Sequence[str | None]]:
    rows = {expert.id: row for row, expert in enumerate(experts)}
    texts: dict[int, list[str | None]] = {}
    for path in sorted(folder.glob(TEXTS)):
        lines = _xz_lines(path)
        number, head = next(lines, (1, {}))
        of_file = _named_rows(head.get("experts"), rows, path, number)
        for row in of_file:
            texts.setdefault(row, [None] * len(columns))
        for number, line in lines:
            column = columns.get(str(line.get("id")))
            if column is None:
                raise InputError(f"{path}: line {number}: unknown question '{line.get('id')}'.")
            for row, text in zip(of_file, _strings(line, len(of_file), path, number), strict=True):
                texts[row][column] = text
    return texts


def _xz_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    number = 0
    try:
        with lzma.open(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                yield number, parse_object(raw)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{path} cannot be read after line {number}: {error}.") from error
    except InputError as error:
        raise InputError(f"{path}: line {number}: {error}.", remedy=FORMAT_REMEDY) from None


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
        raise _missing(path, error) from error
    except (ValueError, RecursionError) as error:
        place = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InputError(f"{path} is not JSON: {place}.", remedy=FORMAT_REMEDY) from error
    return document


def _missing(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot read {path}: {error.strerror or error}.", remedy=FORMAT_REMEDY)
