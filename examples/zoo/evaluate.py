"""Measure the members on the question sets: `python -m examples.zoo.evaluate`.

A plain loop over all experts and questions, apart from any routing: what each expert can do, what
the best single expert, a majority vote and a perfect choice among the experts reach. With `--combine` the
matrix of the families of `combine.yaml` on the skills that they share, 300 held-out inputs each.
"""

import argparse
import random
from collections import Counter, defaultdict
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from examples.zoo.candidates import aggregation_example
from examples.zoo.model import answer_all, load_member
from examples.zoo.questions import held_out, question_set
from examples.zoo.recipes import COMBINE_RECIPES, GENERALIST, RECIPES, SHARED_TASKS, Recipe
from examples.zoo.tasks import SINGLE_TASKS, TASKS, Question, Split
from examples.zoo.tokenizer import build_tokenizer

MODELS = Path(__file__).parent / "models"
N_AGGREGATIONS_PER_TASK = 40


def grade(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: list[Question]
) -> tuple[list[str], list[bool]]:
    """Replies to the questions, and whether each is right to the letter."""
    replies = answer_all(model, tokenizer, [question.prompt for question in questions])
    return replies, [q.accepts(r) for r, q in zip(replies, questions, strict=True)]


def accuracy_by_task(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, split: Split
) -> dict[str, float]:
    """Share of right replies per task on the question set of a split."""
    questions = question_set(split)
    return mean_by_task(questions, grade(model, tokenizer, questions)[1])


def mean_by_task(questions: list[Question], right: list[bool]) -> dict[str, float]:
    grouped: dict[str, list[bool]] = defaultdict(list)
    for question, is_right in zip(questions, right, strict=True):
        grouped[question.task].append(is_right)
    return {task: round(sum(marks) / len(marks), 3) for task, marks in grouped.items()}


def aggregator_accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int
) -> dict[str, float]:
    """Share of right replies per task, given one right and two wrong candidates (chance 1/3)."""
    rng = random.Random(seed)
    grouped: dict[str, list[bool]] = {}
    for task in TASKS.values():
        examples = [
            aggregation_example(
                task, "profile", rng, choice=rng.random() < task.choice_share, n_right=1, n_wrong=2
            )
            for _ in range(N_AGGREGATIONS_PER_TASK)
        ]
        replies = answer_all(model, tokenizer, [message for message, _ in examples])
        grouped[task.name] = [r == right for r, (_, right) in zip(replies, examples, strict=True)]
    accuracy = {task: sum(marks) / len(marks) for task, marks in grouped.items()}
    return accuracy | {"all": round(sum(accuracy.values()) / len(accuracy), 3)}


def print_report(split: Split) -> None:
    """The matrix of experts and tasks, then the yardsticks for a router."""
    tokenizer, questions = build_tokenizer(), question_set(split)
    members = [recipe for recipe in RECIPES if recipe.family != "aggregator"]
    members = [recipe for recipe in members if (MODELS / recipe.expert).exists()]
    graded = {r.expert: grade(load_member(MODELS / r.expert), tokenizer, questions) for r in members}
    right = {expert: marks for expert, (_, marks) in graded.items()}
    replies = {expert: texts for expert, (texts, _) in graded.items()}
    print_matrix(questions, right)
    single = {task.name for task in SINGLE_TASKS}
    at = [i for i, question in enumerate(questions) if question.task in single]
    best = max(right, key=lambda expert: sum(right[expert][i] for i in at))
    votes = [questions[i].accepts(_majority([replies[e][i] for e in replies])) for i in at]
    print(f"\nsingle-skill questions of {split}: {len(at)}")
    print(f"best single expert: {best} {_mean([right[best][i] for i in at]):.3f}")
    print(f"perfect choice:     {_mean([any(r[i] for r in right.values()) for i in at]):.3f}")
    print(f"majority vote:      {_mean(votes):.3f}")
    for title, kept in (
        ("with", members),
        ("without", [r for r in members if r.family != "generalist"]),
    ):
        share = _mean([is_contested(questions[i], i, kept, right) for i in at])
        print(f"experts of the skill disagree, {title} the generalist: {share:.3f}")


def print_families(per_task: int) -> None:
    """The matrix of the families to combine, on inputs that nobody was trained on."""
    tokenizer = build_tokenizer()
    questions = [q for name in SHARED_TASKS for q in held_out(TASKS[name], per_task)]
    members = [GENERALIST, *(r.expert for r in COMBINE_RECIPES if (MODELS / r.expert).exists())]
    right = {e: grade(load_member(MODELS / e), tokenizer, questions)[1] for e in members}
    print_matrix(questions, right)


def print_matrix(questions: list[Question], right: dict[str, list[bool]]) -> None:
    rows = {expert: mean_by_task(questions, marks) for expert, marks in right.items()}
    tasks = list(next(iter(rows.values())))
    print(" " * 13 + " ".join(f"{task[:9]:>9}" for task in tasks))
    for expert, row in rows.items():
        print(f"{expert:13}" + " ".join(f"{row[task]:9.2f}" for task in tasks))


def is_contested(question: Question, at: int, members: list[Recipe], right: dict[str, list[bool]]) -> bool:
    """Whether some, but not all, of the experts trained on this task are right."""
    marks = [right[r.expert][at] for r in members if question.task in r.mixture]
    return any(marks) and not all(marks)


def _majority(replies: list[str]) -> str:
    return Counter(replies).most_common(1)[0][0]


def _mean(marks: list[bool]) -> float:
    return sum(marks) / len(marks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=("profile", "test"), default="test")
    parser.add_argument("--combine", action="store_true", help="the families of combine.yaml")
    parser.add_argument("--per-task", type=int, default=300, help="held-out inputs of each skill there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.combine:
        print_families(options.per_task)
    else:
        print_report(options.split)


if __name__ == "__main__":
    main()
