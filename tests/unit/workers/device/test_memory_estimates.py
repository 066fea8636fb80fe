"""What engines take of a device: worked by hand."""

import os
from pathlib import Path

import pytest

from orchestrator.domain.devices import LoadKind, Rate
from orchestrator.domain.experts import EngineSpec
from orchestrator.ports.engines import EngineMemory
from tests.fakes.work import HandClock
from workers.device.measured import WAKE_SHARE, Measurements
from workers.device.memory import MOST_RESIDENT, WEIGHED_S, Held, Memory


def spec(engine_id: str = "e", *, model: str = "none", gib: float | None = None) -> EngineSpec:
    return EngineSpec(id=engine_id, backend="scripted", model=model, memory_gib=gib)


def test_the_measured_peak_counts_before_the_promise_and_this_before_the_weights(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        os.truncate(file.fileno(), 3 << 29)  # 1.5 GiB, sparse
    measured = Measurements("gpu")
    memory = Memory(measured)
    assert memory.need_gib(spec(model=str(tmp_path))) == 3.0
    assert memory.need_gib(spec(model=str(tmp_path), gib=9)) == 9.0
    measured.read({("e", "gpu"): Rate(memory_gib=4.0)})
    assert memory.need_gib(spec(model=str(tmp_path), gib=9)) == 4.0


def test_a_peak_of_another_kind_of_device_is_none_here() -> None:
    measured = Measurements("gpu")
    measured.read({("e", "cpu"): Rate(memory_gib=4.0)})
    assert measured.memory_gib("e") is None


def test_left_is_the_least_of_the_limit_and_the_device() -> None:
    """Limit 20 - 8 - 6 = 6. Device: 9 free, minus 2 that a has still to grow, minus 1 of reserve = 6."""
    measured = Measurements("gpu")
    measured.read({("a", "gpu"): Rate(memory_gib=8.0), ("b", "gpu"): Rate(memory_gib=6.0)})
    held = [Held(spec("a"), EngineMemory(6.0, 6.0, 9.0)), Held(spec("b"), EngineMemory(6.0, 6.0, 11.0))]
    assert Memory(measured, limit_gib=20).left_gib(held) == 6.0
    assert Memory(measured, limit_gib=18).left_gib(held) == 4.0
    assert Memory(measured).left_gib(held) == 6.0


def test_without_a_gpu_the_hosts_memory_counts() -> None:
    memory = Memory(Measurements("cpu"), host_free_gib=lambda: 5.0)
    assert memory.left_gib([Held(spec("a"), EngineMemory(1.0, 1.5))]) == 3.5


def test_engines_that_do_not_say_where_they_lie_are_on_the_gpu_if_there_is_one() -> None:
    """Then the system's 500 GiB are nothing to them; beside a GPU that nobody can read, nothing."""
    held = [Held(spec("a", gib=4))]
    measured = Measurements("gpu")
    memory = Memory(measured, host_free_gib=lambda: 500.0, gpu_free_gib=lambda: 3.0)
    assert memory.left_gib(held) == 2.0
    assert Memory(measured, host_free_gib=lambda: 500.0, gpu_free_gib=lambda: None).left_gib(held) is None


def test_unknown_sizes_are_alone_unless_the_user_named_a_number() -> None:
    memory = Memory(Measurements("cpu"), host_free_gib=lambda: None)
    assert memory.need_gib(spec()) is None
    assert memory.left_gib([]) is None
    assert memory.most == MOST_RESIDENT
    vouched = Memory(Measurements("cpu"), max_resident=3, host_free_gib=lambda: None)
    assert vouched.need_gib(spec()) == 0.0
    assert (vouched.left_gib([]) or 0) > 1e9
    assert vouched.most == 3


def test_what_failed_beside_others_is_alone_until_it_loads_and_larger_than_what_was_left() -> None:
    memory = Memory(Measurements("cpu"), host_free_gib=lambda: 9.0)
    memory.failed_beside("e", left_gib=5.0)
    assert memory.need_gib(spec(gib=2)) is None
    memory.loaded("e")
    need_gib = memory.need_gib(spec(gib=2))
    assert need_gib is not None
    assert 5.0 < need_gib < 5.1


def test_loads_are_estimated_by_what_is_there() -> None:
    """A cold load took 40 s, a warm one 10, a wake 2; asleep without a measured wake: a quarter."""
    measured = Measurements("gpu")
    measured.read({("a", "gpu"): Rate(40, cold_s=40, warm_s=10, wake_s=2), ("b", "gpu"): Rate(8, cold_s=8)})
    assert measured.rates_now().load("a") == 40
    assert measured.rates_now(read_ahead=["a"]).load("a") == 10
    assert measured.rates_now(asleep=["a", "b"]).load_s == {"a": 2, "b": WAKE_SHARE * 8}


def test_a_wake_does_not_count_as_a_load_from_files() -> None:
    measured = Measurements("gpu")
    measured.note_load("a", 40.0, LoadKind.COLD)
    measured.note_load("a", 1.0, LoadKind.WAKE)
    assert measured.rates.load("a") == 40.0


def test_weights_on_disk_are_looked_at_again_after_a_while(tmp_path: Path) -> None:
    """Not in every round of the loop: folders of many files on slow disks."""
    clock = HandClock()
    memory = Memory(Measurements("cpu"), clock=clock)
    growing = spec(model=str(tmp_path))
    (tmp_path / "a.safetensors").write_bytes(b"0" * 1000)
    first = memory.estimate_gib(growing)
    (tmp_path / "b.safetensors").write_bytes(b"0" * 3000)
    assert first is not None
    assert memory.estimate_gib(growing) == first
    clock.now += WEIGHED_S
    assert memory.estimate_gib(growing) == pytest.approx(4 * first)
