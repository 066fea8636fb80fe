"""Metrics as Prometheus reads them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from orchestrator.domain.metrics import INFINITE, METRICS, SUM, VALUE, Metric, MetricKind, Part

MEDIA_TYPE = CONTENT_TYPE_LATEST

_Numbers = Mapping[tuple[str, ...], Mapping[str, float]]
"""Numbers of one metric: label values to part to number."""


def exposition(sums: Mapping[Part, float]) -> bytes:
    """All metrics in Prometheus' text format; those without a series yet with their name and help."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(sums))
    return generate_latest(registry)


class _Snapshot(Collector):
    """Numbers of one moment."""

    def __init__(self, sums: Mapping[Part, float]) -> None:
        self._sums = sums

    def collect(self) -> Iterator[Family]:
        by_name: dict[str, dict[tuple[str, ...], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        for (series, part), value in sorted(self._sums.items()):
            by_name[series.name][series.labels][part] = value
        for metric in METRICS:
            yield _family(metric, by_name.get(metric.name, {}))


def _family(metric: Metric, numbers: _Numbers) -> Family:
    if metric.kind is MetricKind.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=list(metric.labels))
        for labels, parts in numbers.items():
            histogram.add_metric(labels, _cumulative(metric, parts), parts.get(SUM, 0.0))
        return histogram
    kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=list(metric.labels))
    for labels, parts in numbers.items():
        family.add_metric(labels, parts.get(VALUE, 0.0))
    return family


def _cumulative(metric: Metric, parts: Mapping[str, float]) -> list[tuple[str, float]]:
    """Buckets as Prometheus counts them: each holds all that are below."""
    found, n = [], 0.0
    for bound in _bounds(metric.buckets):
        n += parts.get(bound, 0.0)
        found.append((bound, n))
    return found


def _bounds(buckets: Iterable[float]) -> list[str]:
    return [*(f"{bound:g}" for bound in buckets), INFINITE]
