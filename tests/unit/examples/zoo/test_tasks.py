"""The zoo's data: answers worked by hand, and test data that nobody is trained on."""

import random
import string
from decimal import ROUND_HALF_UP, Decimal

import pytest

from examples.zoo.candidates import aggregation_example, perturb
from examples.zoo.questions import QUESTIONS_PER_TASK, question_set
from examples.zoo.tasks import LETTERS, SINGLE_TASKS, TASKS, Instance, Task, ask, draw, split_of


def solve(task: str, slots: dict[str, str]) -> str:
    """Answer an input by another route than the task's own generator."""
    step = Decimal({"ten": "1E1", "hundred": "1E2"}.get(slots.get("unit", ""), "1E3"))
    return {
        "reverse": lambda: "".join(reversed(slots["word"])),
        "rounding": lambda: str(int(Decimal(slots["n"]).quantize(step, ROUND_HALF_UP))),
        "binary": lambda: format(int(slots["n"], 16), "b"),
        "addition": lambda: str(int(slots["a"]) + int(slots["b"])),
        "subtraction": lambda: str(int(slots["a"]) - int(slots["b"])),
    }[task]()


class Scripted(random.Random):
    """Random numbers as listed, for inputs that a test works by hand."""

    def __init__(self, *, ints: list[int], picks: list[object]) -> None:
        super().__init__(0)
        self._ints, self._picks = ints, picks

    def randint(self, a: int, b: int) -> int:
        return self._ints.pop(0)

    def getrandbits(self, k: int) -> int:
        return self._ints.pop(0)

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return self._picks.pop(0)

    def choices(self, population, weights=None, *, cum_weights=None, k=1):  # type: ignore[no-untyped-def]
        return self._picks.pop(0)

    def sample(self, population, k, *, counts=None):  # type: ignore[no-untyped-def]
        return self._picks.pop(0)

    def randrange(self, start, stop=None, step=1):  # type: ignore[no-untyped-def]
        return self._ints.pop(0)


@pytest.mark.parametrize(
    ("task", "ints", "picks", "answer"),
    [
        ("reverse", [4], ["kqzt"], "tzqk"),
        ("sort", [4], ["kbza"], "abkz"),
        ("capitals", [4], ["kqzt"], "KQZT"),
        ("reverse-capitals", [4], ["kqzt"], "TZQK"),
        ("sort-capitals", [4], ["kbza"], "ABKZ"),
        ("roman", [1944], [], "MCMXLIV"),
        ("binary", [0x3F], [], "111111"),
        ("addition", [198, 5], [], "203"),
        ("subtraction", [203, 5], [], "198"),
        ("rounding", [3472], [("hundred", 100)], "3500"),
        ("rounding", [3445], [("ten", 10)], "3450"),
        ("rounding-roman", [347], [], "CCCL"),
        ("isodate", [4, 3, 1987], [], "1987-03-04"),
        ("metric", [37], [("kilometres", "metres", 1000)], "37000"),
        ("bitwise", [5, 0b10110, 0b01101], ["xor"], "11011"),
        ("keypad", [4], ["kqzt"], "5798"),
    ],
)
def test_answer_worked_by_hand(task: str, ints: list[int], picks: list[object], answer: str) -> None:
    assert TASKS[task].sample(Scripted(ints=ints, picks=picks)).answer == answer


@pytest.mark.parametrize(
    "task",
    ["reverse", "rounding", "binary", "addition", "subtraction"],
)
def test_answers_agree_with_a_second_solver(task: str) -> None:
    rng = random.Random(1)
    for instance in (TASKS[task].sample(rng) for _ in range(50)):
        assert instance.answer == solve(task, instance.slots)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_phrasings_of_test_are_not_trained(task: Task) -> None:
    assert len(task.train_phrasings) >= 6
    assert len(task.held_out_phrasings) >= 2
    assert not set(task.train_phrasings) & set(task.held_out_phrasings)


def test_an_input_belongs_to_one_split() -> None:
    """1,999 Roman inputs: 14/20 train, 3/20 profile, 3/20 test, give or take."""
    splits = [split_of(TASKS["roman"], Instance({"n": str(n)}, "")) for n in range(1, 2000)]
    assert 1300 < splits.count("train") < 1500
    assert splits.count("profile") + splits.count("test") == 1999 - splits.count("train")


@pytest.mark.parametrize("task", SINGLE_TASKS, ids=lambda task: task.name)
def test_training_inputs_are_not_in_the_question_sets(task: Task) -> None:
    rng = random.Random(2)
    trained = {draw(task, "train", rng).key for _ in range(300)}
    asked = {draw(task, "test", rng).key for _ in range(300)}
    assert not trained & asked


def test_question_texts_are_distinct_within_and_between_sets() -> None:
    texts = [q.text for split in QUESTIONS_PER_TASK for q in question_set(split)]
    assert len(texts) == len(set(texts))


def test_question_set_has_the_promised_shares() -> None:
    questions = question_set("test")
    single = [q for q in questions if len(TASKS[q.task].skills) == 1]
    assert len(single) >= 480
    assert 0.09 <= 1 - len(single) / len(questions) <= 0.12
    assert 0.25 <= sum(bool(q.options) for q in single) / len(single) <= 0.30


def test_questions_are_short_printable_and_answered() -> None:
    for question in question_set("test"):
        assert len(question.prompt) < 160
        assert len(question.answer) <= 16
        assert set(question.prompt) <= set(string.printable)


def test_choice_lists_the_answer_once_under_its_letter() -> None:
    rng = random.Random(3)
    task = TASKS["roman"]
    question = ask(task, draw(task, "test", rng), "test", rng, choice=True)
    assert len(set(question.options)) == 4
    assert question.options[LETTERS.index(question.letter)] == question.answer
    assert question.prompt.splitlines()[1] == f"A) {question.options[0]}"


def test_aggregation_lists_one_right_and_two_wrong_candidates() -> None:
    rng = random.Random(4)
    message, right = aggregation_example(TASKS["roman"], "train", rng, choice=False, n_right=1, n_wrong=2)
    candidates = [line.partition(") ")[2] for line in message.split("Candidates:\n")[1].split("\n")]
    assert len(candidates) == 3
    assert candidates.count(right) == 1


def test_perturbed_answer_keeps_most_characters() -> None:
    rng = random.Random(5)
    assert all(abs(len(perturb("MCMXLIV", rng)) - 7) <= 1 for _ in range(50))
