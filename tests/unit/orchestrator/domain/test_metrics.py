"""Labels take values of fixed sets only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.metrics import BY_NAME, METRICS, OTHER, REQUESTS, STAGE_SECONDS, LabelSets, Stage

SETS = LabelSets(is_model={"m"}.__contains__, is_endpoint={"/v1"}.__contains__)


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_whatever_is_said_the_series_are_of_the_sets(endpoint: str, model: str, outcome: str) -> None:
    labels = SETS.series(REQUESTS, (endpoint, model, outcome)).labels
    known = [{"/v1", OTHER}, {"m", OTHER}, {"ok", "refused", "limited", "failed", "left", OTHER}]
    assert all(value in allowed for value, allowed in zip(labels, known, strict=True))


def test_values_of_the_sets_stay() -> None:
    assert SETS.series(REQUESTS, ("/v1", "m", "ok")).labels == ("/v1", "m", "ok")
    assert SETS.series(STAGE_SECONDS, (Stage.RECRUIT,)).labels == ("recruit",)


def test_a_label_that_is_forgotten_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        SETS.series(REQUESTS, ("/v1",))


def test_names_are_those_that_dashboards_know() -> None:
    assert set(BY_NAME) == {
        "muster_requests_total",
        "muster_request_duration_seconds",
        "muster_stage_duration_seconds",
        "muster_model_loads_total",
        "muster_model_load_seconds",
        "muster_read_ahead_bytes_total",
        "muster_group_size",
        "muster_queue_depth",
        "muster_queue_oldest_seconds",
        "muster_tokens_total",
        "muster_reserved_cost",
        "muster_batch_lines_total",
    }
    assert all(metric.help.endswith(".") for metric in METRICS)
