"""Write the question sets `profile.jsonl` and `test.jsonl`: `python -m examples.zoo.questions`.

The sets depend on the tasks and on one seed, so anyone can make them again byte for byte.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from examples.zoo.recipes import SHARED_TASKS
from examples.zoo.tasks import PAIR_TASKS, SINGLE_TASKS, TASKS, Instance, Question, Split, Task, ask, draw

HERE = Path(__file__).parent
SEED = 2024
QUESTIONS_PER_TASK: dict[Split, tuple[int, int]] = {"profile": (50, 20), "test": (41, 18)}
MOST_MISSES = 5_000
"""Draws in a row that bring nothing new, after which a split counts as exhausted."""
COMBINE_QUESTIONS_PER_TASK: dict[Split, int] = {"profile": 20, "test": 50}


def question_set(split: Split, seed: int = SEED) -> list[Question]:
    """All questions of a split: single-skill tasks first, then two-skill tasks."""
    n_single, n_pair = QUESTIONS_PER_TASK[split]
    plan = [(task, n_single) for task in SINGLE_TASKS] + [(task, n_pair) for task in PAIR_TASKS]
    return [question for task, n_questions in plan for question in of_task(task, split, n_questions, seed)]


def combine_set(split: Split, seed: int = SEED) -> list[Question]:
    """Questions of a split on the skills that the families of `combine.yaml` share."""
    tasks = [task for task in SINGLE_TASKS if task.name in SHARED_TASKS]
    n_questions = COMBINE_QUESTIONS_PER_TASK[split]
    return [question for task in tasks for question in of_task(task, split, n_questions, seed)]


def of_task(task: Task, split: Split, n_questions: int, seed: int = SEED) -> Iterator[Question]:
    """Questions of one task on inputs that differ; the share of multiple choice is the task's."""
    rng = random.Random(f"{seed}:{split}:{task.name}")
    n_choice = round(n_questions * task.choice_share)
    for number, instance in enumerate(_distinct(task, split, n_questions, rng)):
        yield ask(task, instance, split, rng, choice=number < n_choice)


def held_out(task: Task, n_questions: int, seed: int = SEED) -> list[Question]:
    """Questions on inputs that nobody was trained on: those of `test`, and where these are too few, of
    `profile`; fewer where there are no more."""
    found: list[Question] = []
    for split in ("test", "profile"):
        found += of_task(task, split, n_questions - len(found), seed)
    return found


def _distinct(task: Task, split: Split, n_wanted: int, rng: random.Random) -> list[Instance]:
    """Inputs that differ; fewer where the split is found to hold no more."""
    found: dict[str, Instance] = {}
    n_misses = 0
    while len(found) < n_wanted and n_misses < MOST_MISSES:
        instance = draw(task, split, rng)
        n_misses = n_misses + 1 if instance.key in found else 0
        found.setdefault(instance.key, instance)
    return list(found.values())


def to_record(question: Question, question_id: str, task: Task) -> dict[str, object]:
    """One JSON line. The answer of a multiple-choice question is the index of its option."""
    record: dict[str, object] = {"id": question_id, "question": question.text}
    if question.options:
        record["options"] = list(question.options)
        record["answer"] = question.options.index(question.answer)
        record["answer_type"] = "choice"
    else:
        record["answer"] = question.answer
        record["answer_type"] = task.answer_type
    return record | {"domain": task.domain, "skills": list(task.skills)}


def to_jsonl(questions: Sequence[Question], prefix: str) -> str:
    """Questions as JSON lines; their ids are the prefix and a number."""
    records = (
        to_record(question, f"{prefix}-{number:04}", TASKS[question.task])
        for number, question in enumerate(questions)
    )
    return "".join(json.dumps(record) + "\n" for record in records)


def question_files() -> dict[str, str]:
    """All question files by name."""
    files = {f"{split}.jsonl": to_jsonl(question_set(split), split) for split in QUESTIONS_PER_TASK}
    return files | {
        f"combine-{split}.jsonl": to_jsonl(combine_set(split), f"combine-{split}")
        for split in COMBINE_QUESTIONS_PER_TASK
    }


def main() -> None:
    for name, text in question_files().items():
        (HERE / name).write_text(text, encoding="utf-8")
        print(f"{name}: {len(text.splitlines())} questions")


if __name__ == "__main__":
    main()
