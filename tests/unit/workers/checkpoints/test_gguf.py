"""Headers of GGUF files: what they say of a model, and what broken and hostile ones are told to be."""

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.experts import LONGEST_CONTEXT, EngineSpec
from workers.backends.command.checking import mistakes
from workers.checkpoints import gguf as module
from workers.checkpoints.gguf import OVERHEAD_GIB, GgufError, GgufHeader, read_gguf
from workers.checkpoints.identity import weights_hash
from workers.engine_host.memory import needed_gib

GIB = 1 << 30


def write(
    path: Path,
    *,
    n_layers: int = 2,
    kv_heads: int | list[int] | None = 2,
    more: Callable[[Any], object] = lambda writer: None,
    value: float = 0.0,
) -> Path:
    """A model of 4 heads of 16 numbers, trained for 512 tokens, with a tensor of 64 x 32 numbers."""
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_block_count(n_layers)
    writer.add_head_count(4)
    if kv_heads is not None:
        writer.add_head_count_kv(kv_heads)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<s>", "</s>", *(f"token {n}" for n in range(6000))])
    writer.add_token_scores([0.5] * 6002)
    writer.add_chat_template("{{ messages[0].content }}")
    more(writer)
    writer.add_tensor("token_embd.weight", np.full((64, 32), value, dtype=np.float32))
    writer.add_tensor("output_norm.weight", np.zeros(64, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_header_says_what_the_model_is(tmp_path: Path) -> None:
    """2 layers x 2 heads x (16 keys + 16 values) = 128 numbers of a token; 64 x 32 + 64 = 2112 in tensors."""
    path = write(tmp_path / "x.gguf")
    assert read_gguf(path) == GgufHeader(
        version=3,
        architecture="llama",
        n_tensors=2,
        n_params=2112,
        n_bytes=path.stat().st_size,
        context_length=512,
        cached_numbers=128,
        template="{{ messages[0].content }}",
    )


def test_memory_is_the_files_and_two_bytes_for_each_number_of_a_context() -> None:
    """1 GiB, and 1,048,576 tokens of 1,024 numbers: 2 GiB."""
    header = GgufHeader(3, "llama", 1, 1, GIB, cached_numbers=1024)
    assert header.memory_gib(1 << 20) == 3 + OVERHEAD_GIB
    assert header._replace(cached_numbers=None).memory_gib(1 << 20) == 1 + OVERHEAD_GIB


def test_heads_may_differ_from_layer_to_layer_and_be_missing(tmp_path: Path) -> None:
    """1 + 0 + 3 heads in all; without a number, as many as there are heads of attention: 2 layers x 4."""
    assert read_gguf(write(tmp_path / "a.gguf", n_layers=3, kv_heads=[1, 0, 3])).cached_numbers == 4 * 32
    assert read_gguf(write(tmp_path / "b.gguf", kv_heads=None)).cached_numbers == 8 * 32
    wide = write(tmp_path / "c.gguf", more=lambda w: (w.add_key_length(64), w.add_value_length(32)))
    assert read_gguf(wide).cached_numbers == 4 * 96


def test_model_in_several_files_is_one(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"m-0000{n}-of-00002.gguf") for n in (1, 2)]
    whole = read_gguf(paths[1])
    assert (whole.n_params, whole.n_tensors) == (2 * 2112, 4)
    assert whole.n_bytes == sum(path.stat().st_size for path in paths)
    paths[0].unlink()
    with pytest.raises(GgufError, match=r"of the 2 files .* 1 are missing: m-00001-of-00002\.gguf"):
        read_gguf(paths[1])


def test_engine_takes_its_files_and_a_full_context_of_every_slot(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf")
    spec = EngineSpec(
        id="e", backend="command", model=str(path), max_model_len=256, options={"concurrent": 3}
    )
    header = read_gguf(path)
    assert needed_gib(spec) == header.memory_gib(3 * 256)
    assert needed_gib(spec.replaced(max_model_len=LONGEST_CONTEXT)) == header.memory_gib(512)


def test_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf")
    assert read_gguf(path).cached_numbers == 128
    write(path, n_layers=4)
    assert read_gguf(path).cached_numbers == 256


def test_identity_of_a_file_is_its_content_wherever_it_lies(tmp_path: Path) -> None:
    one, same = write(tmp_path / "a.gguf"), write(tmp_path / "b.gguf")
    other = write(tmp_path / "c.gguf", value=1.0)
    assert weights_hash(str(one)) == weights_hash(str(same)) != ""
    assert weights_hash(str(other)) != weights_hash(str(one))


def test_sizes_of_blocks_are_those_of_the_format() -> None:
    known = {int(kind): tuple(sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    assert {kind: sizes for kind, sizes in module._BLOCKS.items() if known.get(kind, sizes) != sizes} == {}
    assert len(module._BLOCKS) >= 30


# ── broken and hostile files ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kept", [3, 10, 24, 100, 50_000, -1])
def test_file_that_is_cut_off_is_told(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "x.gguf")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(GgufError, match=r"'x\.gguf' is (cut off|no GGUF file)"):
        read_gguf(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no GGUF file"),
        (b"<html>not found</html>", "is no GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "pointer of Git LFS"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "of version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "byte order of other machines"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 63, 0), "more than any model has"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40), "more than any model has"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), "cut off within its header"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 99), "a value of kind 99"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 1 << 60), "cut off"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 4, 1 << 60), "cut off"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 9) + struct.pack("<IQ", 9, 1) * 9, "kind 9"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 1, 0, 1, b"t", 1000), "1000 dimensions"),
    ],
)
def test_what_is_no_model_is_told(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(GgufError, match=why):
        read_gguf(path)


def test_header_that_never_ends_is_left_at_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HEADER_BYTES", 10_000)
    with pytest.raises(GgufError, match="a header longer than any model's"):
        read_gguf(write(tmp_path / "x.gguf"))


def test_many_short_arrays_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heads of 2 layers, 3 x 32 numbers, fit into a bound of 100; after 30 arrays of 4 they do not, and
    each layer is taken to keep all of its 4 heads."""
    monkeypatch.setattr(module, "MOST_NUMBERS", 100)
    path = tmp_path / "x.gguf"
    assert read_gguf(write(path, kv_heads=[1, 2])).cached_numbers == 96
    begin, rest = (content := path.read_bytes())[:16], content[24:]
    key = struct.pack("<Q", 1) + b"k"
    array = key + struct.pack("<IIQ", 9, 4, 4) + struct.pack("<4I", 1, 2, 3, 4)
    path.write_bytes(
        begin + struct.pack("<Q", struct.unpack("<Q", content[16:24])[0] + 30) + array * 30 + rest + bytes(32)
    )
    assert read_gguf(path).cached_numbers == 2 * 4 * 32


def test_tensors_are_never_read(tmp_path: Path) -> None:
    """A hole of 64 GiB, which nobody could read here."""
    path = write(tmp_path / "x.gguf")
    with path.open("r+b") as file:
        file.truncate(64 * GIB)
    assert read_gguf(path).n_bytes == 64 * GIB


@given(st.data())
def test_no_bytes_make_it_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A header with some bytes exchanged is read, or told to be none."""
    folder = tmp_path_factory.getbasetemp() / "gguf-odd"
    folder.mkdir(exist_ok=True)
    whole = folder / "whole.gguf"
    if not whole.exists():
        write(whole)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    odd = folder / "odd.gguf"
    odd.write_bytes(content)
    module._read.cache_clear()
    with suppress(GgufError):
        read_gguf(odd)


def test_mistakes_of_a_models_file_are_found_without_loading_it(tmp_path: Path) -> None:
    def spec(path: Path, context: int = 512) -> EngineSpec:
        options = {"command": "true {port} {model}"}
        return EngineSpec(id="e", backend="command", model=str(path), max_model_len=context, options=options)

    good = write(tmp_path / "x.gguf")
    assert list(mistakes(spec(good))) == []
    beyond = list(mistakes(spec(good, 513)))
    assert [(one.param, one.message) for one in beyond] == [
        ("max_model_len", "max_model_len 513 is beyond the 512 tokens of x.gguf.")
    ]
    good.write_bytes(good.read_bytes()[:-10])
    cut = list(mistakes(spec(good)))
    assert [one.param for one in cut] == ["model"]
    assert "is cut off" in cut[0].message
