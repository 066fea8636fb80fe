"""Reads what each expert of a replay set answered: indices into values, scores, or texts yet to be read.

Shapes as in `sets`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import LETTERS, AnswerType, Query
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.lines import QuestionValues, read_texts, read_values
from orchestrator.evaluation.replay.sets import (
    ABSTAINED,
    CHARS,
    EXPERTS,
    FORMAT_REMEDY,
    QUESTIONS,
    REFERENCE_CHARS,
    RESPONSES,
    SCORES,
    TEXTS,
    VALUES,
    Bools,
    Int16Array,
    Int32Array,
    IntArray,
    RecordedExpert,
    RightValues,
    missing,
)

Array = npt.NDArray[np.generic]
Arrays = Mapping[str, Array]
Texts = Mapping[int, Sequence[str | None]]

ARRAYS = ("pred", "correct", "chars", "samples", "recorded")
"""Names in `responses.npz`; others are left alone."""

_SHAPE_REMEDY = f"One row per expert of {EXPERTS}, one column per line of {QUESTIONS}."


class Answers(NamedTuple):
    """The parts of a `ReplaySet` that say who answered what."""

    pred: Int16Array
    values: tuple[tuple[str, ...] | None, ...]
    right: tuple[RightValues, ...]
    measured: Bools
    samples: Int16Array
    chars: Int32Array
    texts: Texts
    scores: FloatMatrix | None
    reference_chars: Int32Array | None


class _Set(NamedTuple):
    """What answers are checked against. `folder`: for messages."""

    folder: Path
    experts: Sequence[RecordedExpert]
    queries: Sequence[Query]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.experts), len(self.queries)

    @property
    def graded(self) -> Bools:
        return np.array([query.answer_type.is_graded for query in self.queries])


def read_answers(
    folder: Path, experts: Sequence[RecordedExpert], queries: Sequence[Query], columns: Mapping[str, int]
) -> Answers:
    """Read and check what was answered.

    Raises:
        InputError: a file is missing, broken, or does not fit the others; says which and what to do.
    """
    of = _Set(folder, experts, queries)
    arrays = _responses(folder / RESPONSES, queries)
    texts = read_texts(folder, experts, columns)
    listed = read_values(folder, queries, columns)
    known = [_known(c, query, listed or {}, "pred" in arrays) for c, query in enumerate(queries)]
    scores = _scores(of)
    measured = _measured(of, arrays, known, texts, scores)
    _check_sources(of, known, measured)
    pred = _indices(of, arrays, "pred", known, of.shape)
    if "pred" in arrays and (listed is None or "correct" in arrays):
        _check_correct(of, arrays, pred, known, measured)
    n_samples = arrays["samples"].shape[0] if "samples" in arrays and arrays["samples"].ndim else 0
    return Answers(
        pred=np.where(measured, pred, ABSTAINED).astype(np.int16),
        values=tuple(None if one is None else one.values for one in known),
        right=tuple(frozenset() if one is None else one.right for one in known),
        measured=measured,
        samples=_indices(of, arrays, "samples", known, (n_samples, *of.shape)).astype(np.int16),
        chars=_chars(of, arrays, texts),
        texts=texts,
        scores=scores,
        reference_chars=_lengths(folder / REFERENCE_CHARS, of.shape[1:]),
    )


def _responses(path: Path, queries: Sequence[Query]) -> Arrays:
    """The arrays of a set; none where no question is a choice, and the file is missing."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ARRAYS if name in file}
    except FileNotFoundError as error:
        if any(query.answer_type is AnswerType.CHOICE for query in queries):
            raise missing(path, error) from error
        return {}
    except OSError as error:
        raise missing(path, error) from error
    except (ValueError, BadZipFile, EOFError) as error:
        raise InputError(
            f"{path} is not an .npz file of plain arrays: {error}.", remedy=FORMAT_REMEDY
        ) from error


