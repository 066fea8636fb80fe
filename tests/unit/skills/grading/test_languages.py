"""Phrases before an answer in other languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.queries import Query
from skills.grading.grader import AnswerGrader
from skills.grading.languages import LANGUAGES, foreign_leads, without_tail
from tests.fakes.grading import make_query, make_response

SENTENCES = {
    "de": "Die richtige Antwort ist also {}.",
    "nl": "Het antwoord is dus {}.",
    "sv": "Svaret är {}.",
    "da": "Svaret er {}.",
    "es": "Por lo tanto, la respuesta correcta es {}.",
    "fr": "La réponse est donc {}.",
    "it": "La risposta corretta è {}.",
    "pt": "A resposta correta é {}.",
    "ca": "La resposta és {}.",
    "ro": "Răspunsul corect este {}.",
    "pl": "Poprawna odpowiedź to {}.",
    "cs": "Správná odpověď je {}.",
    "hu": "A helyes válasz: {}.",
    "fi": "Oikea vastaus on {}.",
    "tr": "Doğru cevap: {}.",
    "id": "Jawabannya adalah {}.",
    "vi": "Đáp án đúng là {}.",
    "el": "Η σωστή απάντηση είναι {}.",
    "ru": "Правильный ответ — {}.",
    "uk": "Правильна відповідь: {}.",
    "bg": "Верният отговор е {}.",
    "he": "התשובה הנכונה היא {}.",
    "ar": "الإجابة الصحيحة هي {}.",
    "fa": "پاسخ: {}",
    "hi": "सही उत्तर: {}",
    "bn": "উত্তর: {}",
    "th": "คำตอบคือ {}",
    "zh": "所以正确答案是{}。",
    "ja": "よって、答えは{}です。",
    "ko": "따라서 정답은 {}입니다.",
}


def test_every_language_of_the_table_is_tried_here() -> None:
    assert set(SENTENCES) == set(LANGUAGES)


@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES)
@pytest.mark.parametrize(("answer_type", "said"), [("choice", "B"), ("number", "42"), ("literal", "[1, 2]")])
def test_an_answer_is_read_in_every_language(sentence: str, answer_type: str, said: str) -> None:
    query = make_query(answer_type)
    text = f"A = 7.\n\n{sentence.format(said)}\n\nA C D 13."
    assert AnswerGrader().read(query, make_response(text)) == said


@pytest.mark.parametrize("letter", "AEO")
@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES)
def test_a_letter_that_may_be_a_word_is_a_letter(sentence: str, letter: str) -> None:
    options = tuple(f"option {number}" for number in range(15))
    query = Query(id="q", question="?", options=options, answer_type="choice")
    assert AnswerGrader().read(query, make_response(sentence.format(letter))) == letter


@pytest.mark.parametrize(
    "text",
    [
        "La respuesta no es B.",
        "Die Antwort ist nicht B.",
        "A resposta não é B.",
        "答案不是B。",
        "选项B是错误的。",
        "Ответ не B.",
    ],
)
def test_a_denial_states_nothing(text: str) -> None:
    query = Query(id="q", question="?", options=("w", "x", "y", "z"), answer_type="choice")
    assert AnswerGrader().read(query, make_response(text)) is None


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("Bです。", "B"),
        ("B입니다.", "B"),
        ("42。因为如此", "42"),
        ("B", "B"),
        ("3.5", "3.5"),
        ("。", "。"),
        ("", ""),
    ],
)
def test_what_ends_a_sentence_is_no_part_of_the_answer(said: str, plain: str) -> None:
    assert without_tail(said) == plain


@given(st.text(max_size=200))
def test_phrases_lie_in_the_text_and_in_order(text: str) -> None:
    found = foreign_leads(text, most=5)
    assert len(found) <= 5
    assert all(0 <= start < end <= len(text) for start, end in found)
    assert found == sorted(found)
