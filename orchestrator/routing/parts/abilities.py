"""Abilities: the experts that a query's terms leave, by name, by features, and by what their calls cost."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.answers import Decision, Recruit
from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.experts import Expert
from orchestrator.domain.features import Feature
from orchestrator.domain.queries import Query, rough_tokens
from orchestrator.domain.terms import Terms
from orchestrator.errors import NobodyCanError, NoCapableExpertError, TooDearError

REMEDIES: Mapping[Feature, str] = {
    Feature.TOOLS: (
        "Leave tools out, or name an expert that calls them: one of the engine 'server', 'remote' or "
        "'command' with `model_info.supports_function_calling: true`."
    ),
    Feature.PROMPT: (
        "Send messages to /v1/chat/completions, or name an expert that reads prompts as they are: one of the "
        "engine 'vllm', 'transformers' or 'server'."
    ),
    Feature.PREFILL: "End the messages with the user's, or name an expert that goes on with an answer.",
}
ELSE_LEAVE_OUT = "Leave it out, or use an engine that has it: 'vllm', 'transformers' or 'server'."
PARAMS: Mapping[Feature, str] = {Feature.PREFILL: "messages"}

MOST_NAMED = 3

Pool = Sequence[tuple[str, Expert | None]]
"""Ids with what is known of each."""


class Demand(NamedTuple):
    """A query's demands on whoever answers it.

    Attributes:
        experts: those who may be asked; none = everybody.
        needs: features that an expert must have.
        max_cost_usd: of all its calls together; max_seconds: of the slowest. None = any.
        assistant_first: its conversation begins with an assistant's turn, which some chat templates refuse.
    """

    experts: tuple[str, ...] = ()
    needs: frozenset[Feature] = frozenset()
    max_cost_usd: float | None = None
    max_seconds: float | None = None
    assistant_first: bool = False

    @classmethod
    def of(cls, query: Query, terms: Terms) -> "Demand":
        """Demands of a query that is to be answered on these terms."""
        begun = {Feature.PREFILL} if query.is_begun else set()
        first = next((turn.role for turn in query.context if turn.role != "system"), "user")
        return cls(
            terms.experts, terms.needs | begun, terms.max_cost_usd, terms.max_seconds, first == "assistant"
        )


NO_DEMAND = Demand()


def able(pool: Pool, demand: Demand, cards: Mapping[str, CompetenceCard], *, n_tokens: int) -> Pool:
    """Experts that meet a demand. One of which nothing is known has no features, costs nothing, and is quick.

    Args:
        n_tokens: of the prompt, roughly.

    Raises:
        NoCapableExpertError: none of those who may be asked is part of the pool.
        NobodyCanError: none of them has a feature; `param` names it.
        TooDearError: all of them cost, or take, more than is allowed.
    """
    named = [(i, e) for i, e in pool if not demand.experts or i in demand.experts]
    if not named:
        raise NoCapableExpertError(
            "no expert that may be asked is part of this composition.",
            param="muster.experts",
            remedy="Name others, or another composition.",
        )
    fit = [(i, e) for i, e in named if demand.needs <= (e.features if e else frozenset())]
    if not fit:
        raise nobody_can(demand.needs, [e for _, e in named if e])
    open_to_all = [(i, e) for i, e in fit if e is None or e.takes_assistant_first]
    if demand.assistant_first and not open_to_all:
        raise _refuses_beginning([i for i, _ in fit])
    fit = open_to_all if demand.assistant_first else fit
    cheap = [(i, e) for i, e in fit if _is_within(demand.max_cost_usd, cost(e, cards.get(i), n_tokens))]
    quick = [(i, e) for i, e in cheap if _is_within(demand.max_seconds, seconds(cards.get(i)))]
    if not quick:
        param = "max_seconds" if cheap else "max_cost_usd"
        raise TooDearError(
            f"muster.{param}: a call of any expert that may be asked is expected to need more.",
            param=f"muster.{param}",
            remedy="Raise it, or leave it out.",
        )
    return quick


def nobody_can(needs: frozenset[Feature], experts: Sequence[Expert]) -> NobodyCanError:
    """The error for the first feature that nobody has; or, where each is somebody's, for all together."""
    missing = sorted(f for f in needs if not any(f in e.features for e in experts))
    feature = (missing or sorted(needs))[0]
    return NobodyCanError(PARAMS.get(feature, feature.value), remedy=REMEDIES.get(feature, ELSE_LEAVE_OUT))


def _refuses_beginning(experts: Sequence[str]) -> NobodyCanError:
    more = f" and {len(experts) - MOST_NAMED} more" if len(experts) > MOST_NAMED else ""
    named = f"the chat template of {', '.join(experts[:MOST_NAMED])}{more}"
    remedy = f"Begin with the user's turn: {named} refuses an assistant's; or name another expert."
    return NobodyCanError("messages", remedy=remedy)


def cost(expert: Expert | None, card: CompetenceCard | None, n_tokens: int) -> float:
    """USD that a call is expected to cost: its prompt, and as many tokens of output as its card says, else as
    it may write."""
    if expert is None:
        return 0.0 if card is None else card.cost_per_query
    n_output = card.mean_tokens if card is not None and card.mean_tokens else expert.max_tokens
    return n_tokens * expert.input_cost_per_token + n_output * expert.output_cost_per_token


def seconds(card: CompetenceCard | None) -> float:
    """Seconds that a call is expected to take: as the card says; 0 where there is none."""
    return 0.0 if card is None else card.mean_latency_ms / 1000


def within(decision: Decision, costs: Mapping[str, float], max_cost_usd: float) -> Decision:
    """The decision with as many of its recruits, and then reserves, as may be paid; one at least."""
    left, recruits = max_cost_usd, list(decision.recruits[:1])
    reserves: list[Recruit] = []
    left -= sum(costs.get(r.expert_id, 0.0) for r in recruits)
    for kept, rest in ((recruits, decision.recruits[1:]), (reserves, decision.reserves)):
        for recruit in rest:
            if costs.get(recruit.expert_id, 0.0) <= left:
                left -= costs.get(recruit.expert_id, 0.0)
                kept.append(recruit)
    if len(recruits) == len(decision.recruits) and len(reserves) == len(decision.reserves):
        return decision
    total = sum(r.weight for r in recruits)
    shares = [r.weight / total if total > 0 else 1 / len(recruits) for r in recruits]
    weighed = tuple(r.model_copy(update={"weight": w}) for r, w in zip(recruits, shares, strict=True))
    note = f"fewer experts than the router chose: {max_cost_usd:g} USD pay for no more"
    changes = {"recruits": weighed, "reserves": tuple(reserves), "notes": (*decision.notes, note)}
    return decision.model_copy(update=changes)


def _is_within(most: float | None, value: float) -> bool:
    return most is None or value <= most


def prompt_tokens(query: Query) -> int:
    """Tokens of a query, estimated from its length; the exact number depends on each expert's tokenizer and
    template."""
    return rough_tokens(len(query.text) + sum(m.n_chars for m in (*query.context, *query.after)))
