"""What the half of routing that needs no cards costs: one embedding a text."""

from collections.abc import Sequence

import numpy as np
import pytest

from orchestrator.compositions.reading import SkillReader
from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import Query
from skills.annotator import EmbeddingAnnotator, LlmAnnotator
from skills.vocabulary import Vocabulary


class Counting:
    """Turns texts to unit vectors by their length, and remembers what it was given."""

    name = "counting"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        self.texts += texts
        angles = np.array([len(text) for text in texts], dtype=np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


QUERIES = [Query(id=str(n), question="x" * n) for n in (3, 4)]


@pytest.mark.parametrize("annotates", [True, False])
def test_a_question_is_embedded_once_for_its_skills_and_its_router(annotates: bool) -> None:
    embedder = Counting()
    annotator = EmbeddingAnnotator(embedder, Vocabulary(("abc",))) if annotates else LlmAnnotator("one")
    inputs = SkillReader(annotator, None, embedder).read(QUERIES, [(), ()])
    assert [text for text in embedder.texts if text.startswith("x")] == ["xxx", "xxxx"]
    assert [skill.name for skill in inputs[0].skills] == (["abc"] if annotates else [])


def test_skills_do_not_depend_on_who_embedded_the_question() -> None:
    embedder = Counting()
    annotator = EmbeddingAnnotator(embedder, Vocabulary(("abc",)))
    read = SkillReader(annotator, None, embedder).read(QUERIES, [(), ()])
    assert [item.skills for item in read] == annotator.annotate(QUERIES, [(), ()])
