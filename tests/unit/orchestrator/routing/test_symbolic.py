import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import CompetenceCard
from orchestrator.errors import ConfigError
from orchestrator.ports.composing import RoutingInput
from orchestrator.routing import RouterContext, make_router
from orchestrator.routing.symbolic import paper_strength
from tests.fakes.decks import card, deck, routing_input, tally

POOL = deck(
    {
        "adder": {"add": tally(9, 1), "sort": tally(1, 9)},
        "sorter": {"add": tally(2, 8), "sort": tally(10, 0)},
        "poet": {"add": tally(6, 4), "sort": tally(4, 6)},
    }
)
ADD = routing_input("2 + 2", skills={"add": 1.0})


def recruit(context: RouterContext, item: RoutingInput, *, seed: int = 0, **options: object) -> Decision:
    (decision,) = make_router("symbolic", context, options).recruit([item], rng=random.Random(seed))  # type: ignore[arg-type]
    return decision


def paper_deck(**scores: tuple[int, int]) -> RouterContext:
    """Experts with the given (paper score on `a`, paper score on `b`)."""
    return deck(
        {
            name: {
                skill: tally(max(score, 0), max(-score, 0))
                for skill, score in zip(("a", "b"), both, strict=True)
            }
            for name, both in scores.items()
        }
    )


def test_posterior_score_by_hand() -> None:
    """adder: global (1 + 10)/(2 + 20) = .5; on `add` (10·.5 + 9)/(10 + 10) = .7."""
    decision = recruit(POOL, ADD, k=1)
    assert decision.expert_ids == ("adder",)
    assert decision.recruits[0].accuracy == pytest.approx(0.7)
    assert decision.recruits[0].score == pytest.approx(0.7)


def test_matched_skills_count_by_their_weight() -> None:
    """sorter on sort: global 13/22, (10·13/22 + 10)/20; on add: (10·13/22 + 2)/20; weights 3 : 1."""
    on_sort, on_add = (10 * 13 / 22 + 10) / 20, (10 * 13 / 22 + 2) / 20
    decision = recruit(POOL, routing_input(skills={"sort": 0.9, "add": 0.3}), k=1)
    assert decision.expert_ids == ("sorter",)
    assert decision.recruits[0].accuracy == pytest.approx((3 * on_sort + on_add) / 4)


def test_paper_weight_by_hand() -> None:
    """s = 8 and 2 on `add`; totals 0, 4, 0 shift by +1 to 1, 5, 1; squared and normalised g = 1, 25, 1 / 27.

    adder 8·1/27, sorter −6 (not suitable), poet 2·1/27: shares .8 and .2 of the suitable two.
    """
    decision = recruit(POOL, ADD, k=2, score="paper")
    assert [(r.expert_id, round(r.weight, 9)) for r in decision.recruits] == [("adder", 0.8), ("poet", 0.2)]
    assert [r.score for r in decision.recruits] == [8, 2]
    assert decision.recruits[0].evidence[0].score == 8


def test_global_strength_by_hand() -> None:
    """Totals −1, 0, 2 shift to 1, 2, 4; at temperature .5 squared: 1, 4, 16 of 21."""
    assert paper_strength(np.array([-1.0, 0.0, 2.0]), temperature=0.5) == pytest.approx(
        [1 / 21, 4 / 21, 16 / 21]
    )


def test_when_nobody_is_suitable_all_scores_are_shifted() -> None:
    """s = −3 and −1 shift to 1 and 3; totals 1, 1 make g equal: shares 1/4 and 3/4."""
    pool = paper_deck(low=(-3, 4), high=(-1, 2))
    decision = recruit(pool, routing_input(skills={"a": 1.0}), k=2, score="paper")
    assert [(r.expert_id, r.weight) for r in decision.recruits] == [("high", 0.75), ("low", 0.25)]


def test_unsuitable_experts_fill_places_only_after_the_suitable_ones() -> None:
    pool = paper_deck(weak=(1, -1), strong=(-1, 90))
    decision = recruit(pool, routing_input(skills={"a": 1.0}), k=2, score="paper", selection="sample")
    assert decision.expert_ids == ("weak", "strong")


@pytest.mark.parametrize(("score", "best"), [("posterior", "sorter"), ("paper", "sorter")])
def test_without_a_known_skill_the_overall_strength_decides(score: str, best: str) -> None:
    decision = recruit(POOL, routing_input(skills={"astrology": 0.9}), k=1, score=score)
    assert decision.expert_ids == (best,)
    assert decision.notes == ("no known skill: global prior used",)
    assert decision.recruits[0].evidence == ()


def test_evidence_gives_counts_and_interval() -> None:
    (line,) = recruit(POOL, ADD, k=1).recruits[0].evidence
    assert (line.skill, line.weight, line.n) == ("add", 1.0, 10)
    assert 0.5 < line.interval.low < line.accuracy < line.interval.high < 1


