import numpy as np
import pytest

from orchestrator.domain.cards import Tally, shrunk_posterior
from orchestrator.routing.parts.deck import Deck, global_accuracy
from tests.fakes.decks import deck, routing_input, tally

POOL = deck({"one": {"a": tally(3, 1), "b": tally(0, 2)}, "two": {"b": tally(5, 0)}})


def test_the_matrix_of_means_agrees_with_the_posterior_of_each_card() -> None:
    table = Deck(POOL, prior_strength=4.0)
    for row, expert_id in enumerate(POOL.expert_ids):
        held = POOL.cards[expert_id]
        for column, skill in enumerate("ab"):
            expected = shrunk_posterior(
                held.skills.get(skill, Tally()), prior_mean=global_accuracy(held.total), prior_strength=4.0
            )
            assert table.mean[row, column] == pytest.approx(expected.mean)


def test_an_expert_without_observations_has_even_odds() -> None:
    assert global_accuracy(Tally()) == 0.5


def test_tags_that_no_card_knows_are_left_out() -> None:
    table = Deck(POOL, prior_strength=4.0)
    tags = [routing_input(skills=skills).skills for skills in ({"z": 1.0}, {"a": 0.5, "z": 1.0}, {})]
    laid_out = table.tag_table(tags)
    assert [[tag.name for tag in known] for known in laid_out.known] == [[], ["a"], []]
    assert laid_out.queries.tolist() == [1]


def test_an_unknown_query_gets_the_global_accuracies() -> None:
    table = Deck(POOL, prior_strength=4.0)
    assert np.array_equal(table.accuracy(table.tag_table([()]))[0], table.prior)


def test_suitability_is_the_sum_of_paper_scores() -> None:
    """one: 2 on `a`, −2 on `b`; two: 0 and 5. Tag weights do not count."""
    table = Deck(POOL, prior_strength=4.0)
    laid_out = table.tag_table([routing_input(skills={"a": 0.4, "b": 0.9}).skills])
    assert table.suitability(laid_out).tolist() == [[0, 5]]
