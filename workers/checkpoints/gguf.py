"""Headers of GGUF files, as llama.cpp writes them: what a model is, how large it is, how much it remembers.

Source: the format's description, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
A header is read piece by piece and the tensors never. Numbers in it are a stranger's: every length is checked
against bounds and against the file before anything is read or kept.
"""

import re
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from orchestrator.runtime.files import open_regular

GGUF = ".gguf"
"""Ending of such files, in lower case."""
MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 128 << 20
"""Headers of real files take up to about 10 MiB, most of it the tokens."""
MAX_KEYS, MAX_TENSORS, MAX_DIMS, MAX_KEY_BYTES = 65_536, 262_144, 8, 65_535
MAX_DEPTH = 4
"""Arrays in arrays."""
KEPT_NUMBERS, MOST_NUMBERS = 4096, 262_144
"""Numbers of an array that is kept, more than a model has layers; and of all such arrays together."""
KEPT_CHARS = 1 << 20
"""Longest text that is kept: chat templates are the longest of those that matter."""
PROJECTOR = "is the part of a model that reads pictures, not the model"
BESIDE = {
    "adapter": "is an adapter, not a model",
    "imatrix": "is a matrix for quantising",
    "mmproj": PROJECTOR,
}
"""Files that go beside a model's, by their kind."""
TOKENIZER_KEYS = ("tokenizer.ggml.model", "tokenizer.ggml.tokens")
OVERHEAD_GIB = 0.2
"""Buffers and libraries of a server beside weights and cache: between what llama.cpp's was seen to take
on different processors."""
BYTES_PER_CACHED_NUMBER = 2
"""Keys and values are kept in half precision unless a server is told otherwise."""
GIB = 1 << 30

