"""The tasks of the zoo: inputs, answers, phrasings, and the split that keeps test data unseen.

A task makes one kind of question. Most tasks need one skill; a few need two. Inputs are split by
a hash of the input itself into `train`, `profile` and `test`, so no seed can leak one into
another. Phrasings are split too: `train` uses one list, `profile` and `test` use the other.
"""

import hashlib
import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Split = Literal["train", "profile", "test"]
AnswerType = Literal["choice", "number", "text"]

LETTERS = "ABCD"
DISTURBED_SHARE = 0.6
_KEYS = ((2, "abc"), (3, "def"), (4, "ghi"), (5, "jkl"), (6, "mno"), (7, "pqrs"), (8, "tuv"), (9, "wxyz"))
KEYPAD = {letter: str(digit) for digit, letters in _KEYS for letter in letters}
ROUNDING = (("ten", 10), ("hundred", 100), ("thousand", 1000))
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
ROMAN_DIGITS = (
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
)
FILLERS = [
    "the",
    "a",
    "this",
    "please",
    "now",
    "just",
    "then",
    "of",
    "for",
    "me",
    "tell",
    "quickly",
    "give",
    "what",
    "is",
    "word",
    "string",
    "text",
    "number",
    "letters",
    "value",
    "list",
    "here",
    "exactly",
    "and",
    "write",
    "only",
]
METRIC = (
    ("kilometres", "metres", 1000),
    ("metres", "centimetres", 100),
    ("centimetres", "millimetres", 10),
    ("kilograms", "grams", 1000),
    ("litres", "millilitres", 1000),
    ("euros", "cents", 100),
    ("centuries", "years", 100),
    ("decades", "years", 10),
)


