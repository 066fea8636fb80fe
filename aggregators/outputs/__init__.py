"""Aggregators over outputs: responses to answer. One per file; `AGGREGATORS` is the table of names.

A new aggregator is one file with a `make(context, options)` and one row: here, or an entry point of the
group `muster.aggregators` in a package of its own.
"""

from collections.abc import Mapping
from typing import TypeGuard

from pydantic import JsonValue

from aggregators.outputs import (
    cascade,
    choice_shuffle,
    conductor,
    debate,
    first,
    graded,
    judge,
    learned,
    majority,
    mbr,
    moa,
    ranker,
    self_consistency,
    stability,
    synthesize,
    verifiers,
    weak_verifiers,
    weighted,
)
from orchestrator.compositions.blamed import blamed
from orchestrator.compositions.voting import AggregatorContext, AggregatorRow
from orchestrator.ports.composing import Aggregator
from orchestrator.tables import Extension, NameTable

__all__ = ["AGGREGATORS", "make_aggregator"]


def _is_row(row: object) -> TypeGuard[AggregatorRow]:
    return isinstance(row, AggregatorRow)


_OURS: Mapping[str, AggregatorRow] = {
    "majority": AggregatorRow(majority.make),
    "weighted": AggregatorRow(weighted.make),
    "learned": AggregatorRow(learned.make),
    "verifiers": AggregatorRow(verifiers.make),
    "first": AggregatorRow(first.make, quotes_one=True, reads_prose=True),
    "graded": AggregatorRow(graded.make, reads_prose=True),
    "synthesize": AggregatorRow(synthesize.make, asks_model=True, reads_prose=True),
    "judge": AggregatorRow(judge.make, asks_model=True, reads_prose=True),
    "ranker": AggregatorRow(ranker.make, asks_model=True, reads_prose=True),
    "weak_verifiers": AggregatorRow(
        weak_verifiers.make, asks_model=True, asks_model_if=weak_verifiers.asks_model
    ),
    "debate": AggregatorRow(debate.make, asks_model=True, asks_model_if=debate.asks_model),
    "moa": AggregatorRow(moa.make, asks_model=True, reads_prose=True),
    "conductor": AggregatorRow(conductor.make, asks_model=True),
    "self_consistency": AggregatorRow(self_consistency.make),
    "choice_shuffle": AggregatorRow(choice_shuffle.make),
    "stability": AggregatorRow(stability.make),
    "mbr": AggregatorRow(mbr.make, reads_prose=True, asks_model_if=mbr.asks_model),
    "cascade": AggregatorRow(cascade.make),
}

AGGREGATORS = NameTable(
    "aggregator",
    _OURS,
    extension=Extension("muster.aggregators", _is_row, "an AggregatorRow", blamed),
    param="aggregator",
)


def make_aggregator(
    name: str, context: AggregatorContext, options: Mapping[str, JsonValue] | None = None
) -> Aggregator:
    """Build the aggregator of that name.

    Raises:
        UnknownNameError: no such aggregator.
        ConfigError: an option the aggregator does not have, a value out of range, or a row of a package that
            is refused (`NameTable.find`).
    """
    return AGGREGATORS.find(name).make(context, options or {})
