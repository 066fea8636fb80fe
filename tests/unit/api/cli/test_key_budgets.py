from api.cli.keys import _budget
from api.schemas.keys import KeyBudgetWire, KeyView, SpendView


def key(*, budget: KeyBudgetWire | None, used: SpendView | None = None) -> KeyView:
    return KeyView(
        id="key_1",
        key="sk-1…",
        name="",
        state="valid",
        scopes=[],
        experts=None,
        created_at=0,
        expires_at=None,
        revoked_at=None,
        requests_per_minute=None,
        tokens_per_minute=None,
        budget=budget,
        used=used,
        held=None,
    )


def test_large_budgets_are_told_to_the_last_token() -> None:
    of_a_month = KeyBudgetWire(per="month", tokens=20_000_000, usd=0.5)
    assert _budget(key(budget=of_a_month)) == "0 of 20,000,000 tokens, 0 of 0.5 usd a month"
    used = SpendView(tokens=1_234_567, usd=0.1 + 0.2, engine_seconds=3.0)
    said = "1,234,567 of 20,000,000 tokens, 0.3 of 0.5 usd a month"
    assert _budget(key(budget=of_a_month, used=used)) == said


def test_a_key_without_a_budget_says_so() -> None:
    assert _budget(key(budget=None)) == "none"
