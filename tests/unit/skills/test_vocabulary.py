from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.skills import normalise_skill
from orchestrator.errors import ConfigError, SkillError
from skills.embedding import HashEmbedder
from skills.vocabulary import builtin_vocabulary, default_size, induce, load_vocabulary, vocabulary_of

EMBEDDER = HashEmbedder()
REVERSE = [
    f"Please reverse the word {w} and write its letters backwards" for w in ("cat", "dog", "sun", "map")
]
ROMAN = [f"Convert the number {n} into Roman numerals" for n in (14, 27, 39, 88)]


def test_builtin_skills_are_many_unique_and_normalised() -> None:
    names = builtin_vocabulary().names
    assert 150 <= len(names) <= 300
    assert len(set(names)) == len(names)
    assert all(normalise_skill(name) == name for name in names)


def test_names_are_normalised_and_merged_in_order() -> None:
    assert vocabulary_of(["Unit  Conversion.", "algebra", "unit conversion"]).names == (
        "unit conversion",
        "algebra",
    )


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(SkillError, match="empty"):
        vocabulary_of([])


def test_5000_skills_are_taken_and_one_more_is_refused() -> None:
    names = [f"skill {i}" for i in range(5001)]
    assert len(vocabulary_of(names[:5000]).names) == 5000
    with pytest.raises(SkillError, match="more than 5,000"):
        vocabulary_of(names)


def test_a_million_skills_are_refused_without_reading_them_all() -> None:
    drawn: list[int] = []

    def endless() -> object:
        for i in range(10**6):
            drawn.append(i)
            yield f"skill {i}"

    with pytest.raises(SkillError):
        vocabulary_of(endless())  # type: ignore[arg-type]
    assert len(drawn) == 5001


@pytest.mark.parametrize("name", ["", "...", "x" * 65])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SkillError, match="not a skill name"):
        vocabulary_of([name])


def test_a_file_holds_one_skill_a_line(tmp_path: Path) -> None:
    path = tmp_path / "skills.txt"
    path.write_text("# mine\n\nAlgebra\n unit conversion \nalgebra\n")
    assert load_vocabulary(path).names == ("algebra", "unit conversion")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"# nothing\n", "empty"), (b"\xff\xfe", "cannot be read"), (b"ok\n!!!\n", "not a skill name")],
)
def test_a_bad_file_is_a_configuration_error_that_names_it(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "skills.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"skills.txt.*{message}"):
        load_vocabulary(path)


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_vocabulary(tmp_path / "none.txt")


def test_names_are_embedded_once_asked() -> None:
    vocabulary = vocabulary_of(["algebra", "spelling"])
    assert np.array_equal(vocabulary.embedded(EMBEDDER), EMBEDDER.encode(["algebra", "spelling"]))


def test_clusters_follow_the_kinds_of_question_and_are_named_by_their_words() -> None:
    vocabulary = induce(REVERSE + ROMAN, EMBEDDER, n=2, seed=0)
    assert sorted(vocabulary.names) == ["backwards letters", "convert number"]
    assert vocabulary.vectors is not None
    labels = (EMBEDDER.encode(REVERSE + ROMAN) @ vocabulary.vectors.T).argmax(axis=1)
    assert len(set(labels[:4])) == len(set(labels[4:])) == 1
    assert labels[0] != labels[4]


def test_two_questions_make_no_skill_and_no_name() -> None:
    """Eight questions of two kinds, and two of a third that share the words `austen` and `dickens`."""
    odd = ["Did Austen read Dickens?", "Did Dickens read Austen?"]
    vocabulary = induce([*REVERSE, *ROMAN, *odd], EMBEDDER, n=3, seed=0)
    assert sorted(vocabulary.names) == ["backwards letters", "convert number"]
    assert vocabulary.vectors is not None
    assert len(vocabulary.vectors) == 2


def test_too_few_questions_for_any_skill_keep_their_clusters_without_names() -> None:
    names = induce(["Austen or Dickens?", "Dickens or Austen?", "Newton or Euler?"], EMBEDDER, n=2).names
    assert all(name.startswith("cluster ") for name in names)


def test_the_order_of_the_questions_does_not_matter() -> None:
    forwards, backwards = (induce(texts, EMBEDDER, n=3) for texts in (REVERSE + ROMAN, ROMAN + REVERSE[::-1]))
    assert forwards.names == backwards.names


@pytest.mark.parametrize(("n_texts", "size"), [(1, 2), (100, 10), (440, 21), (10_000, 64)])
def test_default_size_is_the_square_root_within_bounds(n_texts: int, size: int) -> None:
    assert default_size(n_texts) == size


@pytest.mark.parametrize(("texts", "n"), [([], 2), (["a"], 0), (["a"], 5001)])
def test_nothing_to_induce_from_is_refused(texts: list[str], n: int) -> None:
    with pytest.raises(SkillError, match="cannot induce"):
        induce(texts, EMBEDDER, n=n)


@settings(max_examples=30)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=12), st.integers(1, 6), st.integers(0, 3))
def test_any_questions_give_unique_names_and_unit_centroids(texts: list[str], n: int, seed: int) -> None:
    vocabulary = induce(texts, EMBEDDER, n=n, seed=seed)
    assert 1 <= len(set(vocabulary.names)) == len(vocabulary.names) <= min(n, len(set(texts)))
    assert all(0 < len(name) <= 64 for name in vocabulary.names)
    assert vocabulary.vectors is not None
    assert np.allclose(np.linalg.norm(vocabulary.vectors, axis=1), 1.0, atol=1e-5)