_POINTER = b"version https://git-lfs"
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)
_STRING, _ARRAY = 8, 9
_NUMBERS: Mapping[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_BLOCKS: Mapping[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip
"""Numbers in a block and bytes that it takes, by the kind of a tensor (ggml's `ggml_type`)."""


class GgufError(ValueError):
    """A file that is no GGUF file, or not all of one; the message says which and why."""


class GgufHeader(NamedTuple):
    """Facts of a model's header; of one in several files, all of them together.

    Attributes:
        architecture: as llama.cpp names it; "" = it does not say.
        context_length: tokens that the model was trained for; None = it does not say.
        cached_numbers: numbers that are kept for each token of the context; None = not known.
        template: chat template; None = none, or one longer than any.
        kind: what it is where it is no model of its own, such as `adapter`; "" = it does not say.
        has_tokenizer: it brings the tokens that it reads and writes.
        n_params: numbers in its tensors.
        n_bytes: size of its files.
    """

    version: int
    architecture: str
    n_tensors: int
    n_params: int
    n_bytes: int
    context_length: int | None = None
    cached_numbers: int | None = None
    template: str | None = None
    kind: str = ""
    has_tokenizer: bool = True

    @property
    def lack(self) -> str | None:
        """Reason why no server of texts can load it, in words that go on from its name; None = none shows."""
        if not self.architecture:
            return "does not name its architecture (general.architecture)"
        if self.kind in BESIDE or self.architecture == "clip":
            return BESIDE.get(self.kind, PROJECTOR)
        if not self.n_tensors:
            return "holds no tensors: a vocabulary alone"
        if not self.has_tokenizer:
            return f"brings no tokenizer ({' and '.join(TOKENIZER_KEYS)})"
        return None

    def memory_gib(self, n_tokens: int) -> float:
        """Estimate of what it takes when it is loaded, with room for so many tokens."""
        cache = BYTES_PER_CACHED_NUMBER * (self.cached_numbers or 0) * n_tokens
        return (self.n_bytes + cache) / GIB + OVERHEAD_GIB


def read_gguf(path: Path) -> GgufHeader:
    """The header of a model; of one in several files (`…-00001-of-00003.gguf`), by any of these.

    Raises:
        GgufError: no GGUF file, one of another version, or files that are missing or cut off.
    """
    try:
        shards = shards_of(path)
        read = [_read(shard, (stat := shard.stat()).st_mtime_ns, stat.st_size) for shard in shards]
    except OSError as error:
        raise GgufError(f"'{path}' cannot be read: {error.strerror}.") from None
    first = read[0]
    return first._replace(
        n_tensors=sum(one.n_tensors for one in read),
        n_params=sum(one.n_params for one in read),
        n_bytes=sum(one.n_bytes for one in read),
    )


def shards_of(path: Path) -> list[Path]:
    """Files of a model, in order.

    Raises:
        GgufError: some of them are missing.
    """
    match = _SHARD.match(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    if not 1 <= int(match["number"]) <= count <= 9999:
        raise GgufError(f"'{path.name}' is no part of {count}.")
    shards = [
        path.with_name(f"{match['stem']}-{n:05}-of-{match['count']}{path.suffix}")
        for n in range(1, count + 1)
    ]
    missing = [shard.name for shard in shards if not shard.exists()]
    if missing:
        raise GgufError(f"of the {count} files of '{path.name}', {len(missing)} are missing: {missing[0]}.")
    return shards


@lru_cache(maxsize=256)
def _read(path: Path, changed_ns: int, size: int) -> GgufHeader:
    """Args: changed_ns, size: so that a file that was written anew is read anew."""
    del changed_ns
    with open_regular(path) as file:
        return _Reader(file, path.name, size).header()


class _Reader:
    """Reads one header; each method leaves the file behind what it read."""

    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        self._file = file
        self._name = name
        self._size = size
        self._end = min(size, MAX_HEADER_BYTES)
        self._n_kept = 0

    def header(self) -> GgufHeader:
        start = self._file.read(len(_POINTER))
        if start.startswith(_POINTER):
            raise self._wrong("is a pointer of Git LFS, not the file that it points to")
        if not start.startswith(MAGIC):
            raise self._wrong("is no GGUF file")
        self._file.seek(len(MAGIC))
        version = self._number("<I")
        if version not in VERSIONS:
            told = "in the byte order of other machines" if version & 0xFFFF == 0 else f"of version {version}"
            raise self._wrong(f"is {told}; versions 2 and 3 are read")
        n_tensors, n_keys = self._number("<Q"), self._number("<Q")
        if n_tensors > MAX_TENSORS or n_keys > MAX_KEYS:
            raise self._wrong(f"claims {n_tensors} tensors and {n_keys} keys, more than any model has")
        values: dict[str, Any] = {}
        for _ in range(n_keys):
            key = self._text(MAX_KEY_BYTES)
            values[key or ""] = self._value(self._number("<I"), depth=0)
        n_params, end = self._tensors(n_tensors, _positive(values.get("general.alignment")) or 32)
        if end is not None and end > self._size:
            raise self._wrong(f"is cut off: it has {self._size} of {end} bytes")
        facts = _Facts(values)
        return GgufHeader(
            version,
            facts.architecture,
            n_tensors,
            n_params,
            self._size,
            facts.number("context_length"),
            facts.cached_numbers,
            template if isinstance(template := values.get("tokenizer.chat_template"), str) else None,
            kind if isinstance(kind := values.get("general.type"), str) else "",
            all(key in values for key in TOKENIZER_KEYS),
        )

    def _tensors(self, n_tensors: int, alignment: int) -> tuple[int, int | None]:
        """Numbers in all tensors, and the byte at which the last one ends; None = of a kind not known."""
        n_params, last, is_known = 0, 0, True
        for _ in range(n_tensors):
            self._text(MAX_KEY_BYTES)
            n_dims = self._number("<I")
            if n_dims > MAX_DIMS:
                raise self._wrong(f"has a tensor of {n_dims} dimensions")
            count = 1
            for _ in range(n_dims):
                count *= self._number("<Q")
            kind, offset = self._number("<I"), self._number("<Q")
            n_params += count
            per_block, n_bytes = _BLOCKS.get(kind, (1, 0))
            is_known = is_known and kind in _BLOCKS
            last = max(last, offset + -(-count // per_block) * n_bytes)
        start = -(-self._file.tell() // alignment) * alignment
        return n_params, start + last if is_known and n_tensors else None

    def _value(self, kind: int, *, depth: int) -> Any:
        """A number or text; None for arrays, which are passed over but for short ones of numbers."""
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._text(KEPT_CHARS)
        if kind != _ARRAY or depth >= MAX_DEPTH:
            raise self._wrong(f"has a value of kind {kind}, which is none")
        inner, count = self._number("<I"), self._number("<Q")
        if inner in _NUMBERS:
            return self._numbers(_NUMBERS[inner], count)
        for _ in range(self._bounded(count, at_least=8)):
            if inner == _STRING:
                self._skip(self._number("<Q"))
            else:
                self._value(inner, depth=depth + 1)
        return None

    def _numbers(self, form: str, count: int) -> list[Any] | None:
        """A short array; None for a long one, or one after very many."""
        width = struct.calcsize(form)
        self._bounded(count, at_least=width)
        if count > KEPT_NUMBERS or self._n_kept + count > MOST_NUMBERS:
            self._skip(count * width)
            return None
        self._n_kept += count
        return [self._number(form) for _ in range(count)]

    def _text(self, longest: int) -> str | None:
        """A text; None where it is longer than what is kept."""
        length = self._number("<Q")
        if length > longest:
            self._skip(length)
            return None
        return self._bytes(length).decode("utf-8", "replace")

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _bytes(self, n: int) -> bytes:
        self._bounded(n, at_least=1)
        read = self._file.read(n)
        if len(read) < n:
            raise self._wrong("is cut off within its header")
        return read

    def _skip(self, n: int) -> None:
        self._file.seek(self._bounded(n, at_least=1), 1)

    def _bounded(self, n: int, *, at_least: int) -> int:
        """A count of things that take so many bytes each, all of them before the end."""
        if n * at_least > self._end - self._file.tell():
            cut = self._end == self._size
            raise self._wrong(
                "is cut off within its header" if cut else "has a header longer than any model's"
            )
        return n

    def _wrong(self, why: str) -> GgufError:
        return GgufError(f"'{self._name}' {why}.")


class _Facts:
    """Values of a header, by what they mean."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        architecture = values.get("general.architecture")
        self.architecture = architecture if isinstance(architecture, str) else ""

    def number(self, name: str) -> int | None:
        """A positive number of the model's architecture."""
        return _positive(self._values.get(f"{self.architecture}.{name}"))

    @property
    def cached_numbers(self) -> int | None:
        """Keys and values of all layers, for one token."""
        n_layers, width, n_heads = (
            self.number(name) for name in ("block_count", "embedding_length", "attention.head_count")
        )
        n_cached = self._per_layer("attention.head_count_kv") or (n_heads and n_layers and n_heads * n_layers)
        per_head = width // n_heads if width and n_heads else 0
        key = self.number("attention.key_length") or per_head
        value = self.number("attention.value_length") or per_head
        return n_cached * (key + value) if n_cached and key and value else None

    def _per_layer(self, name: str) -> int | None:
        """A number of each layer, added up: one for all, or one for each."""
        found = self._values.get(f"{self.architecture}.{name}")
        if isinstance(found, list):
            return sum(n for n in found if _positive(n)) or None
        one, n_layers = _positive(found), self.number("block_count")
        return one * n_layers if one and n_layers else None


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
