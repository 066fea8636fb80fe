"""Aggregators over outputs: responses to answer. One per file; `AGGREGATORS` is the table of names.

A new aggregator is one file with a `make(context, options)` and one row here.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from aggregators.outputs import first, learned, majority, synthesize, verifiers, weighted
from aggregators.outputs.context import AggregatorContext, AggregatorFactory
from orchestrator.errors import UnknownNameError
from orchestrator.ports import Aggregator

__all__ = ["AGGREGATORS", "AggregatorContext", "AggregatorFactory", "make_aggregator"]

AGGREGATORS: dict[str, AggregatorFactory] = {
    "majority": majority.make,
    "weighted": weighted.make,
    "learned": learned.make,
    "verifiers": verifiers.make,
    "first": first.make,
    "synthesize": synthesize.make,
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
    return AGGREGATORS[name](context, options or {})
