"""Graded outcomes to competence cards, and to the profile behind them: pure counting."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.domain.cards import (
    GRADED,
    UNKNOWN,
    CompetenceCard,
    FloatMatrix,
    Profile,
    Tally,
    Transcript,
)
from orchestrator.domain.experts import Expert
from orchestrator.domain.grades import Grades, GradeSource, GradeTally, grade_tally, lengths_of
from orchestrator.domain.queries import CHARS_PER_TOKEN, Query
from orchestrator.domain.skills import SkillTag
from orchestrator.domain.values import content_hash
from orchestrator.ports.cards import OutcomeRow


class ProfileSet(NamedTuple):
    """Labelled questions with their matched skills, in the same order."""

    hash: str
    queries: tuple[Query, ...]
    skills: tuple[tuple[SkillTag, ...], ...]


class Answered(NamedTuple):
    """A question with its skills, and one expert's response."""

    query: Query
    skills: tuple[SkillTag, ...]
    row: OutcomeRow


class Scores(NamedTuple):
    """Scores in [0, 1] of one expert's responses by query hash, by one source; `judge`: who gave them."""

    source: GradeSource
    judge: str
    by_hash: Mapping[str, float]


class Scored(NamedTuple):
    """A response with its score in [0, 1]."""

    answered: Answered
    score: float


def profile_set(queries: Sequence[Query], skills: Sequence[tuple[SkillTag, ...]]) -> ProfileSet:
    """Pin the questions, their answers and their annotation, `skills` in the order of `queries`, which does
    not change the hash.

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
    scores: Scores | None = None,
) -> CompetenceCard:
    """The card of one expert. Each skill of a question gets one observation, whatever its weight.

    Open questions are in no tally of right and wrong; they have grades.

    Args:
        rows: the expert's outcomes by query hash; questions without one are not counted.
        exam: its graded exam questions.
        scores: of its responses to open questions; None = nobody scored.
    """
    answered = [
        Answered(query, tags, rows[query.content_hash])
        for query, tags in zip(profile.queries, profile.skills, strict=True)
        if query.content_hash in rows
    ]
    exact = [one for one in answered if not one.query.answer_type.is_graded]
    open_ones = [one for one in answered if one.query.answer_type.is_graded]
    return CompetenceCard(
        expert_id=expert.id,
        fingerprint=expert.fingerprint,
        profile_hash=profile.hash,
        outcomes_hash=content_hash(sorted([q.content_hash, row.outcome] for q, _, row in answered)),
        total=_tallies(("all", row) for _, _, row in exact).get("all", Tally()),
        skills=_tallies((tag.name, row) for _, tags, row in exact for tag in tags),
        domains=_tallies((query.domain, row) for query, _, row in exact if query.domain),
        aggregation=_tallies((query.domain or "", row) for query, row in exam),
        mean_tokens=_mean([row.completion_tokens for _, _, row in answered]),
        mean_latency_ms=_mean([row.latency_ms for _, _, row in answered]),
        cost_per_query=_mean([_cost(expert, query, row) for query, _, row in answered]),
        graded=count_grades(open_ones, scores) if scores is not None and open_ones else None,
    )


def count_grades(answered: Sequence[Answered], scores: Scores) -> Grades | None:
    """Grades of one expert's responses to open questions; None where it said something, and nothing of that
    has a score.

    An abstention (empty, or failed by the expert's own fault) has score 0, whoever scores the others.
    """
    given = [(one, one.row.score(scores.by_hash.get(one.row.query_hash))) for one in answered]
    scored = [Scored(one, score) for one, score in given if score is not None]
    own = [one.answered.row for one in scored if one.answered.row.outcome == GRADED]
    n_unscored = len(answered) - len(scored)
    if n_unscored and not own:
        return None
    return Grades(
        source=scores.source,
        judge=scores.judge,
        total=grade_tally(one.score for one in scored),
        skills=_graded((tag.name, one.score) for one in scored for tag in one.answered.skills),
        domains=_graded((q.domain, one.score) for one in scored if (q := one.answered.query).domain),
        n_abstain=len(scored) - len(own),
        n_unscored=n_unscored,
        lengths=lengths_of(len(row.value or "") for row in own),
    )


def _graded(observations: Iterable[tuple[str, float]]) -> dict[str, GradeTally]:
    by_name: dict[str, list[float]] = {}
    for name, score in observations:
        by_name.setdefault(name, []).append(score)
    return {name: grade_tally(values) for name, values in sorted(by_name.items())}


def profile_of(
    expert_ids: tuple[str, ...],
    profile: ProfileSet,
    rows: Sequence[Sequence[OutcomeRow | None]],
    *,
    embeddings: FloatMatrix,
    with_texts: bool = True,
    scores: Sequence[Mapping[str, float]] | None = None,
) -> Profile:
    """The outcomes of a pool and what it said, as data-driven routers and learned votes read them.

    Args:
        rows: [E][Q], in the order of `expert_ids` and of the questions; None = not measured.
        embeddings: float32 [Q, D], unit rows.
        with_texts: whether the rows hold what the experts wrote.
        scores: [E], of responses to open questions by query hash, all by one source; None = nobody scored.
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
        scores=None if scores is None else _score_matrix(profile.queries, rows, scores),
    )


def _score_matrix(
    queries: Sequence[Query],
    rows: Sequence[Sequence[OutcomeRow | None]],
    scores: Sequence[Mapping[str, float]],
) -> FloatMatrix:
    """float32 [E, Q]; nan where a question is not open, or a response was not scored."""
    values = [
        [_matrix_score(*pair, given) for pair in zip(queries, of_expert, strict=True)]
        for of_expert, given in zip(rows, scores, strict=True)
    ]
    return np.array(values, dtype=np.float32).reshape(len(rows), len(queries))


def _matrix_score(query: Query, row: OutcomeRow | None, given: Mapping[str, float]) -> float:
    if row is None or not query.answer_type.is_graded:
        return math.nan
    score = row.score(given.get(row.query_hash))
    return math.nan if score is None else score


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
