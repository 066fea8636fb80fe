from api.cli.shadow_lines import shadow_lines
from api.schemas.shadow import IntervalView, ShadowView


def interval(value: float, low: float, high: float) -> IntervalView:
    return IntervalView(value=value, ci95=[low, high])


def compared(**given: object) -> ShadowView:
    fields: dict[str, object] = {
        "composition": "muster/knn",
        "share": 0.1,
        "n": 20,
        "n_unread": 1,
        "n_failed": 0,
        "agreement": interval(0.9, 0.7, 0.97),
        "cost_usd": 0.000012,
        "shadow_cost_usd": 0.0000025,
        "seconds": 12_345.6,
        "shadow_seconds": 1.5,
        "more_usd": interval(0.0000095, -0.000001, 0.00002),
        "more_seconds": None,
    }
    return ShadowView.model_validate({**fields, **given})


def test_costs_are_written_without_an_exponent_and_differences_with_their_sign() -> None:
    assert shadow_lines(compared()) == [
        "20 pairs with 'muster/knn', 1 cannot be read",
        "agreement  90.0% (95 % interval 70.0% to 97.0%)",
        "USD        0.000012 live, 0.0000025 shadow, +0.0000095 more (95 % interval -0.000001 to +0.00002)",
        "seconds    12,350 live, 1.5 shadow",
    ]


def test_without_pairs_it_is_said_what_is_compared() -> None:
    assert shadow_lines(compared(n=0, composition=None)) == [
        "no pairs yet; muster.shadow.composition is not set"
    ]
