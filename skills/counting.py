"""Graded outcomes to competence cards: pure counting."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.cards import CompetenceCard, Tally
from orchestrator.domain.experts import Expert
from orchestrator.domain.queries import CHARS_PER_TOKEN, Query
from orchestrator.domain.skills import SkillTag
from orchestrator.domain.values import content_hash
from orchestrator.ports import OutcomeRow


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
