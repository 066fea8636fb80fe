from pathlib import Path

import pytest
from matplotlib import colormaps
from matplotlib.image import imread

from api.pictures.heatmap import _appearance, _cell, _rows, ink_on, save_heatmap
from orchestrator.domain.cards import CompetenceCard, Tally
from orchestrator.domain.grades import Grades, GradeSource, grade_tally
from orchestrator.errors import CardError

COLOURS = colormaps["cividis"]


def card_of(expert_id: str, **skills: Tally) -> CompetenceCard:
    return CompetenceCard(
        expert_id=expert_id,
        fingerprint="f",
        profile_hash="p",
        outcomes_hash="o",
        total=Tally(n_right=1, n_wrong=1),
        skills=skills,
    )


def test_writes_a_picture(tmp_path: Path) -> None:
    cards = {
        "a": card_of("a", algebra=Tally(n_right=3), logic=Tally(n_abstain=2)),
        "b": card_of("b", algebra=Tally(n_right=1, n_wrong=3)),
        "judge": card_of("judge"),
    }
    save_heatmap(cards, tmp_path / "map.png")
    height, width, channels = imread(tmp_path / "map.png").shape
    assert min(height, width) > 200
    assert channels == 4


def test_a_cell_shows_the_shrunk_mean_and_the_count() -> None:
    """Beta(0.5 * 4 + 6, 0.5 * 4 + 0): mean 8 / 10."""
    label, face, hatch, _ = _appearance(_cell(card_of("a", algebra=Tally(n_right=6)), "algebra"), COLOURS)
    assert label == "0.80\nn=6"
    assert face == pytest.approx(COLOURS(0.8))
    assert hatch is None


def test_no_data_and_abstentions_look_different_from_scores_and_each_other() -> None:
    card = card_of("a", silent=Tally(n_abstain=3), algebra=Tally(n_wrong=3))
    looks = [_appearance(_cell(card, row), COLOURS) for row in ("unknown", "silent", "algebra")]
    assert [look[0] for look in looks][:2] == ["–", "abst.\nn=3"]
    assert len({look[2] for look in looks}) == 3


def graded(expert_id: str) -> CompetenceCard:
    """Scores .8, .8 of letters; none of what it was right at."""
    scores = grade_tally([0.8, 0.8])
    grades = Grades(
        source=GradeSource.RUBRIC, total=scores, skills={"letters": scores}, domains={"mail": scores}
    )
    return card_of(expert_id).replaced(total=Tally(), graded=grades)


def test_grades_are_rows_of_their_own_below_the_others(tmp_path: Path) -> None:
    cards = {"a": graded("a"), "b": card_of("b", algebra=Tally(n_right=3))}
    assert _rows(cards) == ["algebra", "grade: domain: mail", "grade: letters"]
    save_heatmap(cards, tmp_path / "map.png")
    assert min(imread(tmp_path / "map.png").shape[:2]) > 200


def test_a_cell_of_grades_shows_their_shrunk_mean() -> None:
    """As a whole (4·.5 + 1.6) / 6 = .6; of letters (4·.6 + 1.6) / 6 = .667."""
    assert _appearance(_cell(graded("a"), "grade: letters"), COLOURS)[0] == "0.67\nn=2"
    assert _appearance(_cell(graded("a"), "algebra"), COLOURS)[0] == "–"


def test_ink_contrasts_with_its_cell() -> None:
    assert (ink_on((0.0, 0.1, 0.3)), ink_on((1.0, 0.9, 0.2))) == ("white", "black")


def test_the_most_observed_skills_are_kept() -> None:
    skills = {f"skill{i:03}": Tally(n_right=i + 1) for i in range(70)}
    rows = _rows({"a": card_of("a", **skills)})
    assert rows == [f"skill{i:03}" for i in range(10, 70)]


def test_cards_without_skills_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="no skill"):
        save_heatmap({"judge": card_of("judge")}, tmp_path / "map.png")


def test_domains_stand_below_the_skills() -> None:
    card = card_of("a", algebra=Tally(n_right=1)).model_copy(
        update={"domains": {"law": Tally(n_right=2), "physics": Tally(n_wrong=1)}}
    )
    assert _rows({"a": card}) == ["algebra", "domain: law", "domain: physics"]
