"""Metrics: their names, what each counts, and the sets that their labels' values come from.

A label's value is one of a set that the configuration and this program fix, or `OTHER`: what strangers send
makes no new time series.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

from orchestrator.domain.devices import LoadKind

OTHER = "other"
"""Label value in place of one that is not of its set."""

NONE = ""
"""Label value where there is nothing to say; to Prometheus it is no label."""


class Stage(StrEnum):
    """Stage of a question: who it needs is named, who is asked is chosen, the experts work, one answer is
    made."""

    ANNOTATE = "annotate"
    RECRUIT = "recruit"
    EXPERTS = "experts"
    AGGREGATE = "aggregate"


class Outcome(StrEnum):
    """Outcome of a request: answered; refused for what it is (4xx); for there being too many (429); failed by
    us (5xx); left by its client before the end."""

    OK = "ok"
    REFUSED = "refused"
    LIMITED = "limited"
    FAILED = "failed"
    LEFT = "left"


class Label(StrEnum):
    """Name of a label."""

    ENDPOINT = "endpoint"
    MODEL = "model"
    OUTCOME = "outcome"
    STAGE = "stage"
    KIND = "kind"
    ROLE = "role"
    DIRECTION = "direction"
    STATE = "state"


class MetricKind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """A metric. `buckets`: upper bounds of a histogram's, ascending; what is above them all counts, too."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()


_COUNTER, _GAUGE, _HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM
_WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_STAGES = (0.001, 0.0025, 0.005, *_WAITS)
_LOADS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
_GROUPS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

REQUESTS = Metric(
    "muster_requests_total",
    _COUNTER,
    "Requests of this process, by route, the model that they named, and how they ended.",
    (Label.ENDPOINT, Label.MODEL, Label.OUTCOME),
)
REQUEST_SECONDS = Metric(
    "muster_request_duration_seconds",
    _HISTOGRAM,
    "Seconds from a request's head to the end of its response.",
    (Label.ENDPOINT,),
    _WAITS,
)
STAGE_SECONDS = Metric(
    "muster_stage_duration_seconds",
    _HISTOGRAM,
    "Seconds of a stage: of a step over the queries that took it together, of an expert's call.",
    (Label.STAGE,),
    _STAGES,
)
LOADS = Metric(
    "muster_model_loads_total",
    _COUNTER,
    "Loads of engines onto devices.",
    (Label.MODEL, Label.KIND),
)
LOAD_SECONDS = Metric(
    "muster_model_load_seconds",
    _HISTOGRAM,
    "Seconds of a load.",
    (Label.MODEL, Label.KIND),
    _LOADS,
)
READ_AHEAD = Metric(
    "muster_read_ahead_bytes_total",
    _COUNTER,
    "Bytes of weights that were read into the page cache ahead of a load.",
    (Label.MODEL,),
)
GROUP_SIZE = Metric("muster_group_size", _HISTOGRAM, "Calls that an engine was given at once.", (), _GROUPS)
QUEUE_DEPTH = Metric("muster_queue_depth", _GAUGE, "Calls that wait for an engine.", (Label.MODEL,))
QUEUE_OLDEST = Metric(
    "muster_queue_oldest_seconds",
    _GAUGE,
    "For how long the oldest call has waited for an engine.",
    (Label.MODEL,),
)
TOKENS = Metric(
    "muster_tokens_total",
    _COUNTER,
    "Tokens that experts read and wrote, by the role of the call.",
    (Label.MODEL, Label.ROLE, Label.DIRECTION),
)
RESERVED_COST = Metric("muster_reserved_cost", _GAUGE, "USD that running work has reserved of budgets.")
BATCH_LINES = Metric(
    "muster_batch_lines_total", _COUNTER, "Lines of batches that ended, by how.", (Label.STATE,)
)

METRICS = (
    *(REQUESTS, REQUEST_SECONDS, STAGE_SECONDS, LOADS, LOAD_SECONDS, READ_AHEAD, GROUP_SIZE),
    *(QUEUE_DEPTH, QUEUE_OLDEST, TOKENS, RESERVED_COST, BATCH_LINES),
)
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}

IsKnown = Callable[[str], bool]
"""Whether a value is of a label's set."""


class Series(NamedTuple):
    """One time series: a metric's name and its labels' values, in the metric's order."""

    name: str
    labels: tuple[str, ...] = ()


class Part(NamedTuple):
    """One number of a series. `part`: `value`; of a histogram `sum`, or the upper bound of a bucket."""

    series: Series
    part: str


VALUE, SUM, INFINITE = "value", "sum", "+Inf"


class LabelSets:
    """Sets that label values come from; a name that is not of its set is `OTHER`.

    Args:
        is_model: names of the configured pool: experts, engines, and what requests may ask for.
        is_endpoint: templates of the routes there are.
        is_role: roles of calls.
    """

    def __init__(
        self,
        *,
        is_model: IsKnown,
        is_endpoint: IsKnown = lambda _name: False,
        is_role: IsKnown = lambda _name: False,
    ) -> None:
        self._sets: Mapping[Label, IsKnown] = {
            Label.MODEL: is_model,
            Label.ENDPOINT: is_endpoint,
            Label.ROLE: is_role,
            Label.OUTCOME: frozenset(Outcome).__contains__,
            Label.STAGE: frozenset(Stage).__contains__,
            Label.KIND: frozenset(LoadKind).__contains__,
            Label.DIRECTION: frozenset({"input", "output"}).__contains__,
            Label.STATE: frozenset({"completed", "failed", "cancelled", "expired"}).__contains__,
        }

    def series(self, metric: Metric, values: tuple[str, ...]) -> Series:
        """The series of a metric with these label values, in the metric's order.

        Raises:
            ValueError: as many values as labels there are not.
        """
        pairs = zip(metric.labels, values, strict=True)
        return Series(metric.name, tuple(self._closed(label, value) for label, value in pairs))

    def _closed(self, label: Label, value: str) -> str:
        return value if value == NONE or self._sets[label](value) else OTHER
