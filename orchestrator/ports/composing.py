"""Composing: routers, aggregators, and the compositions made of them.

Shapes: D embedding width.
"""

import random
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import (
    Ask,
    Done,
    Job,
    QueryState,
    Response,
    Step,
)
from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.domain.terms import NO_TERMS, Terms


class RoutingInput(NamedTuple):
    """One query as a router may look at it: its text, embedding, matched skills, and the terms on which it is
    answered. Never a label. `kept`: experts of the conversation's last turn."""

    query: Query
    skills: tuple[SkillTag, ...]
    embedding: FloatMatrix  # float32 [D]
    terms: Terms = NO_TERMS
    kept: tuple[str, ...] = ()


class Router(Protocol):
    """`reads_text`: whether decisions depend on what a query says. If not, its skills and embedding, which
    cost milliseconds, may be missing."""

    name: str
    reads_text: bool

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        """One decision per input, in order. The same rng state gives the same decisions.

        Raises:
            NoCapableExpertError: the pool is empty for these queries.
        """


class Aggregator(Protocol):
    name: str

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        """Combine the experts' responses, or ask models for more (their responses are in `state.responses`
        at the next step, with one of the roles `AGGREGATING`). `state.decision` is set. Order of responses
        does not matter; failed and unreadable ones are abstentions.
        """


InFlight = tuple[QueryState, Sequence[Response]]
"""A query with its experts' responses: the arguments of `Aggregator.step`."""


@runtime_checkable
class BatchAggregator(Aggregator, Protocol):
    """An aggregator that learns something, without labels, from a job's queries as they are stepped.

    Which ones have been is the schedule's matter, so its answers say what was learnt; the first few queries,
    and a query of its own job, are answered without (docs/decisions/0031)."""

    def learn(self, batch: Sequence[InFlight]) -> Aggregator:
        """The aggregator for these queries, of one job. The order of the batch does not matter; what was
        shown before may count."""


@runtime_checkable
class Pace(Protocol):
    """Decides how many of a decision's experts are asked, and when."""

    def opened(self, state: QueryState, decision: Decision) -> Decision:
        """The decision with those recruited who are asked first."""

    def next(self, state: QueryState, responses: Sequence[Response]) -> Decision | Ask | Done:
        """The decision with the next reserves recruited, or the aggregator's step: ask nobody else."""


class Outlook(NamedTuple):
    """Standing of the vote before anybody else is asked.

    Attributes:
        n_votes: readable responses.
        n_agree: votes for the leading answer.
        lead: summed weight of the leading answer, less that of its best rival or of an answer that nobody
            gave (0).
        confidence: probability that the leading answer is right, where the aggregator estimates one.
        next_weights: the weight that a vote of each reserve would have, in order; same unit as `lead`.
    """

    n_votes: int
    n_agree: int
    lead: float
    confidence: float | None
    next_weights: tuple[float, ...]


class Count(NamedTuple):
    """The votes, counted once: for whether to ask on, and for the answer if nobody else is asked."""

    outlook: Outlook
    done: Callable[[], Done]


@runtime_checkable
class SequentialAggregator(Aggregator, Protocol):
    """An aggregator that can say where the vote stands: what asking in waves needs."""

    def count(self, state: QueryState, expert_responses: Sequence[Response]) -> Count:
        """Count of the votes so far. The order of responses does not matter. `next_weights` of the outlook
        are for `state.decision.reserves`; `done` gives what `step` gives, and reads nothing again."""


class Composition(Protocol):
    """The way from k experts to one answer, as pure resumable steps; never calls a backend itself."""

    name: str

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        """The next step of each query, in order: Ask for calls (all responses so far are in), or Done."""


CompositionFactory = Callable[[Job], Composition]
"""The composition that answers a job's queries; the same job always gets an equal one."""

LaterEngines = Callable[[Job], Collection[str]]
"""Engines that a later stage of a job may need: best visited last. Never fails, and builds nothing."""
