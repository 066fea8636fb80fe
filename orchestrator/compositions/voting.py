"""Aggregators as compositions see them: what they are built from, and what a row of their table says."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from pydantic import JsonValue

from orchestrator.domain.assignments import QueryState
from orchestrator.domain.cards import CompetenceCard, Profile
from orchestrator.domain.experts import Pool
from orchestrator.ports.composing import Aggregator
from orchestrator.ports.skills import Embedder, Grader


class AggregatorContext(NamedTuple):
    """
    Attributes:
        grader: reads and compares answers.
        pool, cards: who may be asked to write the final answer, and how well they do that.
        profile: responses on the profile questions, for what learns from them; None = not profiled here.
        seed: of what is fitted once, and of draws per query where the query's state has none.
        embedder: compares texts; made when it is first called. None = there is none.
    """

    grader: Grader
    pool: Pool
    cards: Mapping[str, CompetenceCard]
    profile: Profile | None = None
    seed: int = 0
    embedder: Callable[[], Embedder] | None = None

    def seed_of(self, state: QueryState) -> int:
        """The seed of what is drawn for one query."""
        return self.seed if state.seed is None else state.seed


AggregatorFactory = Callable[[AggregatorContext, Mapping[str, JsonValue]], Aggregator]


class AggregatorRow(NamedTuple):
    """A row of the table of aggregators.

    Attributes:
        asks_model: its answer is written or judged by a member of the pool with the role `aggregator`.
        quotes_one: a lone recruit's words are the answer as they are, so they may be heard while written.
        reads_prose: it needs no answers that can be counted, so it handles open questions.
        asks_model_if: says so of given options; None = `asks_model`, whatever the options.
    """

    make: AggregatorFactory
    asks_model: bool = False
    quotes_one: bool = False
    reads_prose: bool = False
    asks_model_if: Callable[[Mapping[str, JsonValue]], bool] | None = None

    def asks(self, options: Mapping[str, JsonValue]) -> bool:
        """True if it asks a member with the role `aggregator`, with these options."""
        return self.asks_model if self.asks_model_if is None else self.asks_model_if(options)


@runtime_checkable
class Quoting(Protocol):
    """An aggregator that knows itself whether a lone recruit's words will be the answer."""

    @property
    def quotes_one(self) -> bool:
        """True if a lone recruit's words will be the answer as they are."""


def quotes_one(row: AggregatorRow, aggregator: Aggregator) -> bool:
    """True if a lone recruit's words are the answer as they are, by its row or by what it learnt."""
    return row.quotes_one or (isinstance(aggregator, Quoting) and aggregator.quotes_one)
