from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, UnknownNameError
from orchestrator.evaluation.replay.rows import choose, row_table
from orchestrator.settings.schema import CompositionSettings
from tests.fakes.packages import install, put_on_path

OWN = CompositionSettings(router="knn", aggregator="weighted")


def test_the_reference_rows_are_always_there() -> None:
    names = set(choose(row_table({}), None).names)
    wanted = {"auto", "best_single", "static_top_3", "majority_all", "symbolic_paper", "cluster", "knn"}
    assert wanted | {"oracle"} <= names


def test_a_router_of_a_package_gets_rows_with_both_votes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_points = {"muster.routers": {"brief": "orchestrator.routing.knn:make"}}
    put_on_path(monkeypatch, install(tmp_path, "brief", entry_points))
    table = row_table({})
    assert (table["brief_majority"].router, table["brief_weighted"].aggregator) == ("brief", "weighted")
    assert not {"brief_majority", "brief_weighted"} & set(choose(table, None).names)


def test_published_methods_take_their_published_options() -> None:
    table = row_table({})
    assert table["knn"].router_options["n_neighbours"] == 100
    assert table["cluster"].router_options["n_clusters"] == 8
    assert table["symbolic_paper"].router_options["replacement"] is True


def test_ones_own_compositions_are_rows() -> None:
    assert choose(row_table({"mine": OWN}), ["mine", "oracle"]).specs == {"mine": OWN}


def test_routers_and_votes_are_taken_apart_on_demand() -> None:
    """By default one's own compositions are there, and no pair of a router with a vote."""
    table = row_table({"mine": OWN})
    default, every = choose(table, None).names, choose(table, ["all"]).names
    assert "mine" in default
    assert set(every) - set(default) >= {"knn_weighted", "category_majority"}
    assert set(default) < set(every) == {*table, "oracle"}


def test_an_unknown_row_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown row 'kmn'. Did you mean 'knn'"):
        choose(row_table({}), ["kmn"])


def test_the_verifier_takes_the_place_of_auto() -> None:
    table = row_table({"auto_verifier": OWN}, verifier=True)
    assert table["auto"] == OWN
    assert table["auto_plain"] == row_table({})["auto"]


def test_self_consistency_is_a_row_only_where_samples_were_recorded() -> None:
    assert "self_consistency" not in row_table({})
    assert "self_consistency" in row_table({}, has_samples=True)


def test_a_verifier_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "orchestrator.evaluation.replay.rows.STOCK_COMPOSITIONS", dict.fromkeys(row_table({}), OWN)
    )
    with pytest.raises(ConfigError, match="there is no composition 'auto_verifier'"):
        row_table({}, verifier=True)


def test_sets_of_open_questions_have_rows_that_choose_among_the_same_three() -> None:
    rows = choose(row_table({}, votes=False), None, votes=False)
    three = {"ranker_3", "random_3", "longest_3", "mbr_3"}
    assert three | {"auto", "best_single", "knn", "cluster", "oracle"} == set(rows.names)
    assert all(rows.specs[name].router_options == {"k": 3, "first": 3} for name in three)
    assert rows.specs["knn"].router_options["k"] == 1
    assert not three & set(choose(row_table({}), None).names) - {"random_3"}
