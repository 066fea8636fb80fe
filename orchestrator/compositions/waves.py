"""Asking in waves: when the answers so far are enough, and whom to ask next if they are not.

In the spirit of "Harder tasks need more experts" (arXiv:2403.07652); what was tried: docs/decisions/0012.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Ask, Done, QueryState, Response
from orchestrator.errors import ConfigError
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator, Outlook, Pace, SequentialAggregator

SURELY = 0.75
"""Part of the look-ahead by which votes must fall short for more to be asked at once: what a vote turns out
to weigh depends on its response, too."""


class WaveOptions(Options):
    """Rules for when to stop asking. All hold for any pool; figures: docs/decisions/0012.

    Args:
        size: reserves asked at a time.
        agree: votes for the leading answer that are enough ...
        confidence: ... if it is at least this probable, where the aggregator says so.
        lookahead: votes that are looked ahead: if the next so many could not change the answer, nobody is
            asked.
        lookahead_share: how much of their weight the next votes are given, > 0; more asks more.
    """

    size: int = Field(default=1, ge=1, le=100)
    agree: int = Field(default=2, ge=1, le=1000)
    confidence: float = Field(default=0.3, ge=0, le=1)
    lookahead: int = Field(default=2, ge=1, le=1000)
    lookahead_share: float = Field(default=0.9, gt=0)


def why_ask_on(outlook: Outlook, options: WaveOptions) -> str | None:
    """The reason to ask the next reserve; None = the answers so far are enough."""
    if not outlook.next_weights:
        return None
    if not outlook.n_votes:
        return "no readable answer yet"
    if not _could_change(outlook, options):
        return None
    if outlook.n_agree < options.agree:
        return f"{outlook.n_agree} of {outlook.n_votes} votes agreed"
    if outlook.confidence is not None and outlook.confidence < options.confidence:
        return f"confidence was {outlook.confidence:.2f}"
    return None


def n_in_any_case(weights: Sequence[float], options: WaveOptions, *, least: int = 1) -> int:
    """Number of experts that are asked whatever they answer: fewer would not be enough even if all agreed.

    Args:
        weights: that a vote of each expert is expected to have, in the order of asking.
        least: experts that are asked anyhow.
    """
    clear = _for_sure(options)
    n = least
    while n < len(weights) and _falls_short(weights, n, clear):
        n += 1
    return n


@lru_cache(maxsize=256)
def _for_sure(options: WaveOptions) -> WaveOptions:
    return options.model_copy(update={"lookahead_share": SURELY * options.lookahead_share})


def _falls_short(weights: Sequence[float], n: int, options: WaveOptions) -> bool:
    """Whether n votes for one answer, the first of `weights`, would not be enough."""
    unanimous = Outlook(n, n, sum(weights[:n]), None, tuple(weights[n:]))
    return why_ask_on(unanimous, options) is not None


def _could_change(outlook: Outlook, options: WaveOptions) -> bool:
    """Whether the next votes, all for one rival, would make it win. A negative weight speaks for nobody."""
    weights = outlook.next_weights[: options.lookahead]
    return outlook.lead < options.lookahead_share * sum(max(weight, 0.0) for weight in weights)


def promoted(decision: Decision, n: int, reason: str) -> Decision:
    """The decision with its first n reserves recruited, last and with the reason; weights sum to 1 again."""
    asked = [r.model_copy(update={"note": _joined(r.note, reason)}) for r in decision.reserves[:n]]
    everybody = (*decision.recruits, *asked)
    total = sum(r.weight for r in everybody)
    recruits = tuple(
        r.model_copy(update={"weight": r.weight / total if total > 0 else 1 / len(everybody)})
        for r in everybody
    )
    return decision.model_copy(update={"recruits": recruits, "reserves": decision.reserves[n:]})


def _joined(note: str | None, reason: str) -> str:
    said = f"asked next: {reason}"
    return said if note is None else f"{note}; {said}"


class Waves:
    """Asks reserves until the aggregator's outlook is enough. What it decides depends on the responses only,
    so a resumed process decides the same."""

    def __init__(self, aggregator: SequentialAggregator, options: WaveOptions) -> None:
        self._aggregator = aggregator
        self._options = options

    def opened(self, state: QueryState, decision: Decision) -> Decision:
        """The decision with those reserves recruited that would be asked in any case: the first votes would
        not be enough even if all agreed. Asking them at once saves a wave, and often a load."""
        if not decision.reserves:
            return decision
        n_first = len(decision.recruits)
        everybody = decision.model_copy(
            update={"recruits": (), "reserves": (*decision.recruits, *decision.reserves)}
        )
        before = self._aggregator.count(state.model_copy(update={"decision": everybody}), ())
        weights = before.outlook.next_weights
        n = n_in_any_case(weights, self._options, least=n_first)
        if n == n_first:
            return decision
        return promoted(decision, n - n_first, "fewer votes could not settle it")

    def next(self, state: QueryState, responses: Sequence[Response]) -> Decision | Ask | Done:
        """The decision with the next reserves recruited, or the aggregator's step: ask nobody else."""
        if state.decision is None or not state.decision.reserves:
            return self._aggregator.step(state, responses)
        count = self._aggregator.count(state, responses)
        reason = why_ask_on(count.outlook, self._options)
        return count.done() if reason is None else promoted(state.decision, self._options.size, reason)


def make_waves(aggregator: Aggregator, options: Mapping[str, JsonValue]) -> Waves:
    """Waves over an aggregator, from the options of a composition.

    Raises:
        ConfigError: an unknown option, one out of range, or an aggregator that does not say where its vote
            stands.
    """
    parsed = parse_options("waves", WaveOptions, options)
    if not isinstance(aggregator, SequentialAggregator):
        raise ConfigError(
            f"aggregator '{aggregator.name}' cannot vote in waves: it does not say where its vote stands.",
            param="waves",
            remedy="Use the aggregator 'learned' or 'weighted', or leave `waves` out.",
        )
    return Waves(aggregator, parsed)


def pace_of(aggregator: Aggregator, waves: Mapping[str, JsonValue] | None) -> Pace | None:
    """The waves of a composition's settings, or the aggregator itself; None = all recruits at once.

    Raises:
        ConfigError: as `make_waves`.
    """
    if waves is not None:
        return make_waves(aggregator, waves)
    return aggregator if isinstance(aggregator, Pace) else None
