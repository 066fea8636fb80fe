"""Training questions for the aggregator: a question, candidate answers, and the right one."""

import random
import string

from examples.zoo.tasks import LETTERS, TASKS, Instance, Split, Task, ask, draw, wrong_answers

MAX_TRIES = 20


def render_candidates(prompt: str, candidates: list[str]) -> str:
    """The user message of the aggregator. The orchestrator renders the same for live responses."""
    lines = [f"{number}) {answer}" for number, answer in enumerate(candidates, start=1)]
    return "\n".join([prompt, "Candidates:", *lines])


def aggregation_example(
    task: Task,
    split: Split,
    rng: random.Random,
    *,
    choice: bool,
    n_right: int | None = None,
    n_wrong: int | None = None,
) -> tuple[str, str]:
    """A user message and the reply that aggregates it; by default mostly 1 right, 2 wrong."""
    instance = draw(task, split, rng)
    question = ask(task, instance, split, rng, choice=choice)
    right = question.letter if choice else question.answer
    n_right = n_right or rng.choices((1, 2), (8, 2))[0]
    n_wrong = n_wrong or rng.choices((1, 2, 3), (2, 6, 2))[0]
    wrong = [_wrong_reply(task, instance, right, rng, choice) for _ in range(n_wrong)]
    candidates = [right] * n_right + wrong
    rng.shuffle(candidates)
    return render_candidates(question.prompt, candidates), right


def _wrong_reply(task: Task, instance: Instance, right: str, rng: random.Random, choice: bool) -> str:
    for _ in range(MAX_TRIES):
        kind = rng.random()
        if choice and kind < 0.6:
            wrong = rng.choice(LETTERS)
        elif kind < 0.35:
            wrong = perturb(instance.answer, rng)
        elif kind < 0.6:
            wrong = wrong_answers(task, instance, rng, 1)[0]
        elif kind < 0.9:
            wrong = _other_skill(instance, rng)
        else:
            wrong = "".join(rng.choices(string.ascii_letters + string.digits, k=rng.randint(1, 8)))
        if wrong and wrong != right:
            return wrong
    return "?"


def _other_skill(instance: Instance, rng: random.Random) -> str:
    """What an expert for something else might write."""
    word = instance.slots.get("word")
    if word and rng.random() < 0.6:
        turned = rng.choice((word, word[::-1], "".join(sorted(word))))
        return turned.upper() if rng.random() < 0.3 else turned
    return rng.choice(list(TASKS.values())).sample(rng).answer


def perturb(answer: str, rng: random.Random) -> str:
    """One small slip: a character swapped, replaced, dropped or doubled."""
    at = rng.randrange(len(answer))
    slip = rng.randrange(4)
    if slip == 0 and at + 1 < len(answer):
        return answer[:at] + answer[at + 1] + answer[at] + answer[at + 2 :]
    if slip == 1:
        return answer[:at] + answer[at + 1 :]
    if slip == 2:
        return answer[:at] + answer[at] + answer[at:]
    return answer[:at] + _like(answer[at], rng) + answer[at + 1 :]


def _like(character: str, rng: random.Random) -> str:
    families = ("01", string.digits, "IVXLCDM", string.ascii_lowercase, string.ascii_uppercase)
    family = next((family for family in families if character in family), string.digits)
    return rng.choice(family)
