import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from skills.annotator import EmbeddingAnnotator, LlmAnnotator, agreed_skills, sampled_names
from skills.vocabulary import Vocabulary, vocabulary_of


class PlaneEmbedder:
    """Texts to angles on a circle (degrees in the text), so that similarities are cosines by hand."""

    name = "plane"

    def encode(self, texts: object) -> FloatMatrix:
        angles = np.radians([float(str(text).split()[-1]) for text in texts])  # type: ignore[attr-defined]
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def query(text: str) -> Query:
    return Query(id=text, question=text)


def sample(text: str, *, error_code: str | None = None) -> Response:
    return Response(expert_id="m", role=CallRole.ANNOTATE, stage=0, text=text, error_code=error_code)


VOCABULARY = vocabulary_of(["east 0", "north 90", "northeast 45"])


def test_nearest_entries_come_heaviest_first_with_their_cosine() -> None:
    """At 30 degrees: northeast cos 15 = 0.966, east cos 30 = 0.866, north cos 60 = 0.5."""
    annotator = EmbeddingAnnotator(PlaneEmbedder(), VOCABULARY, floor=0.6, max_skills=3)
    tags = annotator.annotate([query("at 30")], [()])[0]
    assert [tag.name for tag in tags] == ["northeast 45", "east 0"]
    assert [tag.weight for tag in tags] == pytest.approx([0.9659, 0.8660], abs=1e-4)


def test_max_skills_limits_the_tags() -> None:
    annotator = EmbeddingAnnotator(PlaneEmbedder(), VOCABULARY, floor=0.0, max_skills=1)
    assert [len(tags) for tags in annotator.annotate([query("at 30"), query("at 80")], [(), ()])] == [1, 1]


def test_a_further_skill_needs_its_share_of_the_best_similarity() -> None:
    """At 30 degrees east has 0.866 / 0.966 = 0.897 of the best similarity, north 0.518."""
    shares = {0.5: 3, 0.85: 2, 0.9: 1}
    for share, n_skills in shares.items():
        annotator = EmbeddingAnnotator(PlaneEmbedder(), VOCABULARY, relative_floor=share)
        assert len(annotator.annotate([query("at 30")], [()])[0]) == n_skills


def test_a_query_below_the_floor_has_no_skills() -> None:
    annotator = EmbeddingAnnotator(PlaneEmbedder(), VOCABULARY, floor=0.25)
    assert annotator.annotate([query("at 225")], [()]) == [()]


def test_opposite_meaning_is_no_skill_even_at_floor_zero() -> None:
    annotator = EmbeddingAnnotator(PlaneEmbedder(), vocabulary_of(["west 180"]), floor=0.0)
    assert annotator.annotate([query("at 0")], [()]) == [()]


def test_centroids_stand_for_names_that_say_nothing() -> None:
    vectors = np.array([[1, 0], [0, 1]], dtype=np.float32)
    annotator = EmbeddingAnnotator(PlaneEmbedder(), Vocabulary(("first", "second"), vectors), max_skills=1)
    assert annotator.annotate([query("at 80")], [()])[0][0].name == "second"


def test_embedding_needs_no_calls_and_no_queries_give_no_tags() -> None:
    annotator = EmbeddingAnnotator(PlaneEmbedder(), VOCABULARY)
    assert annotator.calls(query("at 0")) is None
    assert annotator.annotate([], []) == []


def test_five_samples_at_070_are_asked_with_different_seeds() -> None:
    ask = LlmAnnotator("m").calls(query("What is 2 + 2?"))
    assert ask is not None
    assert [(c.expert_id, c.role, c.sample_ix, c.sampling.temperature) for c in ask.calls] == [
        ("m", CallRole.ANNOTATE, i, 0.7) for i in range(5)
    ]
    assert len({c.sampling.seed for c in ask.calls}) == 5
    assert "What is 2 + 2?" in ask.calls[0].messages[0].content


def test_samples_are_lowered_stripped_and_cut() -> None:
    text = "Algebra, Unit  conversion.\n'Geometry'!, , a name that is far too long"
    assert sampled_names(text) == ["algebra", "unit conversion", "geometry"]


def test_skills_in_more_than_one_sample_stay_with_their_share() -> None:
    """algebra in 4 of 5 samples, fractions in 2, logic in 1; a repeat within a sample counts once."""
    samples = ["Algebra, logic", "algebra, fractions", "Algebra.", "fractions, fractions", "algebra"]
    assert agreed_skills(samples) == (
        SkillTag(name="algebra", weight=0.8),
        SkillTag(name="fractions", weight=0.4),
    )


def test_annotation_is_kept_by_content() -> None:
    annotator = LlmAnnotator("m")
    samples = [sample("algebra")] * 5
    tags = annotator.annotate([query("x?")], [samples])
    assert tags == [(SkillTag(name="algebra"),)]
    same = query("x?").model_copy(update={"id": "another id"})
    assert annotator.calls(same) is None
    assert annotator.annotate([same], [()]) == tags


def test_failed_samples_do_not_count_and_total_failure_is_not_kept() -> None:
    annotator = LlmAnnotator("m")
    failed = [sample("algebra", error_code="engine_crashed")] * 5
    assert annotator.annotate([query("x?")], [failed]) == [()]
    assert annotator.calls(query("x?")) is not None
    mixed = [*failed[:3], sample("algebra"), sample("algebra")]
    assert annotator.annotate([query("x?")], [mixed]) == [(SkillTag(name="algebra"),)]


def test_the_oldest_annotation_leaves_a_full_cache() -> None:
    annotator = LlmAnnotator("m", cache_size=1)
    for text in ("x?", "y?"):
        annotator.annotate([query(text)], [[sample("algebra")] * 2])
    assert annotator.calls(query("x?")) is not None
    assert annotator.calls(query("y?")) is None


@given(st.lists(st.text(alphabet="abc ,.\n", max_size=20), max_size=5))
def test_the_order_of_samples_does_not_matter(samples: list[str]) -> None:
    tags = agreed_skills(samples)
    assert tags == agreed_skills(samples[::-1])
    assert all(0 < tag.weight <= 1 for tag in tags)
