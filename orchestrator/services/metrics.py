"""Metrics of a whole stack at one moment: what its processes counted, what waits, what usage sums up to."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from orchestrator.domain.assignments import EngineBacklog
from orchestrator.domain.metrics import (
    BATCH_LINES,
    QUEUE_DEPTH,
    QUEUE_OLDEST,
    RESERVED_COST,
    TOKENS,
    VALUE,
    LabelSets,
    Metric,
    Part,
)
from orchestrator.domain.usage import LINE, QUESTION_ROLES
from orchestrator.ports.jobs import WaitingReader
from orchestrator.ports.telemetry import MetricStore
from orchestrator.ports.usage import UsageReader

_NOBODY = "nobody"
"""Owns no lease: to it, all work is others'."""

Sums = dict[Part, float]


class MetricSources(NamedTuple):
    """Sources of metrics.

    Attributes:
        keep: adds what this process has counted to the books.
        reserved_usd: USD that running work has reserved.
    """

    store: MetricStore
    usage: UsageReader
    waiting: WaitingReader
    keep: Callable[[], None]
    reserved_usd: Callable[[], float] = lambda: 0.0


class Metrics:
    """Reads what there is to report; what that costs does not grow with what is stored."""

    def __init__(self, sources: MetricSources, labels: LabelSets) -> None:
        self._sources = sources
        self._labels = labels

    def sums(self) -> Sums:
        """All numbers but those of requests, which each server counts for itself.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        self._sources.keep()
        found: Sums = defaultdict(float, self._sources.store.metrics())
        self._add_usage(found)
        self._add_queues(found)
        self._add(found, RESERVED_COST, value=self._sources.reserved_usd())
        return found

    def queues(self) -> Mapping[str, EngineBacklog]:
        """Work that waits, by engine.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        return {item.engine_id: item for item in self._sources.waiting.backlog(owner=_NOBODY)}

    def _add_usage(self, found: Sums) -> None:
        for key, sums in self._sources.usage.totals().items():
            if key.role not in QUESTION_ROLES:
                self._add(found, TOKENS, key.model, key.role, "input", value=sums.prompt_tokens)
                self._add(found, TOKENS, key.model, key.role, "output", value=sums.completion_tokens)
            elif key.role == LINE:
                self._add(found, BATCH_LINES, "completed", value=sums.n_completed)
                self._add(found, BATCH_LINES, "failed", value=sums.n_failed)
                self._add(found, BATCH_LINES, "cancelled", value=sums.n_cancelled)
                self._add(found, BATCH_LINES, "expired", value=sums.n_expired)

    def _add_queues(self, found: Sums) -> None:
        for item in self._sources.waiting.backlog(owner=_NOBODY):
            self._add(found, QUEUE_DEPTH, item.engine_id, value=item.n_waiting)
            oldest = Part(self._labels.series(QUEUE_OLDEST, (item.engine_id,)), VALUE)
            found[oldest] = max(found[oldest], item.oldest_wait_s)

    def _add(self, found: Sums, metric: Metric, *labels: str, value: float) -> None:
        found[Part(self._labels.series(metric, labels), VALUE)] += value
