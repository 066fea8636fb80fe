"""A pool of scripted experts that answer open questions, and one that judges: no weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fakes.databases import fill_data_folder
from tests.integration.scripted_pool import quick_yaml

GOOD, FAIR, SHORT = "A careful letter with every point in it.", "A letter with some points.", "A letter."
TEXTS: Mapping[str, str] = {"ada": GOOD, "bob": FAIR, "eve": SHORT}
"""Expert id to its answer to every open question."""

GRADES: Mapping[str, str] = {GOOD: "8", FAIR: "5", SHORT: "2"}
N_KNOWN = 60


def open_question(number: int) -> str:
    return f"Write letter number {number} to a friend."


def sum_question(number: int) -> str:
    return f"What is {number} plus {number}?"


def write_open_questions(path: Path, numbers: Sequence[int], *, n_exact: int = 0) -> Path:
    """Open questions, every second one with a reference, and sums, of which only `eve` knows none."""
    lines: list[dict[str, object]] = [
        {
            "id": f"q{n}",
            "question": open_question(n),
            "answer_type": "open",
            "domain": "letters",
            **({"answer": "Dear friend, all is well."} if n % 2 else {}),
        }
        for n in numbers
    ]
    for n in range(n_exact):
        line = {"id": f"s{n}", "question": sum_question(n), "answer": str(2 * n), "answer_type": "number"}
        lines.append(line)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def write_graded_pool(
    folder: Path,
    *,
    judge_rules: Sequence[Mapping[str, object]] | None = None,
    texts: Mapping[str, str] = TEXTS,
    judge_model: str = "scripted/critic",
) -> Path:
    """`pool.yaml` with experts and a judge, which grades by what the candidate says; all is logged in
    `log.jsonl`."""
    rules = grade_rules() if judge_rules is None else judge_rules
    judge = _member("critic", {"rules": [dict(rule) for rule in rules], "log": "log.jsonl"}, ["judge"])
    judge["litellm_params"] = {"model": judge_model}
    experts = [_expert(name, text) for name, text in texts.items()]
    muster = {"data_dir": "data", "embedder": {"model": "hash"}}
    fill_data_folder(folder / "data")
    path = folder / "pool.yaml"
    path.write_text(quick_yaml({"model_list": [*experts, judge], "muster": muster}))
    return path


def grade_rules() -> list[dict[str, object]]:
    """Replies of the judge by the candidate: a grade, or the checks of a rubric, of which a good answer
    passes all and a fair one the first that is shown."""
    checks = {GOOD: ("yes", "yes"), FAIR: ("yes", "no"), SHORT: ("no", "no")}
    of_checks = [
        {
            "regex": rf"(?s){text}.*Check 1:",
            "reply": f"Evidence.\nCheck 1: {first}\nCheck 2: {second}",
        }
        for text, (first, second) in checks.items()
    ]
    by_grade = [
        {"regex": rf"(?s)\[candidate 1 \w+\]\n{text}\n", "reply": f"Evidence.\nGrade: {grade}"}
        for text, grade in GRADES.items()
    ]
    return [*of_checks, *by_grade]


def _expert(name: str, text: str) -> dict[str, object]:
    answers = {open_question(n): text for n in range(N_KNOWN)}
    wrong = 1 if name == "eve" else 0
    sums = {sum_question(n): f"The answer is {2 * n + wrong}." for n in range(N_KNOWN)}
    return _member(name, {"answers": {**answers, **sums}, "log": "log.jsonl"}, ["expert"])


def _member(name: str, options: dict[str, object], roles: list[str]) -> dict[str, object]:
    return {
        "model_name": name,
        "litellm_params": {"model": f"scripted/{name}"},
        "model_info": {"muster": {"engine": "scripted", "roles": roles, "options": options}},
    }
