"""Types of questions by their neighbours: vectors of three axes, `sums`, `words` and `prose`."""

from collections.abc import Sequence

import numpy as np
import pytest

from orchestrator.compositions.nearest import (
    AGREE,
    FEW,
    FLOOR,
    MARGIN,
    NEAREST,
    UNLIKE,
    Inference,
    NearestTypes,
    TypesOfProfile,
    inferred,
    mean_of_largest,
    nearest_types,
)
from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import FloatMatrix, Profile, Transcript
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.questions.prose import PROSE
from skills.embedding import HashEmbedder

SUMS, WORDS, TALES = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
NUMBER, TEXT, OPEN = AnswerType.NUMBER, AnswerType.TEXT, AnswerType.OPEN
LATEX = AnswerType.LATEX


def rows(*vectors: Sequence[float]) -> FloatMatrix:
    """Unit rows."""
    table = np.array(vectors, dtype=np.float32)
    return np.asarray(table / np.linalg.norm(table, axis=1, keepdims=True), dtype=np.float32)


def nearest(n_sums: int = 6, n_words: int = 6, *, tales: Sequence[AnswerType] = ()) -> NearestTypes:
    vectors = rows(*[SUMS] * n_sums, *[WORDS] * n_words, *[TALES] * len(tales))
    return NearestTypes(vectors, [NUMBER] * n_sums + [TEXT] * n_words + list(tales), rows(TALES))


def types(of: NearestTypes, *vectors: Sequence[float]) -> list[AnswerType]:
    return [inference.answer_type for inference in of.infer(rows(*vectors))]


def test_a_question_has_the_type_of_its_neighbours() -> None:
    assert types(nearest(), SUMS, WORDS, (0.9, 0.1, 0.2)) == [NUMBER, TEXT, NUMBER]


def test_a_question_like_prose_or_like_nothing_is_open() -> None:
    assert types(nearest(), TALES, (0.3, 0.0, 1.0), (-1.0, -1.0, 0.0)) == [OPEN] * 3


def test_open_questions_of_the_profile_are_prose() -> None:
    """As near to five open questions as to the sums: open, although no other prose is near."""
    of = NearestTypes(rows(*[SUMS] * 6, *[(1.0, 0.05, 0.0)] * 5), [NUMBER] * 6 + [OPEN] * 5, rows(TALES))
    assert types(of, SUMS) == [OPEN]


def test_too_few_questions_say_nothing() -> None:
    [said] = nearest(n_sums=NEAREST - 1, n_words=0).infer(rows(SUMS))
    assert said == Inference(OPEN, FEW)


def test_vectors_of_another_embedder_say_nothing() -> None:
    [said] = nearest().infer(np.ones((1, 2), dtype=np.float32))
    assert said.answer_type is OPEN


def test_no_question_no_inference() -> None:
    assert nearest().infer(np.zeros((0, 3), dtype=np.float32)) == []


@pytest.mark.parametrize(
    ("found", "likeness", "prose", "answer_type"),
    [
        ([NUMBER] * 5, 0.6, 0.3, NUMBER),
        ([NUMBER] * AGREE + [TEXT], 0.6, 0.3, NUMBER),
        ([NUMBER] * (AGREE - 1) + [TEXT] * 2, 0.6, 0.3, OPEN),
        ([OPEN] * 5, 0.6, 0.3, OPEN),
        ([NUMBER] * 5, FLOOR - 0.01, 0.0, OPEN),
        ([NUMBER] * 5, 0.6, 0.6 - MARGIN + 0.01, OPEN),
        ([AnswerType.LITERAL] * 5, FLOOR, 0.0, AnswerType.LITERAL),
        ([AnswerType.CHOICE] * 4 + [NUMBER], 0.1, 0.2, AnswerType.CHOICE),
        ([AnswerType.CHOICE] * 3 + [NUMBER] * 2, 0.6, 0.2, OPEN),
        ([NUMBER] * 3 + [LATEX] * 2, 0.6, 0.3, NUMBER),
        ([NUMBER] * 2 + [LATEX] * 2 + [TEXT], 0.6, 0.3, LATEX),
        ([NUMBER] * 2 + [LATEX] + [TEXT] * 2, 0.6, 0.3, OPEN),
    ],
)
def test_agreement_likeness_and_margin_all_count(
    found: list[AnswerType], likeness: float, prose: float, answer_type: AnswerType
) -> None:
    assert inferred(found, likeness, prose).answer_type is answer_type


