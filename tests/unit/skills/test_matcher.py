import numpy as np
import pytest

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.skills import SkillTag
from skills.matcher import EmbeddingMatcher

ANGLES = {"algebra": 0, "spelling": 90, "equations": 30, "letters": 80, "cooking": 225}


class PlaneEmbedder:
    """Each word at its angle, so that similarities are cosines by hand; counts what it embeds."""

    name = "plane"

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: object) -> FloatMatrix:
        names = [str(text) for text in texts]  # type: ignore[attr-defined]
        self.encoded += names
        angles = np.radians([ANGLES[name] for name in names])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def tag(name: str, weight: float = 1.0) -> SkillTag:
    return SkillTag(name=name, weight=weight)


def matcher(floor: float = 0.4) -> EmbeddingMatcher:
    return EmbeddingMatcher(PlaneEmbedder(), ["algebra", "spelling"], floor=floor)


def test_the_same_name_matches_with_its_weight() -> None:
    assert matcher().match([[tag("Algebra.", 0.6)]]) == [(tag("algebra", 0.6),)]


def test_a_free_name_matches_the_nearest_known_one() -> None:
    """equations is 30 degrees from algebra: weight 0.8 * cos 30 = 0.693."""
    matched = matcher().match([[tag("equations", 0.8)]])[0]
    assert [(t.name, pytest.approx(t.weight, abs=1e-3)) for t in matched] == [("algebra", 0.693)]


def test_below_the_floor_a_skill_is_left_out() -> None:
    assert matcher().match([[tag("cooking")]]) == [()]
    assert matcher(floor=0.9).match([[tag("equations")]]) == [()]


def test_skills_that_meet_are_merged_and_the_heaviest_comes_first() -> None:
    """letters: cos 10 = 0.985 of spelling; equations: 0.5 * 0.866 = 0.433 < 0.5 of algebra itself."""
    matched = matcher().match([[tag("algebra", 0.5), tag("equations", 0.5), tag("letters")]])[0]
    assert [t.name for t in matched] == ["spelling", "algebra"]
    assert [t.weight for t in matched] == pytest.approx([0.9848, 0.5], abs=1e-4)


def test_known_skills_are_embedded_once_and_only_when_needed() -> None:
    embedder = PlaneEmbedder()
    lazy = EmbeddingMatcher(embedder, ["algebra", "spelling"])
    lazy.match([[tag("algebra")]])
    assert embedder.encoded == []
    lazy.match([[tag("letters")], [tag("equations")]])
    lazy.match([[tag("cooking")]])
    assert embedder.encoded.count("algebra") == 1


def test_without_known_skills_nothing_matches() -> None:
    assert EmbeddingMatcher(PlaneEmbedder(), []).match([[tag("algebra")], []]) == [(), ()]
