"""Skill vocabularies: the built-in list, a user's list, or one induced from the profile questions."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.skills import MAX_SKILL_CHARS, normalise_skill
from orchestrator.errors import ConfigError, SkillError
from orchestrator.ports.skills import Embedder

MAX_SKILLS = 5_000
MAX_LINE_CHARS = 1_000
KMEANS_ROUNDS = 30
KMEANS_STARTS = 4
MIN_SUPPORT = 3
"""Questions behind an induced skill, and behind each word of its name: fewer say nothing about an expert."""

_WORD = re.compile(r"[a-z][a-z'-]{2,}")
_STOPWORD_LINES = """
a about above after all also am an and any are as at be because been before being below between both
but by can could did do does doing down each else ever every few find first following for from
further give given had has have having he her here hers him his how i if in into is it its itself
just last least less let many may me more most much must my need no nor not now of off on once one
only option or other our out over own please same she should since so some such tell than that the
their them then there these they this those through to too under until up use used using very was
we were what when where which while who whom whose why will with within without would write you
your answer question
"""
_STOPWORDS = frozenset(_STOPWORD_LINES.split())

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """Skill names, and their vectors where these are not just the names' embeddings.

    Attributes:
        names: 1 to 5,000 unique, normalised names.
        vectors: float32 [len(names), D], unit rows; None = embed the names.
    """

    names: tuple[str, ...]
    vectors: FloatMatrix | None = None

    def embedded(self, embedder: Embedder) -> FloatMatrix:
        """float32 [len(names), D], unit rows."""
        return embedder.encode(self.names) if self.vectors is None else self.vectors


def vocabulary_of(names: Iterable[str]) -> Vocabulary:
    """A vocabulary from a list of names, normalised and without repeats, in order.

    Raises:
        SkillError: no name, more than 5,000, or one that is blank or longer than 64 characters.
    """
    unique: dict[str, None] = {}
    for name in islice(names, MAX_SKILLS + 1):
        unique[_checked(name)] = None
        if len(unique) > MAX_SKILLS:
            raise SkillError(
                f"the skill vocabulary has more than {MAX_SKILLS:,} entries.",
                param="muster.skills.vocabulary",
                remedy="Merge close skills, or let Muster induce a vocabulary ('induced').",
            )
    if not unique:
        raise SkillError(
            "the skill vocabulary is empty.",
            param="muster.skills.vocabulary",
            remedy="Add at least one skill, or use 'builtin' or 'induced'.",
        )
    return Vocabulary(tuple(unique))


def _checked(name: str) -> str:
    skill = normalise_skill(name)
    if not skill or len(skill) > MAX_SKILL_CHARS:
        raise SkillError(
            f"'{name[:80]}' is not a skill name.",
            param="muster.skills.vocabulary",
            remedy=f"Use 1 to {MAX_SKILL_CHARS} letters, digits and blanks.",
        )
    return skill


def builtin_vocabulary() -> Vocabulary:
    """Common skills of many domains; a start for pools without a profile set of their own."""
    text = resources.files("skills").joinpath("vocabulary.txt").read_text(encoding="utf-8")
    return vocabulary_of(_entries(text.splitlines()))


def load_vocabulary(path: Path) -> Vocabulary:
    """A file with one skill a line; blank lines and lines that start with `#` are skipped.

    Raises:
        ConfigError: the file cannot be read, or its list is empty, too long, or has a bad name.
    """
    try:
        with path.open(encoding="utf-8") as file:
            # Twice the limit leaves room for comments; a million lines are not read in.
            text = file.read((2 * MAX_SKILLS + 2) * MAX_LINE_CHARS)
        lines = [line[:MAX_LINE_CHARS] for line in text.split("\n")[: 2 * MAX_SKILLS + 2]]
        return vocabulary_of(_entries(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the skill list cannot be read: {error}", file=str(path), param="muster.skills.vocabulary"
        ) from error
    except SkillError as error:
        raise ConfigError(error.message, file=str(path), param="muster.skills.vocabulary") from error


def _entries(lines: Iterable[str]) -> list[str]:
    stripped = (line.strip() for line in lines)
    return [line for line in stripped if line and not line.startswith("#")]


def default_size(n_texts: int) -> int:
    """Clusters to induce: the square root of the number of questions, within 2..64."""
    return max(2, min(64, round(math.sqrt(n_texts))))


def induce(texts: Sequence[str], embedder: Embedder, *, n: int | None = None, seed: int = 0) -> Vocabulary:
    """A vocabulary from questions alone: clusters of their embeddings, named by typical words.

    Skills are the clusters of spherical k-means (Dhillon & Modha 2001, 10.1023/A:1007612920971); a
    skill's vector is its centroid, so that the nearest-entry annotator assigns a new question to
    the cluster it belongs to, with no label and no model call. Clusters of fewer than `MIN_SUPPORT`
    questions are no skills where larger ones are. Names are the words with the highest class-based tf-idf
    (arXiv:2203.05794) and serve only readers.

    Args:
        texts: the profile questions as routers read them; at least one.
        n: clusters, 1..5,000; fewer when there are fewer different texts; None = by their number.

    Raises:
        SkillError: no texts, or n out of range.
    """
    unique = sorted(set(texts))
    size = default_size(len(unique)) if n is None else n
    if not unique or not 1 <= size <= MAX_SKILLS:
        raise SkillError(
            f"cannot induce {size} skills from {len(unique)} questions.",
            param="muster.skills.n_induced",
            remedy=f"Give at least one question and 1 to {MAX_SKILLS:,} skills.",
        )
    vectors = embedder.encode(unique)
    labels, centroids = _best_clustering(vectors, min(size, len(unique)), np.random.default_rng(seed))
    names = _cluster_names(unique, labels, len(centroids))
    kept = _supported(labels, len(centroids))
    return Vocabulary(tuple(names[cluster] for cluster in kept), centroids[kept])


def _supported(labels: IntArray, k: int) -> list[int]:
    """The clusters with enough questions; all of them, where none has."""
    sizes = np.bincount(labels, minlength=k)
    return [cluster for cluster in range(k) if sizes[cluster] >= MIN_SUPPORT] or list(range(k))


def _best_clustering(vectors: FloatMatrix, k: int, rng: np.random.Generator) -> tuple[IntArray, FloatMatrix]:
    """Of several starts, the clustering whose points lie nearest to their centroids."""
    runs = [_kmeans(vectors, k, rng) for _ in range(KMEANS_STARTS)]
    return max(runs, key=lambda run: float((vectors * run[1][run[0]]).sum()))


def _kmeans(vectors: FloatMatrix, k: int, rng: np.random.Generator) -> tuple[IntArray, FloatMatrix]:
    """Spherical k-means: labels int64 [Q] and unit centroids float32 [k, D]."""
    centroids = _spread_start(vectors, k, rng)
    labels = np.full(len(vectors), -1, dtype=np.int64)
    for _ in range(KMEANS_ROUNDS):
        similarity = vectors @ centroids.T
        new_labels = similarity.argmax(axis=1)
        _fill_empty(new_labels, similarity, k)
        if np.array_equal(new_labels, labels):
            break
        labels = new_labels
        centroids = np.stack([_unit(vectors[labels == j].sum(axis=0)) for j in range(k)])
    return labels, centroids


def _spread_start(vectors: FloatMatrix, k: int, rng: np.random.Generator) -> FloatMatrix:
    """k-means++: each further start is drawn with probability by its distance from the others."""
    chosen = [int(rng.integers(len(vectors)))]
    nearest = np.full(len(vectors), -1.0)
    while len(chosen) < k:
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
        distance = np.clip(1.0 - nearest, 0.0, None).astype(np.float64)
        distance[chosen] = 0.0
        total = distance.sum()
        free = np.setdiff1d(np.arange(len(vectors)), chosen)
        pick = rng.choice(len(vectors), p=distance / total) if total > 0 else free[0]
        chosen.append(int(pick))
    return vectors[chosen]


def _fill_empty(labels: IntArray, similarity: FloatMatrix, k: int) -> None:
    """Give each empty cluster the worst-placed point of a cluster that can spare it; in place."""
    for cluster in set(range(k)) - set(labels.tolist()):
        fit = similarity[np.arange(len(labels)), labels].copy()
        sizes = np.bincount(labels, minlength=k)
        fit[sizes[labels] < 2] = np.inf
        labels[int(fit.argmin())] = cluster


def _unit(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norm = float(np.linalg.norm(vector))
    if norm > 0:
        return np.asarray(vector / norm, dtype=np.float32)
    basis = np.zeros_like(vector)
    basis[0] = 1.0
    return basis


def _cluster_names(texts: Sequence[str], labels: IntArray, k: int) -> tuple[str, ...]:
    """Unique names of one to three words each; a cluster without a typical word is numbered."""
    counts = [_document_counts(texts, labels, cluster) for cluster in range(k)]
    overall: Counter[str] = sum(counts, Counter())
    names: list[str] = []
    for cluster, words in enumerate(counts):
        ranked = _typical_words(words, overall, k, size=int((labels == cluster).sum()))
        candidates = [" ".join(ranked[:i]) for i in range(min(2, len(ranked)), len(ranked) + 1)]
        free = [name for name in candidates if name and name not in names]
        names.append((free or [f"{' '.join(ranked[:2])} cluster {cluster + 1}".strip()])[0])
    return tuple(names)


def _document_counts(texts: Sequence[str], labels: IntArray, cluster: int) -> Counter[str]:
    """In how many of a cluster's texts each content word occurs."""
    return Counter(
        word
        for text, label in zip(texts, labels, strict=True)
        if label == cluster
        for word in set(_WORD.findall(text.lower())) - _STOPWORDS
    )


def _typical_words(words: Counter[str], overall: Counter[str], k: int, *, size: int) -> list[str]:
    """At most four words, best first: frequent in this cluster, rare in the others."""
    average = sum(overall.values()) / k
    shared = {w: c for w, c in words.items() if c >= max(MIN_SUPPORT, 0.15 * size)}
    ranked = sorted(shared, key=lambda w: (-shared[w] * math.log(1 + average / overall[w]), w))
    return [normalise_skill(word)[: MAX_SKILL_CHARS // 4 - 4] for word in ranked[:4]]