def test_the_reason_says_what_was_looked_at() -> None:
    said = inferred([NUMBER] * 4 + [TEXT], 0.61, 0.2)
    assert said.note == (
        "answer type number inferred: 4 of the 5 profile questions nearest to it agree "
        "(similarity 0.61, to prose 0.20)"
    )
    assert inferred([TEXT] * 5, 0.1, 0.0).note == UNLIKE


def test_a_decision_keeps_the_type_and_the_reason() -> None:
    decision = Decision(router="any", recruits=(), notes=("first",))
    assert Inference(NUMBER, "why").on(decision).notes == ("first", "why")
    assert Inference(NUMBER).on(decision) == decision.replaced(answer_type=NUMBER)


def test_mean_of_the_largest_takes_all_where_there_are_fewer() -> None:
    table = np.array([[0.1, 0.5, 0.3]], dtype=np.float32)
    assert mean_of_largest(table, 2) == pytest.approx([0.4])
    assert mean_of_largest(table, 9) == pytest.approx([0.3])


def profile(*queries: Query) -> Profile:
    transcript = Transcript(queries, (), np.zeros((0, len(queries)), dtype=np.int32))
    return Profile(
        expert_ids=(),
        query_hashes=tuple(query.content_hash for query in queries),
        texts=tuple(query.text for query in queries),
        skills=((),) * len(queries),
        domains=("",) * len(queries),
        outcomes=np.zeros((0, len(queries)), dtype=np.int8),
        embeddings=HashEmbedder().encode([query.text for query in queries]),
        transcript=transcript,
    )


def sums(n: int, answer_type: AnswerType = NUMBER, options: tuple[str, ...] = ()) -> list[Query]:
    return [
        Query(id=str(i), question=f"What is {i} plus {i + 1}?", answer_type=answer_type, options=options)
        for i in range(n)
    ]


def said(of: TypesOfProfile | None, *questions: str) -> list[AnswerType]:
    assert of is not None
    asked = [
        Query(id=str(i), question=question, answer_type=OPEN, infers=True)
        for i, question in enumerate(questions)
    ]
    return [inference.answer_type for inference in of.infer(asked, HashEmbedder().encode(questions))]


BARE, PASTED = "What is 3 plus 5?", "What is 3 plus 5?\nA) 1\nB) 8"


def test_a_question_without_options_is_no_choice_whatever_is_near() -> None:
    choices = sums(9, AnswerType.CHOICE, ("1", "2"))
    assert said(nearest_types(profile(*choices), HashEmbedder()), BARE) == [OPEN]
    assert said(nearest_types(profile(*choices, *sums(9)), HashEmbedder()), BARE) == [NUMBER]


def test_a_question_with_lettered_options_is_a_choice_where_those_near_are() -> None:
    choices = sums(9, AnswerType.CHOICE, ("1", "2"))
    only_choices = nearest_types(profile(*choices), HashEmbedder())
    assert said(only_choices, BARE, PASTED) == [OPEN, AnswerType.CHOICE]
    assert said(nearest_types(profile(*sums(9)), HashEmbedder()), PASTED) == [NUMBER]


def test_a_profile_without_its_questions_says_nothing() -> None:
    bare = profile(*sums(9))
    assert nearest_types(Profile(**{**vars(bare), "transcript": None}), HashEmbedder()) is None


def test_prose_is_no_question_of_a_type_for_a_pool_that_knows_sums() -> None:
    embedder = HashEmbedder()
    of = nearest_types(profile(*sums(30)), embedder)
    texts = ("Tell me about the sea.", "How do I learn to swim?", "What is 7 plus 8?")
    assert said(of, *texts) == [OPEN, OPEN, NUMBER]


def test_prose_is_many_different_requests() -> None:
    assert len(set(PROSE)) == len(PROSE) > 80
    assert all(text == text.strip() and 10 < len(text) < 120 for text in PROSE)