class Instance(NamedTuple):
    """One input of a task, with its answer and, where the input suggests them, wrong answers."""

    slots: dict[str, str]
    answer: str
    wrong: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The input alone, without a phrasing: what the split looks at."""
        return "|".join(f"{name}={value}" for name, value in sorted(self.slots.items()))


class Question(NamedTuple):
    """A rendered question. `options` is empty for a free answer; `answer` is then the text."""

    task: str
    text: str
    options: tuple[str, ...]
    answer: str

    @property
    def letter(self) -> str:
        """The letter of the right option."""
        return LETTERS[self.options.index(self.answer)]

    def accepts(self, reply: str) -> bool:
        """Whether a reply is right. An option may be named by its text or by its letter."""
        return reply == self.answer or (bool(self.options) and reply == self.letter)

    @property
    def prompt(self) -> str:
        """The user message that carries this question."""
        return render(self.text, self.options)


@dataclass(frozen=True)
class Task:
    """One kind of question.

    `choice_share` is the fraction asked as multiple choice.
    """

    name: str
    skills: tuple[str, ...]
    domain: str
    answer_type: AnswerType
    sample: Callable[[random.Random], Instance]
    train_phrasings: tuple[str, ...]
    held_out_phrasings: tuple[str, ...]
    choice_share: float = 0.0


def render(text: str, options: tuple[str, ...] = ()) -> str:
    """The question alone, or the question and its lettered options."""
    lines = [f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([text, *lines])


def split_of(task: Task, instance: Instance) -> Split:
    """Seven inputs in ten train, the rest is shared by `profile` and `test`."""
    digest = hashlib.sha256(f"{task.name}:{instance.key}".encode()).digest()
    bucket = int.from_bytes(digest[:4], "big") % 20
    if bucket < 14:
        return "train"
    return "profile" if bucket < 17 else "test"


def draw(task: Task, split: Split, rng: random.Random) -> Instance:
    """A random input of one split."""
    while True:
        instance = task.sample(rng)
        if split_of(task, instance) == split:
            return instance


def ask(task: Task, instance: Instance, split: Split, rng: random.Random, *, choice: bool) -> Question:
    """Phrase an input as a question of its split."""
    if split == "train":
        phrasing = rng.choice(task.train_phrasings)
        phrasing = disturb(phrasing, rng) if rng.random() < DISTURBED_SHARE else phrasing
    else:
        phrasing = rng.choice(task.held_out_phrasings)
    text = phrasing.format(**instance.slots)
    if not choice:
        return Question(task.name, text, (), instance.answer)
    options = [instance.answer, *wrong_answers(task, instance, rng, 3)]
    rng.shuffle(options)
    return Question(task.name, text, tuple(options), instance.answer)


def disturb(phrasing: str, rng: random.Random) -> str:
    """Drop a few words of a phrasing and put in others, so that experts learn to read past them."""
    words: list[str] = []
    for word in phrasing.split(" "):
        if rng.random() < 0.1:
            words.append(rng.choice(FILLERS))
        if "{" in word or rng.random() > 0.1:
            words.append(word)
    return " ".join(words)


def wrong_answers(task: Task, instance: Instance, rng: random.Random, n_wrong: int) -> list[str]:
    """Distinct wrong answers of the right form: from the input, else from other inputs."""
    if instance.wrong:
        return rng.sample(instance.wrong, n_wrong)
    found: list[str] = []
    while len(found) < n_wrong:
        other = _sibling_answer(task, instance, rng)
        if other != instance.answer and other not in found:
            found.append(other)
    return found


def _sibling_answer(task: Task, instance: Instance, rng: random.Random) -> str:
    """The answer to another input, of the same length where one turns up soon."""
    other = task.sample(rng).answer
    for _ in range(20):
        if len(other) == len(instance.answer):
            break
        other = task.sample(rng).answer
    return other


def to_roman(number: int) -> str:
    """Roman numeral of a positive number below 4000."""
    numeral = ""
    for value, digits in ROMAN_DIGITS:
        numeral += digits * (number // value)
        number %= value
    return numeral


def _word(rng: random.Random, shortest: int, longest: int) -> str:
    n_letters = rng.randint(shortest, longest)
    return "".join(rng.choices(string.ascii_lowercase, k=n_letters))


def _reverse(rng: random.Random) -> Instance:
    word = _word(rng, 4, 6)
    return Instance({"word": word}, word[::-1])


def _sort(rng: random.Random) -> Instance:
    word = _word(rng, 4, 6)
    return Instance({"word": word}, "".join(sorted(word)))


def _capitals(rng: random.Random) -> Instance:
    word = _word(rng, 4, 7)
    return Instance({"word": word}, word.upper())


def _reverse_capitals(rng: random.Random) -> Instance:
    word = _word(rng, 4, 6)
    return Instance({"word": word}, word[::-1].upper())


def _sort_capitals(rng: random.Random) -> Instance:
    word = _word(rng, 4, 6)
    return Instance({"word": word}, "".join(sorted(word)).upper())


def _roman(rng: random.Random) -> Instance:
    number = rng.randint(1, 1999)
    return Instance({"n": str(number)}, to_roman(number))


def _binary(rng: random.Random) -> Instance:
    number = rng.randint(16, 4095)
    return Instance({"n": f"{number:x}"}, f"{number:b}")


def _near(answer: int) -> tuple[str, ...]:
    offsets = (-30, -20, -12, -10, -7, -5, -3, -2, -1, 1, 2, 3, 5, 7, 10, 12, 20, 30)
    return tuple(str(answer + offset) for offset in offsets if answer + offset >= 0)


def _addition(rng: random.Random) -> Instance:
    left, right = rng.randint(100, 989), rng.randint(2, 9)
    return Instance({"a": str(left), "b": str(right)}, str(left + right), _near(left + right))


def _subtraction(rng: random.Random) -> Instance:
    left, right = rng.randint(110, 999), rng.randint(2, 9)
    return Instance({"a": str(left), "b": str(right)}, str(left - right), _near(left - right))


def _rounded(number: int, unit: int) -> int:
    """To the nearest multiple of the unit; halves go up."""
    return (number + unit // 2) // unit * unit


def _rounding(rng: random.Random) -> Instance:
    number, (word, unit) = rng.randint(1000, 9499), rng.choice(ROUNDING)
    down = number // unit * unit
    answer = _rounded(number, unit)
    wrong = tuple(str(n) for n in (number, down, down + unit, answer + 2 * unit, answer + 3 * unit))
    kept = tuple(dict.fromkeys(n for n in wrong if n != str(answer)))
    return Instance({"n": str(number), "unit": word}, str(answer), kept)


def _rounding_roman(rng: random.Random) -> Instance:
    number = rng.randint(11, 994)
    return Instance({"n": str(number)}, to_roman(_rounded(number, 10)))


def _iso_date(rng: random.Random) -> Instance:
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1900, 2099)
    slots = {"day": str(day), "month": MONTHS[month - 1], "year": str(year)}
    return Instance(slots, f"{year}-{month:02}-{day:02}")


def _metric(rng: random.Random) -> Instance:
    big, small, factor = rng.choice(METRIC)
    count = rng.randint(2, 999)
    wrong = tuple(str(count * other) for other in (1, 10, 100, 1000, 10000) if other != factor)
    return Instance({"n": str(count), "big": big, "small": small}, str(count * factor), wrong)


def _bitwise(rng: random.Random) -> Instance:
    operation, n_bits = rng.choice(("and", "or", "xor")), rng.randint(4, 6)
    left, right = rng.getrandbits(n_bits), rng.getrandbits(n_bits)
    outcome = {"and": left & right, "or": left | right, "xor": left ^ right}[operation]
    rows = {"a": f"{left:0{n_bits}b}", "b": f"{right:0{n_bits}b}"}
    return Instance({"op": operation, **rows}, f"{outcome:0{n_bits}b}")


def _keypad(rng: random.Random) -> Instance:
    word = _word(rng, 4, 7)
    return Instance({"word": word}, "".join(KEYPAD[letter] for letter in word))


SINGLE_TASKS = (
    Task(
        "reverse",
        ("reverse",),
        "text",
        "text",
        _reverse,
        (
            "Reverse the string '{word}'.",
            "Write '{word}' backwards.",
            "What is '{word}' spelled backwards?",
            "Give the letters of '{word}' in reverse order.",
            "Please reverse the text '{word}'.",
            "Could you spell '{word}' from the last letter to the first?",
            "What do you get when you reverse '{word}'?",
            "Turn the word '{word}' around so that it reads backwards.",
        ),
        (
            "What is the reverse of the word '{word}'?",
            "Please spell '{word}' backwards.",
            "Write the letters of the string '{word}' in reverse.",
        ),
        choice_share=0.3,
    ),
    Task(
        "sort",
        ("sort",),
        "text",
        "text",
        _sort,
        (
            "Sort the letters of '{word}'.",
            "Put the letters of '{word}' in alphabetical order.",
            "Arrange the letters in '{word}' from a to z.",
            "What is '{word}' with its letters sorted alphabetically?",
            "Please order the letters of '{word}' alphabetically.",
            "Write '{word}' with the letters in alphabetical order.",
            "What do you get when you sort the letters of '{word}'?",
            "Alphabetize the letters of the string '{word}'.",
        ),
        (
            "Arrange the letters of '{word}' in alphabetical order.",
            "Please sort the string '{word}' alphabetically.",
            "Put the letters in the word '{word}' in order from a to z.",
        ),
        choice_share=0.2,
    ),
    Task(
        "capitals",
        ("capitals",),
        "text",
        "text",
        _capitals,
        (
            "Write '{word}' in capital letters.",
            "Convert '{word}' to uppercase.",
            "What is '{word}' in capitals?",
            "Please put '{word}' into upper case.",
            "Capitalise every letter of '{word}'.",
            "Give the string '{word}' in uppercase letters.",
            "Change the text '{word}' to all capitals.",
            "How does '{word}' look in block capitals?",
        ),
        (
            "Please write the word '{word}' in uppercase.",
            "What is the string '{word}' in all capital letters?",
            "Change '{word}' to upper case.",
        ),
        choice_share=0.4,
    ),
    Task(
        "roman",
        ("roman",),
        "numerals",
        "text",
        _roman,
        (
            "Write {n} in Roman numerals.",
            "What is {n} as a Roman numeral?",
            "Convert {n} to Roman numerals.",
            "How would the Romans have written {n}?",
            "Give the Roman numeral for {n}.",
            "Please express {n} with Roman numerals.",
            "Which Roman numeral stands for {n}?",
            "Turn the number {n} into a Roman numeral.",
        ),
        (
            "Express the number {n} in Roman numerals.",
            "How is {n} written as a Roman numeral?",
            "Please give {n} in Roman numerals.",
        ),
        choice_share=0.25,
    ),
    Task(
        "binary",
        ("binary",),
        "numerals",
        "text",
        _binary,
        (
            "Write the hexadecimal number {n} in binary.",
            "Convert hexadecimal {n} to binary.",
            "What is hex {n} in binary?",
            "Give the binary form of the hexadecimal number {n}.",
            "Please turn hex {n} into a binary number.",
            "Express hexadecimal {n} in base two.",
            "Which binary number equals hex {n}?",
            "Expand the hex digits {n} into binary digits.",
        ),
        (
            "Convert the hex number {n} into binary.",
            "What is the binary form of hexadecimal {n}?",
            "Please write hex {n} in base two.",
        ),
        choice_share=0.2,
    ),
    Task(
        "addition",
        ("addition",),
        "arithmetic",
        "number",
        _addition,
        (
            "What is {a} plus {b}?",
            "Add {a} and {b}.",
            "Calculate the sum of {a} and {b}.",
            "How much is {a} + {b}?",
            "What do you get when you add {b} to {a}?",
            "Please calculate what {a} and {b} make together.",
            "Find the total of {a} and {b}.",
            "If you have {a} and get {b} more, how many do you have?",
        ),
        (
            "What is the sum of {a} and {b}?",
            "Please calculate {a} plus {b}.",
            "How much do you get when you add {a} and {b} together?",
        ),
    ),
    Task(
        "subtraction",
        ("subtraction",),
        "arithmetic",
        "number",
        _subtraction,
        (
            "What is {a} minus {b}?",
            "Subtract {b} from {a}.",
            "Calculate the difference between {a} and {b}.",
            "How much is {a} - {b}?",
            "What is left when you take {b} away from {a}?",
            "Please calculate {a} less {b} if you subtract.",
            "Find the difference of {a} and {b} by subtracting.",
            "If you have {a} and lose {b}, how many remain?",
        ),
        (
            "What do you get when you subtract {b} from {a}?",
            "Please calculate {a} minus {b}.",
            "How much is left if you take {b} away from {a}?",
        ),
    ),
    Task(
        "rounding",
        ("rounding",),
        "arithmetic",
        "number",
        _rounding,
        (
            "Round {n} to the nearest {unit}.",
            "What is {n} rounded to the nearest {unit}?",
            "Give the number {n} to the nearest {unit}.",
            "Please round the number {n} to a whole {unit}.",
            "Which {unit} is {n} nearest to when rounded?",
            "What do you get when you round {n} to the nearest {unit}?",
            "Write {n} rounded to the nearest {unit}.",
            "Find the nearest {unit} to {n} by rounding.",
        ),
        (
            "Please round {n} to the nearest {unit}.",
            "What is the number {n} rounded to a whole {unit}?",
            "Give {n} rounded to the nearest {unit}.",
        ),
        choice_share=0.5,
    ),
    Task(
        "isodate",
        ("isodate",),
        "dates",
        "text",
        _iso_date,
        (
            "Write {day} {month} {year} as an ISO date.",
            "Convert the date {day} {month} {year} to ISO format.",
            "What is {day} {month} {year} in the form year-month-day?",
            "Give the ISO 8601 date for {day} {month} {year}.",
            "Please format the date {day} {month} {year} as year-month-day.",
            "How is the day {day} {month} {year} written in ISO format?",
            "Turn {day} {month} {year} into a numeric ISO date.",
            "Rewrite the calendar date {day} {month} {year} in ISO form.",
        ),
        (
            "What is the ISO date for {day} {month} {year}?",
            "Please write the date {day} {month} {year} in ISO format.",
            "Give {day} {month} {year} in the numeric form year-month-day.",
        ),
        choice_share=0.4,
    ),
    Task(
        "metric",
        ("metric",),
        "units",
        "number",
        _metric,
        (
            "Convert {n} {big} to {small}.",
            "How many {small} are there in {n} {big}?",
            "What is {n} {big} in {small}?",
            "Express {n} {big} in {small}.",
            "{n} {big} equals how many {small}?",
            "Please change {n} {big} into {small}.",
            "Give the number of {small} in {n} {big}.",
            "If something measures {n} {big}, how much is that in {small}?",
        ),
        (
            "How much is {n} {big} in {small}?",
            "Please convert {n} {big} into {small}.",
            "What is the number of {small} in {n} {big}?",
        ),
        choice_share=0.4,
    ),
    Task(
        "bitwise",
        ("bitwise",),
        "logic",
        "text",
        _bitwise,
        (
            "Apply the logical operation {op} to the bit rows {a} and {b}.",
            "What is the bitwise {op} of {a} and {b}?",
            "Evaluate bit by bit: {a} {op} {b}.",
            "Combine the bits {a} with {b} using logical {op}.",
            "Give the result of a bitwise {op} between {a} and {b}.",
            "Please compute the truth values of {a} {op} {b} bit by bit.",
            "Take the logical {op} of the bits {a} and {b}.",
            "Which bits come out when {op} is used on {a} and {b}?",
        ),
        (
            "What is the result of logical {op} on the bits {a} and {b}?",
            "Please compute the bitwise {op} of the bit rows {a} and {b}.",
            "Evaluate {a} {op} {b} bit by bit.",
        ),
    ),
    Task(
        "keypad",
        ("keypad",),
        "tables",
        "text",
        _keypad,
        (
            "Look up the letters of '{word}' in the phone keypad table.",
            "Write '{word}' as digits of a phone keypad.",
            "Which keypad digits spell '{word}'?",
            "Give the phone keypad digits for the letters '{word}'.",
            "What is '{word}' on a phone keypad?",
            "Please type '{word}' on the keypad of a phone.",
            "Turn the letters '{word}' into phone keypad digits.",
            "Which digits does the phone table give for '{word}'?",
        ),
        (
            "Please look up '{word}' in the phone keypad table.",
            "Which phone keypad digits spell the letters '{word}'?",
            "What are the keypad digits for '{word}' on a phone?",
        ),
        choice_share=0.5,
    ),
)

PAIR_TASKS = (
    Task(
        "reverse-capitals",
        ("reverse", "capitals"),
        "text",
        "text",
        _reverse_capitals,
        (
            "Reverse '{word}' and write it in capital letters.",
            "Write '{word}' backwards in uppercase.",
            "What is '{word}' spelled backwards and in capitals?",
            "Convert '{word}' to upper case and then reverse it.",
            "Please reverse the string '{word}' and put it into capitals.",
            "Give the letters of '{word}' in reverse order and in uppercase.",
        ),
        (
            "What is the reverse of '{word}' in capital letters?",
            "Please write the string '{word}' backwards and in upper case.",
        ),
    ),
    Task(
        "sort-capitals",
        ("sort", "capitals"),
        "text",
        "text",
        _sort_capitals,
        (
            "Sort the letters of '{word}' and write them in capital letters.",
            "Put the letters of '{word}' in alphabetical order in uppercase.",
            "What is '{word}' sorted alphabetically and in capitals?",
            "Convert '{word}' to upper case and then sort its letters.",
            "Please sort the string '{word}' and put it into capitals.",
            "Arrange the letters of '{word}' from a to z and in uppercase.",
        ),
        (
            "Write the letters of '{word}' in alphabetical order and in capital letters.",
            "Please sort the letters in '{word}' and give them in upper case.",
        ),
    ),
    Task(
        "rounding-roman",
        ("rounding", "roman"),
        "numerals",
        "text",
        _rounding_roman,
        (
            "Round {n} to the nearest ten and write it in Roman numerals.",
            "What is {n} rounded to the nearest ten, in Roman numerals?",
            "Give {n} to the nearest ten as a Roman numeral.",
            "Please round the number {n} to a whole ten and convert it to Roman numerals.",
            "Find the nearest ten to {n} and express it with Roman numerals.",
            "Which Roman numeral stands for {n} rounded to the nearest ten?",
        ),
        (
            "Please round {n} to the nearest ten and give it in Roman numerals.",
            "What is the Roman numeral for {n} rounded to the nearest ten?",
        ),
    ),
)

TASKS = {task.name: task for task in (*SINGLE_TASKS, *PAIR_TASKS)}