def test_runner_up_is_told_what_it_lacks() -> None:
    """adder .7, poet (10·.5 + 6)/20 = .55: .15 more on the only skill."""
    decision = recruit(POOL, ADD, k=1)
    assert decision.runner_up is not None
    assert decision.runner_up.expert_id == "poet"
    assert decision.would_change == "needs >= 0.15 more on 'add'"


def test_runner_up_is_told_the_answers_it_lacks_by_the_papers_score() -> None:
    """sorter fills no place; g is equal for adder and poet, so 8 − 2 = 6 net answers."""
    decision = recruit(POOL, ADD, k=1, score="paper")
    assert decision.would_change == "needs >= 6 more right answers, net of wrong ones, on 'add'"


def test_draws_follow_the_weights() -> None:
    """Shares .8 and .2: of 400 queries with one draw each, 320 ± 40 (five standard errors) get adder."""
    items = [routing_input(f"{i} + 1", skills={"add": 1.0}) for i in range(400)]
    router = make_router("symbolic", POOL, {"k": 1, "score": "paper", "selection": "sample"})
    drawn = Counter(d.expert_ids[0] for d in router.recruit(items, rng=random.Random(3)))
    assert set(drawn) == {"adder", "poet"}
    assert 280 < drawn["adder"] < 360


def test_replacement_may_recruit_an_expert_more_than_once() -> None:
    decision = recruit(POOL, ADD, k=8, score="paper", selection="sample", replacement=True)
    assert len(decision.recruits) == 8
    assert set(decision.expert_ids) <= {"adder", "poet"}
    assert sum(r.weight for r in decision.recruits) == pytest.approx(1)


def test_k_beyond_the_pool_is_reduced_with_a_note() -> None:
    decision = recruit(POOL, ADD, k=9)
    assert len(decision.recruits) == 3
    assert decision.notes == ("k=9 reduced to the 3 experts of the pool",)


def test_trim_gives_the_places_of_rare_experts_to_frequent_ones() -> None:
    """`rare` is best on one query in 30 (3 %): its place goes to one of the other two."""
    pool = deck(
        {
            "often": {"a": tally(9, 1)},
            "rare": {"b": tally(9, 1)},
            "never": {"a": tally(0, 9), "b": tally(0, 9)},
        }
    )
    items = [routing_input(f"a{i}", skills={"a": 1.0}) for i in range(29)]
    items.append(routing_input("b", skills={"b": 1.0}))
    untrimmed = make_router("symbolic", pool, {"k": 1}).recruit(items, rng=random.Random(0))
    trimmed = make_router("symbolic", pool, {"k": 1, "trim": True}).recruit(items, rng=random.Random(0))
    assert untrimmed[-1].expert_ids == ("rare",)
    assert trimmed[-1].expert_ids == ("often",)
    assert trimmed[0].expert_ids == untrimmed[0].expert_ids


def test_trim_keeps_enough_experts_for_distinct_recruits() -> None:
    """30 experts with equal cards get under 5 % each; three must stay."""
    pool = deck({f"e{i}": {"a": tally(5, 5)} for i in range(30)})
    items = [routing_input(f"q{i}", skills={"a": 1.0}) for i in range(40)]
    router = make_router("symbolic", pool, {"selection": "sample", "trim": True})
    for decision in router.recruit(items, rng=random.Random(0)):
        assert len(set(decision.expert_ids)) == 3


def test_an_option_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="router 'symbolic': option 'k'"):
        make_router("symbolic", POOL, {"k": 0})


counts = st.integers(min_value=0, max_value=30)
cards = st.dictionaries(st.sampled_from("abc"), st.builds(tally, counts, counts), max_size=3)
options = st.fixed_dictionaries(
    {
        "k": st.integers(1, 5),
        "selection": st.sampled_from(["top", "sample"]),
        "score": st.sampled_from(["paper", "posterior"]),
        "replacement": st.booleans(),
        "trim": st.booleans(),
    }
)


@given(decks=st.lists(cards, min_size=1, max_size=5), options=options, seed=st.integers(0, 99))
def test_weights_sum_to_one_and_k_are_recruited_whatever_the_cards(
    decks: list[dict[str, CompetenceCard]], options: dict[str, object], seed: int
) -> None:
    names = tuple(f"e{i}" for i in range(len(decks)))
    context = RouterContext(
        {name: card(name, skills) for name, skills in zip(names, decks, strict=True)},  # type: ignore[arg-type]
        None,
        names,
    )
    items = [routing_input("one", skills={"a": 0.5, "c": 1.0}), routing_input("two", skills={"z": 1.0})]
    router = make_router("symbolic", context, options)  # type: ignore[arg-type]
    repeats = options["replacement"] and options["selection"] == "sample"
    for decision in router.recruit(items, rng=random.Random(seed)):
        assert sum(r.weight for r in decision.recruits) == pytest.approx(1)
        expected = options["k"] if repeats else min(int(str(options["k"])), len(names))
        assert len(decision.recruits) == expected
        if not repeats:
            assert len(set(decision.expert_ids)) == len(decision.recruits)
