"""Writes a replay set from a profile: one's own runs, to be replayed without the models.

Shapes: E experts of the profile, N questions that are written.
"""

import json
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orchestrator.domain.cards import RIGHT, UNKNOWN, Profile, Transcript
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.queries import LETTERS, AnswerType, Query
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.readings import grouped
from orchestrator.evaluation.replay.sets import (
    ABSTAINED,
    EMBEDDINGS,
    EXPERTS,
    QUESTIONS,
    RESPONSES,
    SCORES,
    VALUES,
    Bools,
    Int32Array,
)
from orchestrator.ports.skills import Grader

RECORDED_TEXTS = "texts_all.jsonl.xz"

_FIELDS = frozenset({"question", "options", "answer", "answer_type", "domain"})
_RARE = frozenset({"comparison", "rubric"})
"""Fields of a question that are written where they say something."""


class Written(NamedTuple):
    """Questions written, and those left out: nobody was asked, or, if open, nobody scored the answers."""

    n_questions: int
    n_left_out: int


class _Column(NamedTuple):
    """Answers to one question.

    Attributes:
        values: what `pred` counts in; None = the question says that itself.
        pred: [E]; right: which values are right.
    """

    values: tuple[str, ...] | None
    pred: list[int]
    right: frozenset[int]

    @property
    def correct(self) -> list[bool]:
        return [index in self.right for index in self.pred]


def write_replay_set(folder: Path, profile: Profile, pool: Pool, grader: Grader | None = None) -> Written:
    """Questions, experts, responses with their texts, and vectors; splits are made when it is replayed.

    Args:
        grader: tells which answers say the same; None = those of the same canonical text.

    Raises:
        InputError: the responses are not known, no question can be written, or the folder is in use.
    """
    transcript = profile.transcript
    if transcript is None:
        raise InputError("the responses of the profile are not known here.", remedy="Profile the pool again.")
    measured = _measured(profile, transcript)
    columns = np.flatnonzero(measured.any(axis=0)).tolist()
    if not columns:
        raise InputError(
            "no profile question can be replayed: to none is it known what an expert answered.",
            remedy="Profile the pool; open questions need scores.",
        )
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty.", remedy="Give a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    queries = [transcript.queries[c] for c in columns]
    ids = _unique_ids(queries)
    _write_lines(folder / QUESTIONS, [_question(q, i) for q, i in zip(queries, ids, strict=True)])
    experts = [_expert(pool.by_id[expert_id]) for expert_id in profile.expert_ids]
    (folder / EXPERTS).write_text(json.dumps(experts, indent=1) + "\n", encoding="utf-8")
    answers = [_answers(profile, transcript, c, grader) for c in columns]
    _write_responses(folder / RESPONSES, answers, transcript.chars[:, columns], measured[:, columns])
    _write_values(folder / VALUES, ids, answers)
    if profile.scores is not None and any(q.answer_type.is_graded for q in queries):
        np.save(folder / SCORES, profile.scores[:, columns], allow_pickle=False)
    np.save(folder / EMBEDDINGS, profile.embeddings[columns], allow_pickle=False)
    if transcript.texts:
        _write_texts(folder / RECORDED_TEXTS, profile.expert_ids, ids, transcript, columns)
    return Written(len(columns), len(transcript.queries) - len(columns))


def _measured(profile: Profile, transcript: Transcript) -> Bools:
    """bool [E, Q]; an open answer is measured if it has a score."""
    graded = np.array([query.answer_type.is_graded for query in transcript.queries], dtype=bool)
    scored = np.zeros_like(profile.outcomes, dtype=bool)
    if profile.scores is not None:
        scored = ~np.isnan(profile.scores)
    return np.asarray((profile.outcomes != UNKNOWN) & (scored | ~graded))


def _answers(profile: Profile, transcript: Transcript, column: int, grader: Grader | None) -> _Column:
    query = transcript.queries[column]
    said = [of_expert[column] or None for of_expert in transcript.values]
    if query.answer_type.is_graded:
        return _Column(None, [ABSTAINED] * len(said), frozenset())
    if query.answer_type is AnswerType.CHOICE:
        assert isinstance(query.answer, int), "checked by Query"
        letters = [ABSTAINED if value is None else LETTERS.index(value) for value in said]
        return _Column(None, letters, frozenset({query.answer}))
    values, pred = grouped(query, said, grader)
    is_right = (profile.outcomes[:, column] == RIGHT).tolist()
    right = {index for index, hit in zip(pred, is_right, strict=True) if hit}
    return _Column(values, pred, frozenset(right - {ABSTAINED}))


def _unique_ids(queries: Sequence[Query]) -> list[str]:
    """Their own ids, or content hashes where these repeat."""
    ids = [query.id for query in queries]
    return ids if len(set(ids)) == len(ids) else [query.content_hash for query in queries]


def _question(query: Query, query_id: str) -> dict[str, object]:
    fields = query.model_dump(mode="json", include=set(_FIELDS))
    if query.answer_type is not AnswerType.CHOICE:
        del fields["options"]
    return {
        "id": query_id,
        **fields,
        **query.model_dump(mode="json", include=set(_RARE), exclude_defaults=True),
    }


def _expert(expert: Expert) -> dict[str, object]:
    size = {} if expert.params_b is None else {"params_b": expert.params_b}
    return {"id": expert.id, **size, "cost_per_mtok": 1e6 * expert.output_cost_per_token}


def _write_responses(path: Path, answers: Sequence[_Column], chars: Int32Array, measured: Bools) -> None:
    few = all(one.values is None for one in answers)
    recorded = {} if measured.all() else {"recorded": measured}
    np.savez(
        path,
        allow_pickle=False,
        pred=np.array([one.pred for one in answers], dtype=np.int8 if few else np.int16).T,
        correct=np.array([one.correct for one in answers], dtype=bool).T,
        chars=chars.astype(np.int32),
        **recorded,
    )


def _write_values(path: Path, ids: Sequence[str], answers: Sequence[_Column]) -> None:
    lines = [
        {"id": query_id, "values": one.values, "right": _index(one.right)}
        for query_id, one in zip(ids, answers, strict=True)
        if one.values is not None
    ]
    if lines:
        _write_lines(path, lines)


def _index(right: frozenset[int]) -> int | list[int] | None:
    """One index, None, or a list of several."""
    indices = sorted(right)
    return indices if len(indices) > 1 else next(iter(indices), None)


def _write_texts(
    path: Path, expert_ids: Sequence[str], ids: Sequence[str], transcript: Transcript, columns: Sequence[int]
) -> None:
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write(json.dumps({"experts": list(expert_ids)}) + "\n")
        for query_id, column in zip(ids, columns, strict=True):
            texts = [of_expert[column] for of_expert in transcript.texts]
            file.write(json.dumps({"id": query_id, "texts": texts}) + "\n")


def _write_lines(path: Path, lines: Sequence[object]) -> None:
    path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")
