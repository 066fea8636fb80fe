"""Graded outcomes to competence cards, and to the profile behind them: pure counting."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.domain.cards import UNKNOWN, CompetenceCard, FloatMatrix, Profile, Tally, Transcript
from orchestrator.domain.experts import Expert
from orchestrator.domain.queries import CHARS_PER_TOKEN, Query
from orchestrator.domain.skills import SkillTag
from orchestrator.domain.values import content_hash
from orchestrator.ports.cards import OutcomeRow


class ProfileSet(NamedTuple):
    """Labelled questions with their matched skills, in the same order."""

    hash: str
    queries: tuple[Query, ...]
    skills: tuple[tuple[SkillTag, ...], ...]


def profile_set(queries: Sequence[Query], skills: Sequence[tuple[SkillTag, ...]]) -> ProfileSet:
    """Pin the questions, their answers and their annotation; their order does not matter.

    Weights enter the hash with three digits, since embeddings differ in the last ones by machine.
    """
    pinned = sorted(
        [q.content_hash, str(q.answer), [[t.name, round(t.weight, 3)] for t in tags]]
        for q, tags in zip(queries, skills, strict=True)
    )
    return ProfileSet(content_hash(pinned), tuple(queries), tuple(skills))


def count_card(
    expert: Expert,
    profile: ProfileSet,
    rows: Mapping[str, OutcomeRow],
    exam: Sequence[tuple[Query, OutcomeRow]] = (),
) -> CompetenceCard:
    """The card of one expert. Each skill of a question gets one observation, whatever its weight.

    Args:
        rows: the expert's outcomes by query hash; questions without one are not counted.
        exam: its graded exam questions.
    """
    answered = [
        (query, tags, rows[query.content_hash])
        for query, tags in zip(profile.queries, profile.skills, strict=True)
        if query.content_hash in rows
    ]
    return CompetenceCard(
        expert_id=expert.id,
        fingerprint=expert.fingerprint,
        profile_hash=profile.hash,
        outcomes_hash=content_hash(sorted([q.content_hash, row.outcome] for q, _, row in answered)),
        total=_tallies(("all", row) for _, _, row in answered).get("all", Tally()),
        skills=_tallies((tag.name, row) for _, tags, row in answered for tag in tags),
        domains=_tallies((query.domain, row) for query, _, row in answered if query.domain),
        aggregation=_tallies((query.domain or "", row) for query, row in exam),
        mean_tokens=_mean([row.completion_tokens for _, _, row in answered]),
        mean_latency_ms=_mean([row.latency_ms for _, _, row in answered]),
        cost_per_query=_mean([_cost(expert, query, row) for query, _, row in answered]),
    )


def profile_of(
    expert_ids: tuple[str, ...],
    profile: ProfileSet,
    rows: Sequence[Sequence[OutcomeRow | None]],
    *,
    embeddings: FloatMatrix,
    with_texts: bool = True,
) -> Profile:
    """The outcomes of a pool and what it said, as data-driven routers and learned votes read them.

    Args:
        rows: [E][Q], in the order of `expert_ids` and of the questions; None = not measured.
        embeddings: float32 [Q, D], unit rows.
        with_texts: whether the rows hold what the experts wrote.
    """
    outcomes = [[UNKNOWN if row is None else row.outcome for row in of_expert] for of_expert in rows]
    return Profile(
        expert_ids=expert_ids,
        query_hashes=tuple(q.content_hash for q in profile.queries),
        texts=tuple(q.text for q in profile.queries),
        skills=profile.skills,
        domains=tuple(q.domain or "" for q in profile.queries),
        outcomes=np.array(outcomes, dtype=np.int8).reshape(len(expert_ids), len(profile.queries)),
        embeddings=embeddings,
        transcript=_transcript(profile.queries, rows, with_texts=with_texts),
    )


def _transcript(
    queries: tuple[Query, ...], rows: Sequence[Sequence[OutcomeRow | None]], *, with_texts: bool
) -> Transcript:
    texts = tuple(tuple("" if row is None else row.text for row in of_expert) for of_expert in rows)
    chars = [[len(text) for text in of_expert] for of_expert in texts]
    return Transcript(
        queries=queries,
        values=tuple(tuple(None if row is None else row.value for row in of_expert) for of_expert in rows),
        chars=np.array(chars, dtype=np.int32).reshape(len(rows), len(queries)),
        texts=texts if with_texts else (),
    )


def _tallies(observations: Iterable[tuple[str, OutcomeRow]]) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for name, row in observations:
        tallies[name] = tallies.get(name, Tally()).plus(row.outcome)
    return dict(sorted(tallies.items()))


def _cost(expert: Expert, query: Query, row: OutcomeRow) -> float:
    """USD; generated tokens were counted, those of the prompt are estimated."""
    prompt_tokens = len(query.text) / CHARS_PER_TOKEN
    return prompt_tokens * expert.input_cost_per_token + row.completion_tokens * expert.output_cost_per_token


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
