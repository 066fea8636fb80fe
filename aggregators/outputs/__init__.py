"""Aggregators over outputs: responses to answer. One per file; `AGGREGATORS` is the table of names.

A new aggregator is one file with a `make(context, options)` and one row here.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from aggregators.outputs import first, learned, majority, synthesize, verifiers, weighted
from orchestrator.compositions.voting import AggregatorContext, AggregatorRow
from orchestrator.errors import UnknownNameError
from orchestrator.ports.composing import Aggregator

__all__ = ["AGGREGATORS", "make_aggregator"]

AGGREGATORS: dict[str, AggregatorRow] = {
    "majority": AggregatorRow(majority.make),
    "weighted": AggregatorRow(weighted.make),
    "learned": AggregatorRow(learned.make),
    "verifiers": AggregatorRow(verifiers.make),
    "first": AggregatorRow(first.make, quotes_one=True),
    "synthesize": AggregatorRow(synthesize.make, asks_model=True),
}


def make_aggregator(
    name: str, context: AggregatorContext, options: Mapping[str, JsonValue] | None = None
) -> Aggregator:
    """Build the aggregator of that name.

    Raises:
        UnknownNameError: no such aggregator.
        ConfigError: an option the aggregator does not have, or a value out of range.
    """
    if name not in AGGREGATORS:
        raise UnknownNameError("aggregator", name, AGGREGATORS, param="aggregator")
    return AGGREGATORS[name].make(context, options or {})
