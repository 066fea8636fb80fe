"""Spending: what questions may use at most, what they used, and whether a key's budget has room for it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from orchestrator.domain.assignments import Ask, Call, Job
from orchestrator.domain.keys import KeyBudget, Period

QUOTA = "insufficient_quota"
"""Error code of a question for which the budget of its key has no room."""

UNMEASURED_TOKENS_PER_S = 10.0
"""Speed of an engine that nobody has measured yet: slower than most."""

TEMPLATE_TOKENS = 64
"""Most tokens that a chat template puts around a message."""


class Spend(NamedTuple):
    """Tokens of prompts and outputs, USD, and seconds of engines; each >= 0."""

    tokens: int = 0
    usd: float = 0.0
    engine_s: float = 0.0

    def plus(self, other: "Spend") -> "Spend":
        """Both together: tokens, USD and seconds each."""
        return Spend(self.tokens + other.tokens, self.usd + other.usd, self.engine_s + other.engine_s)

    def beyond(self, other: "Spend") -> "Spend":
        """Excess of this over the other one, part by part."""
        return Spend(
            max(0, self.tokens - other.tokens),
            max(0.0, self.usd - other.usd),
            max(0.0, self.engine_s - other.engine_s),
        )


NOTHING = Spend()


class Account(NamedTuple):
    """Spending of a key in the present period of its budget: what was used, and what is held for open
    questions."""

    used: Spend = NOTHING
    held: Spend = NOTHING


class ExpertCost(NamedTuple):
    """Costs of one expert: USD per token, its longest output, its engine."""

    input_usd: float = 0.0
    output_usd: float = 0.0
    max_tokens: int = 512
    engine_id: str = ""


class Costs(NamedTuple):
    """Costs of a pool.

    Attributes:
        of: by expert, at the moment.
        writers: experts of which a later stage of a job may ask one, beside those that were recruited.
    """

    of: Callable[[], dict[str, ExpertCost]] = dict
    writers: Callable[[Job], Sequence[str]] = lambda _job: ()


NO_COSTS = Costs()
"""Costs of a pool that nobody knows: tokens count, and seconds of engines that were measured."""


class Tariff:
    """Prices of calls at one moment.

    Args:
        tokens_per_s: of engines, as measured on the slowest device of each.
    """

    def __init__(self, costs: dict[str, ExpertCost], tokens_per_s: dict[str, float]) -> None:
        self._costs = costs
        self._tokens_per_s = tokens_per_s

    def seconds(self, engine_id: str, tokens: int) -> float:
        """Seconds of an engine for so many tokens."""
        return tokens / (self._tokens_per_s.get(engine_id) or UNMEASURED_TOKENS_PER_S)

    def most(self, expert_id: str, prompt: int, output: int) -> Spend:
        """Spend of a call with a prompt of so many tokens, if its output is as long as it may be."""
        cost = self._costs.get(expert_id, ExpertCost())
        usd = prompt * cost.input_usd + output * cost.output_usd
        tokens = prompt + output
        return Spend(tokens, usd, self.seconds(cost.engine_id, tokens))

    def of_calls(self, ask: Ask) -> Spend:
        """Most that these calls can use."""
        return _sum([self.most(c.expert_id, prompt_tokens(c), c.sampling.max_tokens) for c in ask.calls])

    def of_question(self, ask: Ask, writers: Sequence[str]) -> Spend:
        """Most that a question can use whose first calls these are: the calls, the reserves of its decision,
        and one writer that reads what all of them said, the dearest."""
        prompt = max(prompt_tokens(call) for call in ask.calls)
        output = max(call.sampling.max_tokens for call in ask.calls)
        decision = ask.decision
        reserves = [] if decision is None else [recruit.expert_id for recruit in decision.reserves]
        held = self.of_calls(ask).plus(_sum([self.most(one, prompt, output) for one in reserves]))
        if decision is None or not writers:
            return held
        read = prompt + output * (len(ask.calls) + len(reserves))
        ends = [self.most(one, read, self._costs.get(one, ExpertCost()).max_tokens) for one in writers]
        return held.plus(Spend(*(max(part) for part in zip(*ends, strict=True))))


def prompt_tokens(call: Call) -> int:
    """Most tokens that a prompt can have: a token is a byte or more."""
    return sum(len(m.content.encode(errors="replace")) + TEMPLATE_TOKENS for m in call.messages)


def period_of(budget: KeyBudget, now_s: float) -> str:
    """Name of the period of a moment, which sorts as time does: `2026-11-27`, `2026-11`, or `total`."""
    if budget.per is Period.TOTAL:
        return Period.TOTAL.value
    moment = datetime.fromtimestamp(now_s, UTC)
    return moment.strftime("%Y-%m-%d" if budget.per is Period.DAY else "%Y-%m")


def no_room(budget: KeyBudget, wanted: Spend, left: Spend) -> str:
    """Message for a question that does not fit into what is left of a budget, with the remedy."""
    per = "in all" if budget.per is Period.TOTAL else f"a {budget.per.value}"
    parts = [
        f"{need:.6g} of {max(0, there):.6g} {unit} that are left ({limit:.6g} {per})"
        for limit, need, there, unit in (
            (budget.tokens, wanted.tokens, left.tokens, "tokens"),
            (budget.usd, wanted.usd, left.usd, "USD"),
            (budget.engine_s, wanted.engine_s, left.engine_s, "engine seconds"),
        )
        if limit is not None and need > there
    ]
    wait = "" if budget.per is Period.TOTAL else f" wait for the next {budget.per.value},"
    return (
        f"the budget of this key has no room: this question may take up to {'; '.join(parts)}. "
        f"Ask for shorter answers (max_tokens),{wait} or ask who administers this server for more."
    )


def _sum(parts: Sequence[Spend]) -> Spend:
    total = NOTHING
    for part in parts:
        total = total.plus(part)
    return total
