"""A member leads: it instructs experts that see nothing but the instruction, and ends with the answer.

Source: meta-prompting, arXiv:2401.12954. Where we differ: its experts are members of the pool, and it begins
with their first answers before it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field, JsonValue

from aggregators.outputs.asking import (
    AskingOptions,
    Chair,
    Desk,
    Reading,
    candidate_text,
    failures,
    rounds,
    shortened,
)
from aggregators.outputs.votes import without_reasoning
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.answers import Recruit
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, QueryState, Response
from orchestrator.domain.experts import Expert
from orchestrator.options import parse_options
from orchestrator.ports.composing import Aggregator

NAME = "conductor"

AS_IT_STANDS = "(the question as it stands)"
NOBODY = "(there is no such expert)"
NO_REPLY = "(no reply)"

MOST_ASKED = 8
"""Experts that one round may ask."""

_ASK = re.compile(r"^[ \t*#>-]{0,9}ASK (\d{1,3})\W{1,3}(\S.{0,7999})$", re.MULTILINE)
_FINAL = re.compile(r"^[ \t*#>-]{0,9}FINAL\b[*: \t]{0,9}", re.MULTILINE)


class ConductorOptions(AskingOptions):
    """
    Args:
        rounds: at most; the last is announced as the last.
        temperature: of the conductor, and of those whom it asks.
    """

    rounds: int = Field(default=15, ge=1, le=15)
    temperature: float = Field(default=0.1, ge=0, le=2)


class Instruction(NamedTuple):
    """An instruction to the expert of that number."""

    number: int
    words: str


class Move(NamedTuple):
    """A conductor's reply: the answer that it ends with, or whom it asks; neither where it keeps no form."""

    final: str | None
    asks: tuple[Instruction, ...]


def read_move(text: str) -> Move:
    """The text after the last line `FINAL`, else every line `ASK N: instruction`.

    `"ASK 2: Is 7 prime?"` -> asks expert 2.
    """
    ends = [match.end() for match in _FINAL.finditer(text)]
    if ends:
        return Move(text[ends[-1] :].strip(), ())
    asks = tuple(Instruction(int(number), words.strip()) for number, words in _ASK.findall(text))
    return Move(None, asks[:MOST_ASKED])


