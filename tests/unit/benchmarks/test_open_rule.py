"""The comparison of the open rule's constants, on a pool whose best expert is bad where it is brief."""

import json
from pathlib import Path

import numpy as np
import pytest

from aggregators.outputs.prose.signs import read_signs
from benchmarks.open_rule import VARIANTS, Graded, Variant, gain, graded, main, shrunk_gain
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.files import read_replay_set
from tests.fakes.form_sets import write_form_set
from tests.fakes.prose import moody, steady

N = 150
LEARNING, LEFT_OUT = np.arange(100), np.arange(100, N)


def pool() -> Graded:
    """The best gains (0.6 − 0.1)/5 where two others are asked; questions lie in two directions."""
    said = [[writes(i) for i in range(N)] for writes in (moody(0.9, 0.1), steady(0.6), steady(0.5))]
    signs = [[read_signs("Why?", one.text) for one in row] for row in said]
    grades = np.array([[one.score for one in row] for row in said], dtype=np.float64)
    return Graded(grades, np.array(signs, dtype=np.float64), np.eye(2)[np.arange(N) % 2])


def test_the_rule_and_its_ranker_are_measured_apart() -> None:
    found = gain(pool(), LEARNING, LEFT_OUT, VARIANTS["shipped"])
    assert found.rule == pytest.approx(0.1)
    assert found.calls == pytest.approx(1 + 2 * 0.2)


def test_a_variant_differs_in_one_thing() -> None:
    shipped = VARIANTS["shipped"]
    assert VARIANTS["2 asked"] == Variant(shipped.constants._replace(n_asked=2))
    assert "without length" not in VARIANTS
    assert gain(pool(), LEARNING, LEFT_OUT, VARIANTS["2 asked"]).calls == pytest.approx(1.2)


def test_neighbours_that_are_like_all_others_change_nothing() -> None:
    assert shrunk_gain(pool(), LEARNING, LEFT_OUT, 0.2) == 0.0


def test_a_set_that_is_not_of_open_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not every answer of the set has a score and a text"):
        graded(read_replay_set(write_form_set(tmp_path)), "three")


def test_a_small_set_gives_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    main([str(folder), "--pools", "three", "--seeds", "1", "--draws", "1", "--sizes", "3"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(report["three"]["3"]) == {*VARIANTS, "shrunk 0.1", "shrunk 0.2", "shrunk 0.4"}
