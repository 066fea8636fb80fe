"""Aggregators of packages: what they raise, and steps that are none, are told as their package's fault."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from pydantic import JsonValue

from orchestrator.compositions.voting import AggregatorContext, AggregatorRow
from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Ask, Done, QueryState, Response
from orchestrator.ports.composing import Aggregator, InFlight
from orchestrator.tables import Blaming, require


def blamed(row: AggregatorRow, blame: Blaming) -> AggregatorRow:
    """The row of a package, with aggregators of which `told` tells the faults."""

    def made(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
        with blame():
            return told(row.make(context, options), blame)

    def asks_model(options: Mapping[str, JsonValue]) -> bool:
        with blame():
            return row.asks(options)

    return row._replace(make=made, asks_model_if=asks_model if row.asks_model_if else None)


def told(aggregator: Aggregator, blame: Blaming) -> Aggregator:
    """The aggregator of a package, with what it has of the ports beside `Aggregator`; each of its methods
    tells its faults.

    Raises:
        TypeError: it is none.
    """
    require(aggregator, "Aggregator", ("name", "step"))
    methods: dict[str, Any] = {"step": _guarded(aggregator.step, blame, (Ask, Done))}
    if (learn := getattr(aggregator, "learn", None)) is not None:
        methods["learn"] = _learning(learn, blame)
    if (following := getattr(aggregator, "next", None)) is not None:
        methods["next"] = _guarded(following, blame, (Decision, Ask, Done))
    if (opened := getattr(aggregator, "opened", None)) is not None:
        methods["opened"] = _guarded(opened, blame, (Decision,))
    if (count := getattr(aggregator, "count", None)) is not None:
        methods["count"] = _guarded(count, blame, ())
    if hasattr(aggregator, "quotes_one"):
        methods["quotes_one"] = aggregator.quotes_one
    return SimpleNamespace(name=aggregator.name, **methods)


def _guarded(method: Callable[..., Any], blame: Blaming, kinds: tuple[type, ...]) -> Callable[..., Any]:
    """A method that tells its faults, and gives a value of one of these kinds; () = of any."""

    def call(state: QueryState, other: Sequence[Response] | Decision) -> Any:
        with blame():
            value = method(state, other)
            if kinds and not isinstance(value, kinds):
                raise TypeError(f"a {type(value).__name__} is no {' or '.join(k.__name__ for k in kinds)}")
            return value

    return call


def _learning(learn: Callable[[Sequence[InFlight]], Aggregator], blame: Blaming) -> Callable[..., Aggregator]:
    def call(batch: Sequence[InFlight]) -> Aggregator:
        with blame():
            return told(learn(batch), blame)

    return call
