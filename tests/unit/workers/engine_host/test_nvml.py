"""Free memory of GPUs as the driver tells it: a driver of the test's own, in the place of NVML."""

import ctypes
from pathlib import Path

import pytest

from orchestrator.domain.experts import EngineSpec
from workers.device.own_gpu import numbers_of
from workers.engine_host import nvml


class Driver:
    """Answers as NVML does; GPUs by their number or UUID, with their free GiB."""

    def __init__(self, **free_gib: float) -> None:
        self._free_gib = free_gib

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, handle: object) -> int:
        return self._find(f"n{index.value}", handle)

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: object) -> int:
        return self._find(uuid.decode(), handle)

    def nvmlDeviceGetCount_v2(self, count: object) -> int:
        count._obj.value = sum(name.startswith("n") for name in self._free_gib)  # type: ignore[attr-defined]
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: ctypes.c_void_p, memory: object) -> int:
        at = (handle.value or 0) - 1
        memory._obj.free = int(list(self._free_gib.values())[at] * nvml.GIB)  # type: ignore[attr-defined]
        return 0

    def _find(self, name: str, handle: object) -> int:
        if name not in self._free_gib:
            return 2
        handle._obj.value = 1 + list(self._free_gib).index(name)  # type: ignore[attr-defined]
        return 0


@pytest.mark.parametrize(
    ("visible", "free_gib"),
    [(None, 70.0), ("1", 20.0), ("0,1", 20.0), ("GPU7", 5.0), ("3", None), ("0,3", None)],
)
def test_the_visible_gpu_with_least_memory_counts_and_an_unknown_one_is_not_guessed(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, free_gib: float | None
) -> None:
    monkeypatch.setattr(nvml, "_library", lambda: Driver(n0=70.0, n1=20.0, GPU7=5.0))
    monkeypatch.delenv(nvml.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(nvml.VISIBLE, visible)
    assert nvml.gpu_free_gib() == free_gib


@pytest.mark.parametrize(
    ("device", "options", "free_gib"),
    [
        ("auto", {}, 70.0),
        ("cuda", {}, 20.0),
        ("auto", {"device": "cuda:1"}, 20.0),
        ("auto", {"device": "cuda:0"}, 70.0),
        ("auto", {"device": "cuda:7"}, None),
    ],
)
def test_all_gpus_count_that_the_engines_of_a_device_use(
    monkeypatch: pytest.MonkeyPatch, device: str, options: dict[str, str], free_gib: float | None
) -> None:
    monkeypatch.setattr(nvml, "_library", lambda: Driver(n0=70.0, n1=20.0, n2=60.0))
    monkeypatch.delenv(nvml.VISIBLE, raising=False)
    engine = EngineSpec(id="e", backend="transformers", model="m", options=dict(options))
    assert nvml.gpu_free_gib(device, numbers_of([engine])) == free_gib


def test_without_a_driver_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_library", lambda: None)
    assert nvml.gpu_free_gib() is None


def test_a_machine_has_gpus_if_its_driver_lists_some_that_are_visible(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(nvml.VISIBLE, raising=False)
    monkeypatch.setattr(nvml, "DRIVER", tmp_path / "gpus")
    assert not nvml.has_gpus()
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    assert nvml.has_gpus()
    monkeypatch.setenv(nvml.VISIBLE, "")
    assert not nvml.has_gpus()
