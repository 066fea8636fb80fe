"""Further samples of the best recruit, and a majority (self-consistency, arXiv:2203.11171)."""

from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

from aggregators.outputs.asking import Desk, Reading, failures, rounds
from aggregators.outputs.votes import in_order, read_ballots
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, CallRole, Done, QueryState, Response
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator

NAME = "self_consistency"


class SelfConsistencyOptions(Options):
    """
    Args:
        samples: of the expert, its first response included.
        temperature: of the further ones.
        min_agree: readable answers that must all agree for nobody to be asked again.
    """

    samples: int = Field(default=5, ge=1, le=64)
    temperature: float = Field(default=0.7, ge=0, le=2)
    min_agree: int = Field(default=2, ge=1)


class SelfConsistency:
    """Hears the best recruit that gave a readable answer again, unless the experts agree. Every response has
    one vote, those of other recruits, too; ties as `majority`."""

    name = NAME

    def __init__(self, context: AggregatorContext, options: SelfConsistencyOptions) -> None:
        self._desk = Desk(NAME, context)
        self._options = options

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        heard = rounds(state, CallRole.SAMPLE)
        if not heard:
            ask = self._ask(state, reading)
            if ask is not None:
                return ask
        replies = [*heard[0].values()] if heard else []
        more = read_ballots(self._desk.context.grader, state, replies)
        return self._desk.by_majority(
            state,
            expert_responses,
            in_order([*reading.ballots, *more]),
            first=reading.ballots,
            notes=failures(replies),
            extras={NAME: {"samples": len(replies)}},
        )

    def _ask(self, state: QueryState, reading: Reading) -> Ask | None:
        """None = nobody is to be asked again."""
        present = [e for b in reading.readable if (e := self._desk.member(b.expert_id)) is not None]
        if not present or self._options.samples < 2:
            return None
        expert = present[0]
        messages = prompts.expert(state.query, style=expert.prompt, system_prompt=expert.system_prompt)
        calls = [
            self._desk.call(
                expert,
                state,
                messages,
                role=CallRole.SAMPLE,
                place=place,
                temperature=self._options.temperature,
            )
            for place in range(self._options.samples - 1)
        ]
        return Ask(calls=tuple(calls))


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `self_consistency` with its options, `SelfConsistencyOptions`.

    Raises:
        ConfigError: an option that it does not have, or a value out of range.
    """
    return SelfConsistency(context, parse_options(f"aggregator '{NAME}'", SelfConsistencyOptions, options))
