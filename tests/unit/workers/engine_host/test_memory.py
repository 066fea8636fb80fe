import os
import signal
from pathlib import Path

import pytest

from orchestrator.domain.experts import EngineSpec
from workers.engine_host.memory import available_gib, came_back, needed_gib, read_memory, weight_files
from workers.engine_host.process import death
from workers.engine_host.wire import Memory


def test_memory_of_this_process_is_read_in_gib() -> None:
    assert 0.01 < read_memory(cuda=False).rss_gib < 16


def test_memory_came_back_within_the_tolerance() -> None:
    before = Memory(rss_gib=1.0, cuda_free_gib=70.0)
    assert came_back(before, Memory(rss_gib=1.5, cuda_free_gib=69.5), tolerance_gib=0.5)
    assert not came_back(before, Memory(rss_gib=1.6, cuda_free_gib=70.0), tolerance_gib=0.5)
    assert not came_back(before, Memory(rss_gib=1.0, cuda_free_gib=69.4), tolerance_gib=0.5)
    assert came_back(Memory(rss_gib=1.0), Memory(rss_gib=1.2, cuda_free_gib=3.0), tolerance_gib=0.5)


def test_need_is_as_configured_or_twice_the_weights_or_unknown(tmp_path: Path) -> None:
    spec = EngineSpec(id="e", backend="vllm", model=str(tmp_path))
    assert needed_gib(spec) is None
    with (tmp_path / "model.safetensors").open("wb") as file:
        os.truncate(file.fileno(), 3 << 29)  # 1.5 GiB, sparse
    assert needed_gib(spec) == 3.0
    assert needed_gib(spec.model_copy(update={"memory_gib": 5.0})) == 5.0


def test_weights_that_the_options_name_count_once_each(tmp_path: Path) -> None:
    places = {name: str(tmp_path / name) for name in ("large", "small")}
    for place in places.values():
        Path(place).mkdir()
        with (Path(place) / "model.safetensors").open("wb") as file:
            os.truncate(file.fileno(), 1 << 29)  # half a GiB, sparse
    spec = EngineSpec(id="e", backend="fusion", model=places["large"], members=places)
    assert needed_gib(spec) == 2.0


def test_weights_that_cannot_be_looked_at_are_of_unknown_size(tmp_path: Path) -> None:
    """A link into a cache that was cleared; a name that no file system takes. The load says what is wrong."""
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    for model in (str(tmp_path), "x" * 300):
        spec = EngineSpec(id="e", backend="vllm", model=model)
        assert weight_files(spec) == []
        assert needed_gib(spec) is None


def test_system_memory_is_known_here() -> None:
    available = available_gib()
    assert available is None or available > 0


def test_end_of_a_process_is_put_in_words() -> None:
    assert "memory ran out" in death(-9, [])
    assert death(-11, []) == "was ended by signal 11 (SIGSEGV)."
    assert death(3, ["first", "torch.cuda.OutOfMemoryError", ""]).endswith("torch.cuda.OutOfMemoryError")


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGRTMIN, " (SIGRTMIN+0)"), (signal.SIGRTMIN + 1, " (SIGRTMIN+1)"), (32, ""), (100, "")],
)
def test_an_end_by_a_signal_that_has_no_name_is_put_in_words_too(number: int, name: str) -> None:
    assert death(-number, ["said last"]) == f"was ended by signal {number}{name}. Its last words: said last"
