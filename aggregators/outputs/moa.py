"""Layers of proposers that read the last layer's answers, and one writer: arXiv:2406.04692."""

from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

from aggregators.outputs.asking import Desk, candidate_text, rounds, under_name
from aggregators.outputs.synthesize import Synthesize, SynthesizeOptions
from aggregators.outputs.votes import Ballot, read_ballots
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, CallRole, Done, QueryState, Response
from orchestrator.domain.experts import Expert
from orchestrator.options import parse_options
from orchestrator.ports.composing import Aggregator

NAME = "moa"


class MoaOptions(SynthesizeOptions):
    """
    Args:
        layers: of proposers; the experts' own responses are the first. 1 = `synthesize`.
        temperature: of the proposers in further layers.
    """

    layers: int = Field(default=2, ge=1, le=8)
    temperature: float = Field(default=0.7, ge=0, le=2)


class MixtureOfAgents:
    """Has the experts answer anew, layer by layer, with all answers of the last layer before them; then a
    member writes. Layers end where the answers agree; one in which nobody can be read is passed over."""

    name = NAME

    def __init__(self, context: AggregatorContext, options: MoaOptions) -> None:
        self._desk = Desk(NAME, context)
        self._options = options
        writing = {name: getattr(options, name) for name in SynthesizeOptions.model_fields}
        self._writer = Synthesize(context, SynthesizeOptions(**writing), name=NAME)

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        layers = rounds(state, CallRole.DISCUSS)
        last = self._last(state, expert_responses, layers)
        current = self._desk.read(state, last)
        agreed = len(current.groups) == 1 and len(current.readable) >= self._options.min_agree
        if len(layers) + 1 < self._options.layers and not agreed:
            proposers = self._proposers(expert_responses, reading.ballots)
            if proposers:
                return self._layer(state, proposers, current.readable)
        step = self._writer.step(state, last)
        if isinstance(step, Ask):
            return step
        return under_name(step, reading.ballots, {NAME: {"layers": len(layers) + 1}})

    def _last(
        self, state: QueryState, first: Sequence[Response], layers: Sequence[Mapping[int, Response]]
    ) -> Sequence[Response]:
        """Responses of the last layer in which somebody can be read."""
        for layer in reversed(layers):
            replies = [*layer.values()]
            if any(b.value is not None for b in read_ballots(self._desk.context.grader, state, replies)):
                return replies
        return first

    def _proposers(self, responses: Sequence[Response], ballots: Sequence[Ballot]) -> list[Expert]:
        """Experts that responded and are still in the pool, best first, each once."""
        failed = {r.expert_id for r in responses if r.failed}
        ids = dict.fromkeys(b.expert_id for b in ballots if b.expert_id not in failed)
        return [expert for i in ids if (expert := self._desk.member(i)) is not None]

    def _layer(self, state: QueryState, proposers: Sequence[Expert], shown: Sequence[Ballot]) -> Ask:
        texts = [candidate_text(ballot, self._options.max_candidate_chars) for ballot in shown]
        self._desk.rng(state).shuffle(texts)
        calls = [
            self._desk.call(
                expert,
                state,
                prompts.synthesize(
                    state.query, texts, style=expert.synthesize_prompt, fence=prompts.draw_fence()
                ),
                role=CallRole.DISCUSS,
                place=place,
                temperature=self._options.temperature,
            )
            for place, expert in enumerate(proposers)
        ]
        return Ask(calls=tuple(calls))


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `moa` with its options, `MoaOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or no member that may write or judge.
        UnknownNameError: `aggregator` names nobody in the pool.
    """
    return MixtureOfAgents(context, parse_options(f"aggregator '{NAME}'", MoaOptions, options))