class Conductor:
    """Leads in rounds, unless the experts agree. Where it fails, keeps no form, or does not end in time, the
    weighted vote decides."""

    name = NAME

    def __init__(self, context: AggregatorContext, options: ConductorOptions) -> None:
        self._desk = Desk(NAME, context)
        self._context = context
        self._options = options
        self._chair = Chair(NAME, context, options.aggregator)

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        led = [one[0] for one in rounds(state, CallRole.AGGREGATE)]
        consulted = rounds(state, CallRole.DISCUSS)
        if not led:
            return self._lead(state, reading, led, consulted)
        if led[-1].failed:
            return self._fall_back(state, expert_responses, led, f"failed ({led[-1].error_code})")
        move = read_move(without_reasoning(led[-1].text))
        if len(consulted) == len(led):  # whom it asked has replied
            return self._lead(state, reading, led, consulted)
        if move.asks:
            if len(led) >= self._options.rounds:
                return self._fall_back(state, expert_responses, led, "did not end in time")
            calls = self._consult(state, reading, move)
            if calls:
                return Ask(calls=tuple(calls))
            return self._fall_back(state, expert_responses, led, "asked nobody who is there")
        return self._end(state, expert_responses, reading, led, move)

    def _experts(self, reading: Reading) -> dict[int, str]:
        """Ids by number, from 1: recruits that responded, best first."""
        ids = dict.fromkeys(ballot.expert_id for ballot in reading.ballots if not ballot.response.failed)
        return dict(enumerate(ids, start=1))

    def _lead(
        self,
        state: QueryState,
        reading: Reading,
        led: Sequence[Response],
        consulted: Sequence[Mapping[int, Response]],
    ) -> Ask:
        conductor = self._desk.member(led[-1].expert_id) if led else None
        conductor = conductor or self._chair.choose(state)
        messages = prompts.conduct(
            state.query,
            self._described(state, reading),
            self._heard(reading, led, consulted),
            rounds_left=self._options.rounds - len(led),
            style=conductor.synthesize_prompt,
            fence=prompts.draw_fence(),
        )
        call = self._desk.call(
            conductor,
            state,
            messages,
            role=CallRole.AGGREGATE,
            place=0,
            temperature=self._options.temperature,
        )
        return Ask(calls=(call,))

    def _described(self, state: QueryState, reading: Reading) -> dict[int, str]:
        experts = self._experts(reading)
        recruits = {number: _recruit(state, expert_id) for number, expert_id in experts.items()}
        return {number: strengths(recruit) for number, recruit in recruits.items()}

    def _heard(
        self,
        reading: Reading,
        led: Sequence[Response],
        consulted: Sequence[Mapping[int, Response]],
    ) -> list[prompts.Heard]:
        budget = self._options.max_candidate_chars
        number_of = {expert_id: number for number, expert_id in self._experts(reading).items()}
        heard = [
            prompts.Heard(number_of[b.expert_id], AS_IT_STANDS, candidate_text(b, budget))
            for b in reading.readable
        ]
        for reply, answers in zip(led, consulted, strict=False):
            for place, ask in enumerate(read_move(without_reasoning(reply.text)).asks):
                said = answers.get(place)
                words = NOBODY if said is None else without_reasoning(said.text) or NO_REPLY
                heard.append(prompts.Heard(ask.number, ask.words, shortened(words, budget)))
        return heard

    def _consult(self, state: QueryState, reading: Reading, move: Move) -> list[Call]:
        experts = self._experts(reading)
        calls: list[Call] = []
        for place, ask in enumerate(move.asks):
            expert = self._asked(experts, ask)
            if expert is not None:
                calls.append(
                    self._desk.call(
                        expert,
                        state,
                        prompts.consult(ask.words),
                        role=CallRole.DISCUSS,
                        place=place,
                        temperature=self._options.temperature,
                    )
                )
        return calls

    def _asked(self, experts: Mapping[int, str], ask: Instruction) -> Expert | None:
        return self._desk.member(experts[ask.number]) if ask.number in experts else None

    def _end(
        self,
        state: QueryState,
        responses: Sequence[Response],
        reading: Reading,
        led: Sequence[Response],
        move: Move,
    ) -> Done:
        text = without_reasoning(led[-1].text) if move.final is None else move.final
        value = self._context.grader.read(state.query, led[-1].model_copy(update={"text": text}))
        if value is None:
            return self._fall_back(state, responses, led, "gave no readable answer")
        return self._desk.composed(
            state,
            responses,
            reading.ballots,
            text=text or value,
            value=value,
            weight=lambda ballot: ballot.accuracy,
            notes=self._lost(state),
            extras=self._extras(led),
        )

    def _fall_back(
        self, state: QueryState, responses: Sequence[Response], led: Sequence[Response], why: str
    ) -> Done:
        note = f"conductor {led[-1].expert_id} {why}: decided by weighted vote"
        return self._desk.by_vote(state, responses, note=note, degraded=True, extras=self._extras(led))

    def _lost(self, state: QueryState) -> tuple[str, ...]:
        return failures(r for r in state.responses if r.role is CallRole.DISCUSS)

    def _extras(self, led: Sequence[Response]) -> dict[str, JsonValue]:
        return {NAME: {"model": led[-1].expert_id, "rounds": len(led)}}


def _recruit(state: QueryState, expert_id: str) -> Recruit | None:
    return state.decision.recruit(expert_id) if state.decision else None


def strengths(recruit: Recruit | None) -> str:
    """An expert as a conductor is told of it: its accuracy on each matched skill, or on such questions."""
    if recruit is None:
        return "nothing is known of it"
    if not recruit.evidence:
        return f"right on {recruit.accuracy:.0%} of such questions"
    return ", ".join(f"{one.skill} {one.accuracy:.0%}" for one in recruit.evidence)


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `conductor` with its options, `ConductorOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or no member that may write or judge.
        UnknownNameError: `aggregator` names nobody in the pool.
    """
    return Conductor(context, parse_options(f"aggregator '{NAME}'", ConductorOptions, options))
