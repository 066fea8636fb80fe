"""Debate: advocates of the two leading answers before a judge, or agents that hear each other.

Sources: arXiv:2311.08702 and arXiv:2407.04622 (`judged`), arXiv:2305.14325 (`mutual`).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, JsonValue

from aggregators.outputs.asking import (
    AskingOptions,
    Chair,
    Desk,
    Reading,
    candidate_text,
    failures,
    leading,
    rounds,
    score_of,
    shortened,
    under_name,
    verdict_of,
)
from aggregators.outputs.votes import Ballot, Group, without_reasoning
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, QueryState, Response
from orchestrator.domain.experts import Expert
from orchestrator.options import parse_options
from orchestrator.ports.composing import Aggregator

NAME = "debate"


class DebateOptions(AskingOptions):
    """
    Args:
        protocol: `judged` = an advocate for each of the two leading answers, and a judge that has not
            answered itself; `mutual` = the agents see each other's last answers, majority at the end.
        rounds: `judged`: turns of each advocate; `mutual`: answers of each agent, the first included.
        agents: of `mutual`, the best recruits.
        temperature: of turns and answers; None = each expert's.
    """

    protocol: Literal["judged", "mutual"] = "judged"
    rounds: int = Field(default=2, ge=1, le=10)
    agents: int = Field(default=3, ge=2, le=32)
    temperature: float | None = Field(default=None, ge=0, le=2)


class JudgedDebate:
    """Two advocates argue in simultaneous turns; a judge reads both sides in both orders. Where its verdicts
    differ, or cannot be read, the weighted vote decides between the two."""

    name = NAME

    def __init__(self, context: AggregatorContext, options: DebateOptions) -> None:
        self._desk = Desk(NAME, context)
        self._context = context
        self._options = options
        self._chair = Chair(NAME, context, options.aggregator)

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        sides = leading(reading.groups, state.query, 2)
        if len(sides) < 2:
            return self._desk.by_vote(state, expert_responses, note="one answer only: nothing to debate")
        judge = self._chair.choose_without(state, {ballot.expert_id for ballot in reading.ballots})
        if judge is None:
            note = "nobody may judge who has not answered: decided by weighted vote"
            return self._desk.by_vote(state, expert_responses, note=note, degraded=True)
        turns = rounds(state, CallRole.DISCUSS)
        if len(turns) < self._options.rounds:
            return self._turn(state, sides, turns, judge)
        verdicts = rounds(state, CallRole.JUDGE)
        if not verdicts:
            return self._judge(state, sides, turns, judge)
        return self._finish(state, expert_responses, reading, sides, [*turns, verdicts[0]])

    def _turn(
        self,
        state: QueryState,
        sides: Sequence[Group],
        turns: Sequence[Mapping[int, Response]],
        judge: Expert,
    ) -> Ask:
        answers = [candidate_text(group.best, self._options.max_candidate_chars) for group in sides]
        said = [self._said(reply) for turn in turns for reply in turn.values() if not reply.failed]
        calls: list[Call] = []
        for place, side in enumerate(sides):
            advocates = [e for b in side.ballots if (e := self._desk.member(b.expert_id)) is not None]
            advocate = advocates[0] if advocates else judge
            messages = prompts.advocate(
                state.query, answers[place], answers[1 - place], said, fence=prompts.draw_fence()
            )
            calls.append(
                self._desk.call(
                    advocate,
                    state,
                    messages,
                    role=CallRole.DISCUSS,
                    place=place,
                    temperature=self._options.temperature,
                )
            )
        return Ask(calls=tuple(calls))

    def _said(self, reply: Response) -> str:
        return shortened(without_reasoning(reply.text), self._options.max_candidate_chars)

    def _judge(
        self,
        state: QueryState,
        sides: Sequence[Group],
        turns: Sequence[Mapping[int, Response]],
        judge: Expert,
    ) -> Ask:
        cases = [
            "\n".join(
                [
                    candidate_text(side.best, self._options.max_candidate_chars),
                    *(self._said(turn[place]) for turn in turns if place in turn and not turn[place].failed),
                ]
            )
            for place, side in enumerate(sides)
        ]
        calls = [
            self._desk.call(
                judge,
                state,
                prompts.decide(state.query, pair, style=judge.synthesize_prompt, fence=prompts.draw_fence()),
                role=CallRole.JUDGE,
                place=place,
            )
            for place, pair in enumerate(((cases[0], cases[1]), (cases[1], cases[0])))
        ]
        return Ask(calls=tuple(calls))

    def _finish(
        self,
        state: QueryState,
        responses: Sequence[Response],
        reading: Reading,
        sides: Sequence[Group],
        heard: Sequence[Mapping[int, Response]],
    ) -> Done:
        values = (sides[0].value, sides[1].value)
        verdicts = [
            self._verdict(state, heard[-1].get(0), values),
            self._verdict(state, heard[-1].get(1), values[::-1]),
        ]
        balance = (verdicts[0] or 0) - (verdicts[1] or 0)
        lost = failures(reply for one in heard for reply in one.values())
        extras: dict[str, JsonValue] = {
            NAME: {
                "protocol": "judged",
                "rounds": len(heard) - 1,
                "sides": [*values],
                "verdicts": [*verdicts],
            }
        }
        if balance == 0:
            note = "the judge did not decide: decided by weighted vote"
            silent = all(verdict is None for verdict in verdicts)
            done = self._desk.by_vote(state, responses, note=note, degraded=silent, extras=extras)
            return under_name(done, reading.ballots, {}, notes=lost)
        winner = sides[0 if balance > 0 else 1]
        return self._desk.chosen(
            state,
            responses,
            reading.ballots,
            winner.best,
            weight=score_of([winner], [1.0]),
            notes=lost,
            extras=extras,
        )

    def _verdict(self, state: QueryState, reply: Response | None, values: tuple[str, str]) -> int | None:
        """1 if the side shown first is right, −1 if the second."""
        judge = None if reply is None else self._desk.member(reply.expert_id)
        if reply is None or judge is None:
            return None
        return verdict_of(self._context, judge, state.query, reply, values)


class MutualDebate:
    """The best recruits answer anew, each with the others' last answers before it; then all vote. An agent
    that cannot be read in a round keeps its last answer; rounds end where all agree."""

    name = NAME

    def __init__(self, context: AggregatorContext, options: DebateOptions) -> None:
        self._desk = Desk(NAME, context)
        self._options = options

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        agents = self._agents(reading)
        heard = rounds(state, CallRole.DISCUSS)
        last = self._last(state, agents, heard)
        agreed = len(self._desk.read(state, [ballot.response for ballot in last]).groups) == 1
        if len(heard) + 1 < self._options.rounds and not agreed and len(agents) > 1:
            calls = self._calls(state, agents, last)
            if calls:
                return Ask(calls=tuple(calls))
        replies = [reply for one in heard for reply in one.values()]
        return self._desk.by_majority(
            state,
            expert_responses,
            [*last, *(ballot for ballot in reading.ballots if ballot.value is None)],
            first=reading.ballots,
            notes=failures(replies),
            extras={NAME: {"protocol": "mutual", "rounds": len(heard) + 1, "agents": len(agents)}},
        )

    def _agents(self, reading: Reading) -> list[Ballot]:
        """The first answers of those who debate, best recruit first, one of each expert."""
        first: dict[str, Ballot] = {}
        for ballot in reading.readable:
            first.setdefault(ballot.expert_id, ballot)
        return list(first.values())[: self._options.agents]

    def _last(
        self, state: QueryState, agents: Sequence[Ballot], heard: Sequence[Mapping[int, Response]]
    ) -> list[Ballot]:
        """Each agent's last answer that can be read."""
        last = list(agents)
        for one in heard:
            for place, reply in one.items():
                if place < len(last):
                    [ballot] = self._desk.read(state, [reply]).ballots
                    last[place] = last[place] if ballot.value is None else ballot
        return last

    def _calls(self, state: QueryState, agents: Sequence[Ballot], last: Sequence[Ballot]) -> list[Call]:
        texts = [candidate_text(ballot, self._options.max_candidate_chars) for ballot in last]
        calls: list[Call] = []
        for place, agent in enumerate(agents):
            expert = self._desk.member(agent.expert_id)
            if expert is None:
                continue
            others = texts[:place] + texts[place + 1 :]
            self._desk.rng(state).shuffle(others)
            messages = prompts.reconsider(state.query, texts[place], others, fence=prompts.draw_fence())
            calls.append(
                self._desk.call(
                    expert,
                    state,
                    messages,
                    role=CallRole.DISCUSS,
                    place=place,
                    temperature=self._options.temperature,
                )
            )
        return calls


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `debate` with its options, `DebateOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or no member that may judge (`judged`).
        UnknownNameError: `aggregator` names nobody in the pool.
    """
    parsed = parse_options(f"aggregator '{NAME}'", DebateOptions, options)
    return MutualDebate(context, parsed) if parsed.protocol == "mutual" else JudgedDebate(context, parsed)


def asks_model(options: Mapping[str, JsonValue]) -> bool:
    """True if it needs a member with the role `aggregator`: not where all are agents."""
    return options.get("protocol") != "mutual"
