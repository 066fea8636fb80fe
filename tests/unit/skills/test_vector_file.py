from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orchestrator.domain.cards import FloatMatrix
from skills.vector_file import FileBackedEmbedder

TEXTS = ["one", "three", "fifteen"]


class Counting:
    """Embeds a text as its length; counts how many texts it was given."""

    name = "counting"

    def __init__(self) -> None:
        self.n_embedded = 0

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        self.n_embedded += len(texts)
        return np.array([[len(text)] for text in texts], dtype=np.float32).reshape(len(texts), 1)


def test_a_second_process_reads_the_file_and_embeds_nothing(tmp_path: Path) -> None:
    FileBackedEmbedder(Counting(), tmp_path).keep(TEXTS)
    inner = Counting()
    embedder = FileBackedEmbedder(inner, tmp_path)

    embedder.keep(TEXTS)

    assert embedder.encode(TEXTS).tolist() == [[3], [5], [7]]
    assert inner.n_embedded == 0


def test_known_and_new_texts_come_back_in_order(tmp_path: Path) -> None:
    inner = Counting()
    embedder = FileBackedEmbedder(inner, tmp_path)
    embedder.keep(TEXTS)

    rows = embedder.encode(["fifteen", "seven!!!", "one"])

    assert rows.tolist() == [[7], [8], [3]]
    assert inner.n_embedded == 4


def test_a_damaged_file_is_written_anew(tmp_path: Path) -> None:
    FileBackedEmbedder(Counting(), tmp_path).keep(TEXTS)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])

    embedder = FileBackedEmbedder(Counting(), tmp_path)
    embedder.keep(TEXTS)

    assert embedder.encode(TEXTS).tolist() == [[3], [5], [7]]
    assert np.load(path, allow_pickle=False).shape == (3, 1)


def test_a_folder_that_cannot_be_made_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    embedder = FileBackedEmbedder(Counting(), tmp_path / "file" / "below")

    embedder.keep(TEXTS)

    assert embedder.encode(["one"]).tolist() == [[3]]


def test_no_texts_give_an_empty_matrix(tmp_path: Path) -> None:
    assert FileBackedEmbedder(Counting(), tmp_path).encode([]).shape[0] == 0
