import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import ABSTAINED, RIGHT, WRONG
from orchestrator.domain.queries import Query
from skills.grading.grader import AnswerGrader
from tests.fakes.grading import make_query, make_response

GRADER = AnswerGrader()
QUERY = make_query("choice")


def read(text: str, *, truncated: bool = False) -> str | None:
    return GRADER.read(QUERY, make_response(text, truncated=truncated))


@pytest.mark.parametrize(
    "text",
    [
        "B",
        "b",
        "(b)",
        "B.",
        "B) Paris",
        "B: Paris",
        "B - Paris",
        "**B**",
        "Option B",
        "\\boxed{B}",
        "$\\boxed{\\text{B}}$",
        "The answer is B",
        "The answer is (B).",
        "The answer is **B**, since it is in France.",
        "answer: (B)",
        "**Answer:** B",
        "Final Answer:\n\nB",
        "The correct answer is B) Paris because A is in England",
        "The answer is Paris.",
        "paris",
        "“Paris”",
        "B is correct",
        "A and D are not in France.\n\nB",
        "<think>A? No, D.</think>B",
        "The template opened this thought: A?</think>\nThe answer is B",
        "\\(B\\)",
        "*B*",
        "_B_",
        "<B>",
        "***B***",
        "`B`",
        "$\\textbf{(B)}\\ \\text{Paris}$",
        "\\boxed{B: Paris}",
        "\\boxed{\\text{B}}",
        "$\\boxed{\\textbf{(B) }\\text{Paris}}$",
        "ANSWER: $B$",
        "<b>B</b>",
        "Ｂ",
        "（B）",
        "【B】",
        "「B」",
        "B。",
        "The answer is **B. Paris**",
        "The answer is Paris, because A is in England.",
        "B is the answer.",
        "I'd go with (B).",
        "✅ **B) Paris**",
        "[[B]]",
        "选项B正确",
        "本题选B",
        "Resposta: alternativa B",
        "Doğru cevap B şıkkıdır.",
        "Antwort: B",
        "Die richtige Antwort lautet (B).",
        "B ist richtig",
        "La respuesta es B",
        "La respuesta correcta es la B) Paris",
        "La bonne réponse est donc **B**",
        "Réponse : B",
        "La risposta corretta è B.",
        "A resposta correta é a letra B.",
        "Het juiste antwoord is B",
        "Odpowiedź: B",
        "Svar: B",
        "Doğru cevap B",
        "Đáp án: B",
        "Jawaban: B",
        "Ответ: B",
        "Правильный ответ — B.",
        "Απάντηση: B",
        "התשובה היא B",
        "الجواب هو B",
        "الإجابة الصحيحة: (B)",
        "उत्तर: B",
        "คำตอบคือ B",
        "答案：B",
        "答案是（B）。",
        "正确答案为B",
        "故选B。",
        "因此选（B）",
        "答えはBです。",
        "正解：Ｂ",
        "정답은 B입니다.",
        "## Antwort\n\nB",
        '{"answer": "B"}',
        '{"reasoning": "A is in England.", "answer": "B) Paris"}',
        "{'answer': 'B'}",
        '{"answer": ["B"]}',
        '{"answer": "Paris"}\n\nA and C are larger.',
        "<answer>B</answer>",
        "[ANSWER] B [/ANSWER]",
    ],
)
def test_every_usual_way_to_state_b_reads_as_b(text: str) -> None:
    assert read(text) == "B"


@pytest.mark.parametrize(
    "text",
    [
        "I think A is a letter of the alphabet",
        "A dog lives here",
        "The answer is a dog",
        "The answer is I do not know",
        "The answer is F",
        "E",
        "The answer is A or B",
        "The answer is both A and B",
        "The answer is not A",
        "The answer is Paris or London",
        "The answer is Paris, London",
        "Die Antwort ist A oder B",
        "Die Antwort ist nicht B",
        "La respuesta no es B",
        "答案不是B",
        "选项B是错误的",
        '{"answer": ""}',
        "The answer is B. On reflection, the answer is unclear",
        "A) London\nB) Paris",
        "B) London",
        "The answer is B) Rome",
        "London or Paris",
        "It has a B in it somewhere",
        "I'm sorry, I cannot answer that.",
        "<think>It is B",
        "**",
        "\x00",
        "",
    ],
)
def test_what_states_no_single_option_is_an_abstention(text: str) -> None:
    assert read(text) is None


