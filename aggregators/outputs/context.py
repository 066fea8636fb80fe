"""What every aggregator over outputs is built from."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.domain.cards import CompetenceCard, Profile
from orchestrator.domain.experts import Pool
from orchestrator.ports import Aggregator, Grader


class AggregatorContext(NamedTuple):
    """
    Attributes:
        grader: reads and compares answers.
        pool, cards: who may be asked to write the final answer, and how well they do that.
        profile: responses on the profile questions, for what learns from them; None = not profiled here.
        seed: shuffles candidates, per query.
    """

    grader: Grader
    pool: Pool
    cards: Mapping[str, CompetenceCard]
    profile: Profile | None = None
    seed: int = 0


AggregatorFactory = Callable[[AggregatorContext, Mapping[str, JsonValue]], Aggregator]