def _known(
    column: int, query: Query, listed: Mapping[int, QuestionValues], recorded: bool
) -> QuestionValues | None:
    """What `pred` counts in; None = it says nothing of this question."""
    if not recorded or query.answer_type.is_graded:
        return None
    if query.answer_type is AnswerType.CHOICE and column not in listed:
        assert isinstance(query.answer, int), "checked by Query"
        return QuestionValues(tuple(LETTERS[: len(query.options)]), frozenset({query.answer}))
    return listed.get(column)


def _measured(
    of: _Set, arrays: Arrays, known: Sequence[QuestionValues | None], texts: Texts, scores: FloatMatrix | None
) -> Bools:
    """Where it is known what the expert said: recorded, and scored or with a text where that decides."""
    measured = np.ones(of.shape, dtype=bool)
    if "recorded" in arrays:
        measured = _array(arrays, "recorded", of).astype(bool)
    if scores is not None:
        measured &= ~of.graded | ~np.isnan(scores)
    for column in np.flatnonzero(~of.graded).tolist():
        if known[column] is None:
            measured[:, column] &= [
                row in texts and texts[row][column] is not None for row in range(of.shape[0])
            ]
    return measured


def _check_sources(of: _Set, known: Sequence[QuestionValues | None], measured: Bools) -> None:
    """Something must say what was answered to each question."""
    silent = np.flatnonzero(~measured.any(axis=0)).tolist()
    if not silent:
        return
    query = of.queries[silent[0]]
    if query.answer_type.is_graded:
        lacks, remedy = "no score", f"Give {SCORES}, or leave the question out."
    elif known[silent[0]] is not None:
        lacks, remedy = "no recorded response", "Leave the question out."
    else:
        lacks = f"neither an index into {VALUES} nor a text"
        remedy = f"Give {TEXTS}, or `pred` with {VALUES}."
    raise InputError(f"{of.folder}: {len(silent)} questions have {lacks}, first '{query.id}'.", remedy=remedy)


def _indices(
    of: _Set,
    arrays: Arrays,
    name: str,
    known: Sequence[QuestionValues | None],
    shape: tuple[int, ...],
) -> IntArray:
    """Indices into the values of questions, int [..., E, Q]; −1 where there are none."""
    if name not in arrays:
        return np.full(shape, ABSTAINED, dtype=np.int64)
    found = _integers(arrays, name, of, shape)
    n_values = np.array([0 if one is None else len(one.values) for one in known])
    counts = np.array([one is not None for one in known])
    outside = np.argwhere(counts & ((found < ABSTAINED) | (found >= n_values)))
    if len(outside):
        *_, row, column = outside[0].tolist()
        query, chosen = of.queries[column], found[tuple(outside[0])]
        what = "option" if query.answer_type is AnswerType.CHOICE else "value"
        raise InputError(
            f"{of.folder / RESPONSES}: expert '{of.experts[row].id}' chose {what} {chosen} of "
            f"{n_values[column]} at question '{query.id}'.",
            remedy=f"{what.capitalize()}s count from 0; -1 = no answer found.",
        )
    return np.where(counts, found, ABSTAINED)


def _check_correct(
    of: _Set, arrays: Arrays, pred: IntArray, known: Sequence[QuestionValues | None], measured: Bools
) -> None:
    """`correct` repeats what `pred` and the references say; if they differ, columns or rows are mixed up."""
    correct = _array(arrays, "correct", of).astype(bool)
    right = np.zeros(of.shape, dtype=bool)
    for column, one in enumerate(known):
        if one is not None:
            right[:, column] = np.isin(pred[:, column], list(one.right))
    counts = measured & [one is not None for one in known]
    wrong = np.argwhere(counts & (correct != right))
    if len(wrong):
        expert, question = wrong[0].tolist()
        raise InputError(
            f"{of.folder / RESPONSES}: `correct` is not `pred == answer` at {len(wrong)} places, first at "
            f"expert {expert}, question '{of.queries[question].id}'.",
            remedy="Check the order of rows and columns; a guess in place of a missing answer is -1.",
        )


