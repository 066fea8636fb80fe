from orchestrator.domain.devices import LIVE_S
from orchestrator.settings.schema import SchedulerSettings
from workers.device.pace import DEFAULT_PACE


def test_leases_are_renewed_so_often_that_two_renewals_may_fail() -> None:
    assert DEFAULT_PACE.renewal_s(3) == 1
    assert DEFAULT_PACE.renewal_s(15) == 5
    assert DEFAULT_PACE.renewal_s(60) == 5


def test_three_reports_are_missing_when_a_device_counts_as_gone() -> None:
    assert 3 * DEFAULT_PACE.report_s == LIVE_S


def test_by_default_the_work_of_a_dead_worker_waits_20_s_at_most() -> None:
    settings = SchedulerSettings()
    assert settings.lease_s + settings.sweep_s == 20
