"""Pictures of a comparison: where names stand, and that the files are written."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from api.pictures.parts import TOP, place_labels, spread
from api.pictures.report import ACCURACY, CALIBRATION, DOMAINS, save_plots
from orchestrator.evaluation.comparison import Ground, Trial

heights = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(sorted)


def test_names_that_collide_are_spread_about_their_mean() -> None:
    """Three at .5 with a gap of .1: .4, .5, .6; one far away stays."""
    assert spread([0.5, 0.5, 0.5, 0.9], gap=0.1) == pytest.approx([0.4, 0.5, 0.6, 0.9])


def test_a_crowd_at_the_top_does_not_push_down_who_stands_far_below() -> None:
    placed = spread([0.1, 0.97, 0.98, 0.98], gap=0.1)
    assert placed == pytest.approx([0.1, TOP - 0.2, TOP - 0.1, TOP])


@given(heights)
def test_spread_names_keep_their_order_and_distance(values: list[float]) -> None:
    placed = spread(values, gap=0.04)
    assert all(b - a >= 0.04 - 1e-9 for a, b in pairwise(placed))
    assert placed[0] >= 0
    assert placed[-1] <= max(1, 0.04 * (len(values) - 1)) + 1e-9


def test_crowded_points_share_a_column_and_a_lonely_one_keeps_its_name_near() -> None:
    spots = {"a": (0.4, 0.5), "b": (0.41, 0.5), "far": (0.8, 0.2)}
    labels = {label.name: label.place for label in place_labels(spots)}
    assert labels["a"][0] == labels["b"][0]
    assert labels["far"] == pytest.approx((0.82, 0.222))


def trials(n: int = 60) -> tuple[Ground, list[Trial]]:
    rng = np.random.default_rng(0)
    ground = Ground(np.arange(n), np.zeros(n, dtype=np.int64), ("sums", "verse") * (n // 2))
    nothing = np.full(n, np.nan)
    names = {"auto": 3, "best_single": 1, "knn": 3, "majority_all": 9, "oracle": 9}
    return ground, [
        Trial(
            name,
            (rng.random(n) < 0.5).astype(np.float64),
            np.full(n, calls),
            rng.random(n) if name == "auto" else nothing,
        )
        for name, calls in names.items()
    ]


def test_all_pictures_are_drawn(tmp_path: Path) -> None:
    ground, of_methods = trials()
    written = save_plots(tmp_path / "new" / "folder", ground, of_methods, subtitle="60 questions")
    assert [path.name for path in written] == [ACCURACY, DOMAINS, CALIBRATION]
    for path in written:
        picture = imread(path)
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.05


def test_pictures_without_their_data_are_left_out(tmp_path: Path) -> None:
    ground, of_methods = trials()
    bare = ground._replace(domain=("",) * 60)
    written = save_plots(tmp_path, bare, of_methods[1:], subtitle="")
    assert [path.name for path in written] == [ACCURACY]