ABOUT_OPTIONS = Query(
    id="q",
    question="Which?",
    options=("A sack", "A bag", "Both A and B", "None of the above", "unknown"),
    answer=2,
    answer_type="choice",
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is both A and B.", "C"),
        ("Both A and B", "C"),
        ("The answer is (C) Both A and B", "C"),
        ("The answer is None of the above.", "D"),
        ("The answer is none of the above, because both leak.", "D"),
        ("unknown", "E"),
        ('{"answer": "unknown"}', "E"),
        ("The answer is A bag.", "B"),
        ("The answer is A.", "A"),
        ("The answer is A and B", None),
    ],
)
def test_an_option_that_speaks_about_options_is_read_by_its_text(text: str, value: str | None) -> None:
    assert GRADER.read(ABOUT_OPTIONS, make_response(text)) == value


def test_last_explicit_statement_wins() -> None:
    assert read("The answer is A. No, wait: the answer is C.") == "C"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is B", None),
        ("B", None),
        ("Paris", None),
        ("The answer is B\nbecause the tow", "B"),
        ("\\boxed{B} and", "B"),
        ("The answer is \\boxed{B", None),
    ],
)
def test_truncated_text_counts_only_what_was_stated_before_the_cut(text: str, value: str | None) -> None:
    assert read(text, truncated=True) == value


def test_option_texts_that_differ_by_case_only_are_not_told_apart() -> None:
    query = Query(id="q", question="?", options=("pH", "PH"), answer=0, answer_type="choice")
    assert GRADER.read(query, make_response("ph")) is None


def test_grades_against_the_option_index() -> None:
    outcomes = [GRADER.grade(QUERY, make_response(t)).outcome for t in ("B", "C", "no idea")]
    assert outcomes == [RIGHT, WRONG, ABSTAINED]


def test_an_abstention_carries_its_reason() -> None:
    assert GRADER.grade(QUERY, make_response("The answer is F")).reason == "letter F is not an option"


LETTER_DRESSES = [
    *(
        "{}",
        "({})",
        "{}.",
        "**{}**",
        "*{}*",
        "_{}_",
        "`{}`",
        "<{}>",
        "（{}）",
        "【{}】",
        "$\\textbf{{({})}}$",
    ),
    *("\\boxed{{{}}}", "\\({}\\)", "The answer is {}", "Answer: ({})", "So option {} is correct."),
    *("Antwort: {}", "La respuesta es la {}", "答案是{}。", "答えは（{}）です。", "Ответ: **{}**"),
    *('{{"answer": "{}"}}', "{{'reasoning': 'A or D', 'answer': '{}'}}", "<answer>{}</answer>"),
    *("Answer: ({})\n\nThat is all.", "The answer is {}, because the others are not."),
]


@given(
    letter=st.sampled_from("ABCDＡＢＣＤ"),
    form=st.sampled_from(LETTER_DRESSES),
    thought=st.sampled_from(["", "<think>A or D?</think>\n", "[THINK]The answer is A[/THINK]"]),
)
def test_all_forms_of_a_letter_are_one_vote(letter: str, form: str, thought: str) -> None:
    assert read(thought + form.format(letter)) == unicodedata.normalize("NFKC", letter)


@given(st.text(max_size=300), st.booleans())
def test_any_text_reads_as_an_option_or_as_nothing(text: str, truncated: bool) -> None:
    assert read(text, truncated=truncated) in {None, "A", "B", "C", "D"}
