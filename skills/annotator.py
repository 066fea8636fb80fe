"""Queries to skills: by nearest vocabulary entries, or by asking a model."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence

import numpy as np

from orchestrator import prompts
from orchestrator.domain.assignments import Ask, Call, CallRole, Response, Sampling
from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag, normalise_skill
from orchestrator.domain.values import seed_of
from orchestrator.ports.skills import Embedder
from orchestrator.questions.chats import text_read
from skills.vocabulary import Vocabulary

N_SAMPLES = 5
TEMPERATURE = 0.7
MAX_NAME_CHARS = 20
MIN_SAMPLES = 2
MAX_LLM_SKILLS = 5


class EmbeddingAnnotator:
    """Skills = the vocabulary entries nearest to the question; weight = cosine similarity (ours).

    A question with nothing above the floor has no skills: routers then use the global prior.

    Args:
        floor: smallest similarity that still means the skill, in [0, 1].
        relative_floor: a further skill needs this share of the best one's similarity, in [0, 1]; what
            lies below is a neighbour in the vocabulary rather than a second skill.
        max_skills: most skills of one question, >= 1.
    """

    def __init__(
        self,
        embedder: Embedder,
        vocabulary: Vocabulary,
        *,
        floor: float = 0.25,
        relative_floor: float = 0.0,
        max_skills: int = 3,
    ) -> None:
        self._embedder = embedder
        self._vocabulary = vocabulary
        self._floor = max(floor, 1e-6)
        self._relative_floor = relative_floor
        self._max_skills = max_skills
        self._vectors = vocabulary.embedded(embedder) if vocabulary.vectors is not None else None

    def calls(self, query: Query) -> Ask | None:
        del query  # embedding a question needs no model call
        return None

    def annotate(
        self,
        queries: Sequence[Query],
        responses: Sequence[Sequence[Response]],
        *,
        vectors: FloatMatrix | None = None,
    ) -> list[tuple[SkillTag, ...]]:
        del responses  # there were no calls
        if not queries:
            return []
        if self._vectors is None:  # names are embedded at the first use: it may load a model
            self._vectors = self._vocabulary.embedded(self._embedder)
        if vectors is None:
            vectors = self._embedder.encode([text_read(query) for query in queries])
        # In float32 the last digits depend on how many queries there are; a query's skills must not.
        similarity = np.round((vectors @ self._vectors.T).astype(np.float64), 5)
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : self._max_skills]
        return [
            self._tags(row, order) for row, order in zip(similarity.tolist(), nearest.tolist(), strict=True)
        ]

    def _tags(self, similarity: list[float], order: list[int]) -> tuple[SkillTag, ...]:
        names = self._vocabulary.names
        floor = max(self._floor, self._relative_floor * similarity[order[0]])
        return tuple(
            SkillTag(name=names[i], weight=min(similarity[i], 1.0)) for i in order if similarity[i] >= floor
        )


class LlmAnnotator:
    """Skills = what a model names repeatedly. Source: Symbolic-MoE, arXiv:2503.05641, section 3.1.

    Five samples at temperature 0.7, each a comma-separated list; names are lower-cased, freed of
    punctuation and dropped when longer than 20 characters; those in more than one sample stay, with
    the share of samples as weight. Results are kept by content hash.

    Args:
        expert_id: the model that annotates.
        cache_size: annotated questions kept in memory, >= 1.
    """

    def __init__(
        self, expert_id: str, *, seed: int = 0, max_tokens: int = 64, cache_size: int = 20_000
    ) -> None:
        self._expert_id = expert_id
        self._seed = seed
        self._max_tokens = max_tokens
        self._cache_size = cache_size
        self._known: OrderedDict[str, tuple[SkillTag, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def calls(self, query: Query) -> Ask | None:
        if self._recall(query) is not None:
            return None
        messages = prompts.annotate(text_read(query))
        return Ask(
            calls=tuple(
                Call(
                    expert_id=self._expert_id,
                    role=CallRole.ANNOTATE,
                    messages=messages,
                    sampling=Sampling(
                        max_tokens=self._max_tokens,
                        temperature=TEMPERATURE,
                        seed=seed_of([self._seed, query.content_hash, i]),
                    ),
                    sample_ix=i,
                )
                for i in range(N_SAMPLES)
            )
        )

    def annotate(
        self,
        queries: Sequence[Query],
        responses: Sequence[Sequence[Response]],
        *,
        vectors: FloatMatrix | None = None,
    ) -> list[tuple[SkillTag, ...]]:
        del vectors  # the model read the text itself
        return [self._annotated(query, answers) for query, answers in zip(queries, responses, strict=True)]

    def _annotated(self, query: Query, responses: Sequence[Response]) -> tuple[SkillTag, ...]:
        known = self._recall(query)
        if known is not None:
            return known
        samples = [r.text for r in responses if r.role is CallRole.ANNOTATE and not r.failed]
        tags = agreed_skills(samples)
        if samples:
            self._remember(query, tags)
        return tags

    def _recall(self, query: Query) -> tuple[SkillTag, ...] | None:
        with self._lock:
            return self._known.get(query.content_hash)

    def _remember(self, query: Query, tags: tuple[SkillTag, ...]) -> None:
        with self._lock:
            self._known[query.content_hash] = tags
            while len(self._known) > self._cache_size:
                self._known.popitem(last=False)


def agreed_skills(samples: Sequence[str]) -> tuple[SkillTag, ...]:
    """Skills that at least two samples name, most agreed first, then by name; at most five.

    Their weight is the share of samples that name them, in (0, 1].
    """
    counts = Counter(name for sample in samples for name in set(sampled_names(sample)))
    agreed = [(name, n) for name, n in counts.items() if n >= MIN_SAMPLES]
    agreed.sort(key=lambda item: (-item[1], item[0]))
    return tuple(SkillTag(name=name, weight=n / len(samples)) for name, n in agreed[:MAX_LLM_SKILLS])


def sampled_names(sample: str) -> list[str]:
    """`"Algebra, Unit conversion."` -> `["algebra", "unit conversion"]`."""
    names = (normalise_skill(part) for part in sample.replace("\n", ",").split(","))
    return [name for name in names if 0 < len(name) <= MAX_NAME_CHARS]