def _chars(of: _Set, arrays: Arrays, texts: Texts) -> Int32Array:
    """Lengths of the outputs: recorded, or of what is kept of them; 0 where neither is known."""
    if "chars" in arrays:
        return _lengths_of(_integers(arrays, "chars", of, of.shape), of.folder / RESPONSES, "`chars`")
    chars = _lengths(of.folder / CHARS, of.shape)
    if chars is None and "pred" in arrays and not texts:
        _array(arrays, "chars", of)  # raises
    if chars is not None:
        return chars
    kept = np.zeros(of.shape, dtype=np.int32)
    for row, of_expert in texts.items():
        kept[row] = [len(text or "") for text in of_expert]
    return kept


def _scores(of: _Set) -> FloatMatrix | None:
    """float32 [E, Q]; None where no question is open."""
    if not of.graded.any():
        return None
    path = of.folder / SCORES
    scores = _array_file(path, of.shape)
    if scores is None:
        raise InputError(
            f"there is no {path}, and question '{of.queries[int(of.graded.argmax())].id}' is open.",
            remedy=f"Give scores of open answers, floats {list(of.shape)}. " + FORMAT_REMEDY,
        )
    if scores.dtype.kind != "f":
        raise InputError(f"{path} holds {scores.dtype}, not floats.", remedy=FORMAT_REMEDY)
    found = scores.astype(np.float32)
    outside = np.argwhere(of.graded & ~np.isnan(found) & ~((found >= 0) & (found <= 1)))
    if len(outside):
        row, column = outside[0].tolist()
        raise InputError(
            f"{path}: expert '{of.experts[row].id}' has {found[row, column]:g} at question "
            f"'{of.queries[column].id}'.",
            remedy="Scores are in [0, 1]; nan = not scored.",
        )
    return np.where(of.graded, found, np.float32(np.nan))


def _lengths(path: Path, shape: tuple[int, ...]) -> Int32Array | None:
    lengths = _array_file(path, shape)
    if lengths is None:
        return None
    if lengths.dtype.kind not in "iu":
        raise InputError(f"{path} holds {lengths.dtype}, not integers.", remedy=FORMAT_REMEDY)
    return _lengths_of(lengths.astype(np.int64), path, "it")


def _lengths_of(lengths: IntArray, path: Path, what: str) -> Int32Array:
    if (lengths < 0).any():
        raise InputError(f"{path}: {what} holds negative lengths.", remedy=FORMAT_REMEDY)
    return lengths.astype(np.int32)


def _array_file(path: Path, shape: tuple[int, ...]) -> Array | None:
    """A file of one array; None where there is none."""
    if not path.exists():
        return None
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not an .npy file of numbers: {error}.", remedy=FORMAT_REMEDY) from error
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise InputError(
            f"{path} has the shape {list(np.shape(array))}, not {list(shape)}.", remedy=_SHAPE_REMEDY
        )
    return array


def _integers(arrays: Arrays, name: str, of: _Set, shape: tuple[int, ...]) -> IntArray:
    array = _array(arrays, name, of, shape)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{of.folder / RESPONSES}: `{name}` holds {array.dtype}, not integers.", remedy=FORMAT_REMEDY
        )
    return array.astype(np.int64)


def _array(arrays: Arrays, name: str, of: _Set, shape: tuple[int, ...] | None = None) -> Array:
    """`shape`: None = [E, Q]."""
    path, shape = of.folder / RESPONSES, shape or of.shape
    if name not in arrays:
        raise InputError(f"{path} has no array `{name}`.", remedy=FORMAT_REMEDY)
    array = arrays[name]
    if array.shape != shape:
        raise InputError(
            f"{path}: `{name}` has the shape {list(array.shape)}, not {list(shape)}.", remedy=_SHAPE_REMEDY
        )
    return array
