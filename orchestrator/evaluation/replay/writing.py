"""Writes a replay set from a profile: one's own runs, to be replayed without the models."""

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
from orchestrator.evaluation.replay.sets import ABSTAINED, EMBEDDINGS, EXPERTS, QUESTIONS, RESPONSES

RECORDED_TEXTS = "texts_all.jsonl.xz"


class Written(NamedTuple):
    """Questions written, and those left out: not a choice, or not measured on every expert."""

    n_questions: int
    n_left_out: int


def write_replay_set(folder: Path, profile: Profile, pool: Pool) -> Written:
    """Questions, experts, responses with their texts, and vectors; splits are made when it is replayed.

    Raises:
        InputError: the responses are not known, no question can be written, or the folder is in use.
    """
    transcript = profile.transcript
    if transcript is None:
        raise InputError("the responses of the profile are not known here.", remedy="Profile the pool again.")
    columns = _columns(profile, transcript)
    if not columns:
        raise InputError(
            "no profile question can be replayed: none is a choice that every expert was asked.",
            remedy="Profile the whole pool on choices.",
        )
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty.", remedy="Give a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    queries = [transcript.queries[c] for c in columns]
    ids = _unique_ids(queries)
    _write_lines(folder / QUESTIONS, [_question(q, i) for q, i in zip(queries, ids, strict=True)])
    experts = [_expert(pool.by_id[expert_id]) for expert_id in profile.expert_ids]
    (folder / EXPERTS).write_text(json.dumps(experts, indent=1) + "\n", encoding="utf-8")
    _write_responses(folder / RESPONSES, profile, transcript, columns)
    np.save(folder / EMBEDDINGS, profile.embeddings[columns], allow_pickle=False)
    if transcript.texts:
        _write_texts(folder / RECORDED_TEXTS, profile.expert_ids, ids, transcript, columns)
    return Written(len(columns), len(transcript.queries) - len(columns))


def _columns(profile: Profile, transcript: Transcript) -> list[int]:
    measured = (profile.outcomes != UNKNOWN).all(axis=0)
    return [
        column
        for column, query in enumerate(transcript.queries)
        if query.answer_type is AnswerType.CHOICE and measured[column]
    ]


def _unique_ids(queries: Sequence[Query]) -> list[str]:
    """Their own ids, or content hashes where these repeat."""
    ids = [query.id for query in queries]
    return ids if len(set(ids)) == len(ids) else [query.content_hash for query in queries]


def _question(query: Query, query_id: str) -> dict[str, object]:
    fields = ("question", "options", "answer", "answer_type", "domain")
    return {"id": query_id, **query.model_dump(mode="json", include=set(fields))}


def _expert(expert: Expert) -> dict[str, object]:
    size = {} if expert.params_b is None else {"params_b": expert.params_b}
    return {"id": expert.id, **size, "cost_per_mtok": 1e6 * expert.output_cost_per_token}


def _write_responses(path: Path, profile: Profile, transcript: Transcript, columns: Sequence[int]) -> None:
    pred = [
        [ABSTAINED if of_expert[c] is None else LETTERS.index(str(of_expert[c])) for c in columns]
        for of_expert in transcript.values
    ]
    np.savez(
        path,
        pred=np.array(pred, dtype=np.int8),
        correct=(profile.outcomes == RIGHT)[:, columns],
        chars=transcript.chars[:, columns].astype(np.int32),
    )


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
