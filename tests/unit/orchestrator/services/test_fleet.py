"""What is said of a fleet: numbers and sentences by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.devices import DeviceReport
from orchestrator.domain.diagnoses import Diagnosis
from orchestrator.domain.fleet import ClockReading, EngineHere, FleetLook, ProcessReport, PublishedPool
from orchestrator.services.fleet import FleetState, checks_of, hosts_of
from orchestrator.services.fleet_reports import clock_reading
from workers.leases.owners import loop_of


def process(host: str = "one", role: str = "worker", **more: object) -> ProcessReport:
    boot = str(more.pop("boot", f"boot-{host}"))
    told = {
        "process": f"{host}|{boot}/ns|{more.pop('pid', 7)}|100",
        "role": role,
        "host": host,
        "machine": f"{host}|{boot}/ns",
        "device": "cuda:0" if role == "worker" else None,
        "config_hash": "c1c1c1c1c1c1",
        "seen_s": 1.0,
        "age_s": 50.0,
        **more,
    }
    return ProcessReport.model_validate(told)


WELL = (process("hub", "api"), process("hub", "beat", pid=8), process("one"), process("two"))


def device(of: ProcessReport, **more: object) -> DeviceReport:
    told = {"owner": f"{of.process}|1", "device": "cuda:0", "serves": ("a",), **more}
    return DeviceReport.model_validate(told)


def failed(
    *processes: ProcessReport, devices: tuple[DeviceReport, ...] | None = None, **more: object
) -> dict[str, str]:
    """What is wrong, by check."""
    own = tuple(device(p) for p in processes if p.role == "worker" and not p.is_silent)
    look = FleetLook(tuple(processes), own if devices is None else devices, **more)  # type: ignore[arg-type]
    checks = list(checks_of(look, engine_ids=("a",), loop_of=loop_of))
    assert all(check.remedy for check in checks if not check.ok), "whatever is wrong says what to do"
    return {check.check: check.detail for check in checks if not check.ok}


def test_a_fleet_in_which_nothing_is_wrong_says_so() -> None:
    assert failed(*WELL) == {}
    checks = (Diagnosis("hosts", True, ""),)
    assert FleetState((), checks).is_well


def test_versions_that_differ_are_named_with_the_hosts_that_have_them() -> None:
    one = process("one", versions={"torch": "2.11.0", "python": "3.12.1"})
    two = process("two", versions={"torch": "2.10.0", "python": "3.12.1"})
    found = failed(*WELL[:2], one, two)
    assert found == {"versions": "torch differs: 2.10.0 on two; 2.11.0 on one"}
    assert failed(*WELL[:3], process("two", versions={"vllm": "0.33"})) == {}, "a host may lack a package"


def test_configurations_that_differ_are_named_and_which_was_published_last() -> None:
    other = process("two", config_hash="d2d2d2d2d2d2")
    published = PublishedPool(config_hash="d2d2d2d2d2d2", host="hub", rows=())
    said = failed(*WELL[:3], other, published=published)["configurations"]
    assert said == "they differ: c1c1c1c1 on hub, one; d2d2d2d2 on two; d2d2d2d2 was published last, by hub"
    assert "configurations" in failed(*WELL, published=published), "all alike, and all outdated"


def test_an_engine_of_one_name_and_two_definitions_is_told() -> None:
    one = process("one", engines=(EngineHere(engine_id="a", definition="11111111xx"),))
    two = process("two", engines=(EngineHere(engine_id="a", definition="22222222xx"),))
    assert failed(*WELL[:2], one, two) == {"definitions": "a differs: 11111111 on one; 22222222 on two"}


def test_a_clock_is_told_only_where_it_is_off_for_certain() -> None:
    def at(offset_s: float, error_s: float) -> dict[str, str]:
        clock = ClockReading(offset_s=offset_s, error_s=error_s)
        return failed(*WELL[:3], process("two", clock=clock))

    assert at(-3600.0, 0.25) == {"clocks": "the clock of two is 3600.0 ± 0.250 s behind the database's"}
    assert at(2.5, 0.25) == {"clocks": "the clock of two is 2.5 ± 0.250 s ahead of the database's"}
    assert at(2.5, 0.75) == at(-1.9, 0.0) == {}


def test_a_silent_host_is_told_until_another_took_its_place() -> None:
    gone = process("two", seen_s=80.0, age_s=400.0)
    assert failed(*WELL[:3], gone)["hosts"] == "two is silent since 80 s"
    booted = process("two", boot="later", age_s=60.0)
    assert failed(*WELL[:3], gone, booted) == {}


def test_a_twin_of_the_same_name_takes_nobodys_place() -> None:
    gone = process("two", seen_s=80.0, age_s=400.0)
    twin = process("two", boot="twin", age_s=400.0)
    assert failed(*WELL[:3], gone, twin)["hosts"] == "two (boot-two) is silent since 80 s"
    hosts = hosts_of(FleetLook((*WELL[:3], process("two"), twin)))
    assert [host.name for host in hosts] == ["hub", "one", "two (boot-two)", "two (twin)"]


def test_containers_of_one_boot_and_name_are_told_apart_too() -> None:
    first, second = (
        process("box", machine=f"box|boot-box/{ns}", process=f"box|boot-box/{ns}|7|1")
        for ns in ("ns1", "ns2")
    )
    names = [host.name for host in hosts_of(FleetLook((first, second)))]
    assert names == ["box (boot-box, ns1)", "box (boot-box, ns2)"]


def test_one_silent_process_of_a_host_that_lives_is_told_by_itself() -> None:
    gone = process("two", pid=9, device="cuda:1", seen_s=20.0)
    said = failed(*WELL, gone)
    assert said == {"hosts": "the worker on cuda:1 (process 9) of two is silent since 20 s"}


def test_without_a_worker_or_a_beat_it_says_which_is_missing() -> None:
    assert failed(*WELL[:2])["processes"] == "no worker is heard of"
    assert failed(WELL[0], *WELL[2:])["processes"] == "no beat is heard of"
    assert failed()["hosts"] == "nobody was heard of"


def test_an_engine_that_nobody_serves_is_told_with_the_reason() -> None:
    own = (device(WELL[2], serves=("b",)), device(WELL[3], serves=("b",)))
    assert failed(*WELL, devices=own)["engines"].startswith("nobody serves a (down):")


def test_weights_that_differ_are_told_by_host_and_once_for_its_processes() -> None:
    engine = EngineHere(
        engine_id="a", definition="d", weights="differ", why="file w differs.", heal="Copy it."
    )
    two = [process("two", pid=n, device=f"cuda:{n}", engines=(engine,)) for n in (1, 2)]
    assert failed(*WELL[:3], *two) == {"withheld": "two does not serve a: file w differs."}
    reading = engine.replaced(weights="checking", why="3 of 9 GiB are read")
    assert failed(*WELL[:3], process("two", engines=(reading,))) == {}


@given(
    offset_s=st.floats(-1e6, 1e6),
    there_s=st.floats(0, 10),
    back_s=st.floats(0, 10),
)
def test_the_true_offset_is_within_the_error_whatever_the_ways_take(
    offset_s: float, there_s: float, back_s: float
) -> None:
    """The database's clock is the true one; this host's is ahead of it."""
    now = [1000.0]

    def database() -> float:
        now[0] += there_s
        read = now[0]
        now[0] += back_s
        return read

    found = clock_reading(database, host_s=lambda: now[0] + offset_s, n=1)
    assert abs(found.offset_s - offset_s) <= found.error_s + 1e-6
    assert found.error_s == pytest.approx((there_s + back_s) / 2, abs=1e-6)


def test_of_several_readings_the_shortest_counts_and_one_during_which_the_clock_was_set_back_does_not() -> (
    None
):
    times = iter([10.0, 14.0, 20.0, 21.0, 30.0, 22.0])
    found = clock_reading(lambda: 5.0, host_s=lambda: next(times))
    assert (found.offset_s, found.error_s) == (15.5, 0.5)
