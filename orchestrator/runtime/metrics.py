"""Metrics in memory: sums since they were last taken, and the thread that takes them to the books.

A process that works (a device's loop, steps) keeps its sums for a few seconds and adds them to the database,
where one scrape of any server finds those of all. What a process had not added when it was killed is missing.
"""

import logging
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from orchestrator.domain.metrics import INFINITE, SUM, VALUE, LabelSets, Metric, Part
from orchestrator.errors import MusterError
from orchestrator.ports.telemetry import MetricStore
from orchestrator.runtime.rounds import Rounds

log = logging.getLogger(__name__)

FLUSH_S = 5.0


class Tallies:
    """Sums by series, in memory; for any number of threads."""

    def __init__(self, labels: LabelSets) -> None:
        self._labels = labels
        self._lock = threading.Lock()
        self._sums: dict[Part, float] = defaultdict(float)

    def count(self, metric: Metric, *labels: str, n: float = 1.0) -> None:
        """See `ports.telemetry.Meter`."""
        part = Part(self._labels.series(metric, labels), VALUE)
        with self._lock:
            self._sums[part] += n

    def observe(self, metric: Metric, *labels: str, value: float, n: int = 1) -> None:
        """See `ports.telemetry.Meter`."""
        series = self._labels.series(metric, labels)
        bucket = Part(series, bucket_of(metric, value))
        with self._lock:
            self._sums[bucket] += n
            self._sums[Part(series, SUM)] += n * value

    def sums(self) -> dict[Part, float]:
        """Sums so far."""
        with self._lock:
            return dict(self._sums)

    def take(self) -> dict[Part, float]:
        """Sums since they were last taken."""
        with self._lock:
            taken, self._sums = self._sums, defaultdict(float)
        return taken

    def put_back(self, sums: Mapping[Part, float]) -> None:
        """Take sums back that could not be kept elsewhere."""
        with self._lock:
            for part, value in sums.items():
                self._sums[part] += value


def bucket_of(metric: Metric, value: float) -> str:
    """The upper bound of the bucket that a value falls into."""
    return _bounds(metric.buckets)[bisect_left(metric.buckets, value)]


@lru_cache
def _bounds(buckets: tuple[float, ...]) -> tuple[str, ...]:
    """Upper bounds of buckets, as labels write them."""
    return (*(f"{bound:g}" for bound in buckets), INFINITE)


class MetricKeeper:
    """Adds a process's sums to the books, every few seconds and at its end."""

    def __init__(self, tallies: Tallies, store: MetricStore, *, every_s: float = FLUSH_S) -> None:
        self._tallies = tallies
        self._store = store
        self._rounds = Rounds("muster-metrics", self.keep, every_s=every_s, join_s=every_s)

    def start(self) -> None:
        """Begin; idempotent."""
        self._rounds.start()

    def stop(self) -> None:
        """Add what is left, and end."""
        self._rounds.stop()
        self.keep()

    def keep(self) -> None:
        """Add what was counted since; where the books are away, next time. Never fails."""
        sums = self._tallies.take()
        if not sums:
            return
        try:
            self._store.add_metrics(sums)
        except MusterError as error:
            self._tallies.put_back(sums)
            log.debug("metrics are kept for later: %s", error)
