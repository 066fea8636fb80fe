"""Weights are read into the page cache ahead of a load; the kernel says what is there."""

import mmap
import os
import threading
from pathlib import Path

import pytest

from orchestrator.domain.devices import LoadKind
from orchestrator.domain.experts import EngineSpec
from workers.device.loading import has_imports, kind_of
from workers.device.page_cache import CHUNK, ReadAhead, cached_share, resident_pages
from workers.engine_host.memory import weight_files


def dropped(file: Path, n_bytes: int) -> Path:
    """A file of so many bytes on the disk, none of them in the page cache."""
    file.write_bytes(os.urandom(n_bytes))
    descriptor = os.open(file, os.O_RDWR)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    return file


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder whose files leave the page cache when they are asked to."""
    if cached_share([dropped(tmp_path / "probe", CHUNK)]) != 0.0:
        pytest.skip("this file system keeps its pages, or does not tell of them")
    return tmp_path


def test_pages_that_were_read_are_in_the_cache_and_no_others(disk: Path) -> None:
    """16 pages; the kernel may read a few more than the one that is asked for, but not of another file."""
    one, other = dropped(disk / "one", 16 * mmap.PAGESIZE), dropped(disk / "other", 16 * mmap.PAGESIZE)
    with one.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(file.fileno(), 1, 0)
    pages = resident_pages(one)
    assert pages is not None
    assert (pages[0], len(pages)) == (1, 16)
    assert cached_share([one, other]) == sum(pages) / 32


def test_weights_are_read_ahead_and_counted(disk: Path) -> None:
    files = [dropped(disk / name, 3 * CHUNK + 1000) for name in ("a.safetensors", "b.safetensors")]
    read: list[tuple[str, int]] = []
    reader = ReadAhead(on_read=lambda engine_id, n: read.append((engine_id, n)), host_free_gib=lambda: 64.0)
    assert cached_share(files) == 0.0
    reader.begin("e", files)
    assert reader.wait(120)
    assert cached_share(files) == 1.0
    assert reader.done == {"e"}
    assert sum(n for _, n in read) == sum(file.stat().st_size for file in files)
    reader.stop()
    reader.begin("e", files)
    assert reader.wait(120)
    assert len(read) == 8, "what is there is not read again"


def test_another_choice_ends_the_reading_after_a_chunk(disk: Path) -> None:
    file = dropped(disk / "large", 4 * CHUNK)
    may_go_on, has_begun = threading.Event(), threading.Event()

    def on_read(_engine_id: str, _n: int) -> None:
        has_begun.set()
        assert may_go_on.wait(60)

    reader = ReadAhead(on_read=on_read, host_free_gib=lambda: 64.0)
    reader.begin("e", [file])
    assert has_begun.wait(60)
    reader.stop()
    may_go_on.set()
    assert reader.wait(60)
    assert reader.done == frozenset()
    share = cached_share([file])
    assert share is not None
    assert share < 0.75


@pytest.mark.parametrize("free_gib", [0.5, None])
def test_nothing_is_read_into_memory_that_is_short(disk: Path, free_gib: float | None) -> None:
    file = dropped(disk / "w", CHUNK)
    reader = ReadAhead(on_read=lambda *_: None, host_free_gib=lambda: free_gib)
    reader.begin("e", [file])
    assert reader.wait(60)
    assert reader.done == frozenset()
    assert cached_share([file]) == 0.0


def test_a_file_that_vanishes_is_left_to_the_load(tmp_path: Path) -> None:
    reader = ReadAhead(on_read=lambda *_: None, host_free_gib=lambda: 64.0)
    reader.begin("e", [tmp_path / "gone.safetensors"])
    assert reader.wait(60)
    assert reader.done == frozenset()


def test_weights_are_those_of_all_members_and_single_files(tmp_path: Path) -> None:
    for name in ("large", "small"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"x")
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"x")
    members = {"large": str(tmp_path / "large"), "small": str(tmp_path / "small")}
    fusion = EngineSpec(id="f", backend="fusion", model=members["large"], members=members)
    assert [file.parent.name for file in weight_files(fusion)] == ["large", "small"]
    assert weight_files(EngineSpec(id="g", backend="command", model=str(gguf))) == [gguf]
    assert weight_files(EngineSpec(id="h", backend="vllm", model="someone/on-a-hub")) == []


@pytest.mark.parametrize(
    ("cached", "imported", "kind"),
    [
        (None, None, LoadKind.COLD),
        (0.95, True, LoadKind.WARM),
        (0.95, False, LoadKind.COLD),
        (0.5, True, LoadKind.COLD),
        (None, True, LoadKind.WARM),
        (1.0, None, LoadKind.WARM),
    ],
)
def test_a_load_is_warm_if_nothing_that_matters_is_missing(
    cached: float | None, imported: bool | None, kind: LoadKind
) -> None:
    assert kind_of(cached, imported) is kind


def test_a_backend_without_imports_of_its_own_says_nothing_of_them() -> None:
    assert has_imports("scripted") is None
    assert has_imports("nobody's") is None
