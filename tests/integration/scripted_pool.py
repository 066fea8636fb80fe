"""A pool of scripted experts in a folder: real settings, store, scheduler and compositions, no weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from tests.fakes.databases import fill_data_folder

EXPERTS: Mapping[str, float] = {"alpha": 0.95, "org/beta": 0.6, "gamma": 0.5}
"""Expert id to its accuracy."""

RIGHT, WRONG = "The answer is (A).", ["The answer is (B).", "The answer is (C)."]
N_KNOWN = 200


def question(number: int) -> str:
    return f"What is {number} plus {number}?"


def write_questions(path: Path, numbers: Sequence[int], *, openai: bool = False) -> Path:
    """Choices whose first option is right; in OpenAI's batch form, plain questions."""
    path.write_text("".join(f"{json.dumps(_line(n, openai=openai))}\n" for n in numbers))
    return path


def _line(number: int, *, openai: bool) -> dict[str, object]:
    if openai:
        body = {"model": "auto", "messages": [{"role": "user", "content": question(number)}]}
        url = "/v1/chat/completions"
        return {"custom_id": f"c{number}", "method": "POST", "url": url, "body": body}
    options = [str(2 * number + more) for more in range(3)]
    skills = ["add"] if number % 2 else ["add", "even"]
    return {
        "id": f"q{number}",
        "question": question(number),
        "options": options,
        "answer": 0,
        "skills": skills,
    }


def write_pool(
    folder: Path,
    *,
    rules: Sequence[Mapping[str, object]] = (),
    server: Mapping[str, object] | None = None,
    delay_s: float = 0.0,
    tokens_per_s: float | None = None,
    migrated: bool = True,
    **muster: object,
) -> Path:
    """`pool.yaml` with one engine per expert; every load, rule and generation goes to `log.jsonl`.

    Paths in it are relative to the working directory, so that a profiled folder can be copied.

    Args:
        rules: exceptions of the first expert's engine.
        delay_s: how much later than at once every engine replies.
        tokens_per_s: how fast it writes then; None = at once.
        migrated: False = Muster makes the database of the data folder itself.
        muster: further keys of the `muster:` section.
    """
    # One object: the file then spells the table out once, and is read by every process of the tests.
    answers = {question(number): RIGHT for number in range(N_KNOWN)}
    config = {
        "model_list": [
            _member(
                name,
                accuracy,
                answers,
                rules=[*(rules if name == "alpha" else ()), *_slowly(delay_s)],
                tokens_per_s=tokens_per_s,
            )
            for name, accuracy in EXPERTS.items()
        ],
        "muster": {
            "data_dir": "data",
            "embedder": {"model": "hash"},
            "server": dict(server or {}),
            **muster,
        },
    }
    if migrated and "database_url" not in muster:
        fill_data_folder(folder / "data")
    path = folder / "pool.yaml"
    path.write_text(quick_yaml(config))
    return path


def quick_yaml(document: object) -> str:
    """YAML of plain values, by the library in C where there is one: pools are written hundreds of times."""
    return str(yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))


def _slowly(delay_s: float) -> list[Mapping[str, object]]:
    return [{"regex": ".", "delay_s": delay_s}] if delay_s else []


def _member(
    name: str,
    accuracy: float,
    answers: Mapping[str, str],
    *,
    rules: Sequence[Mapping[str, object]],
    tokens_per_s: float | None,
) -> dict[str, object]:
    options = {
        "answers": answers,
        "accuracy": accuracy,
        "wrong": WRONG,
        "rules": [dict(rule) for rule in rules],
        "tokens_per_s": tokens_per_s,
        "log": "log.jsonl",
    }
    roles = ["expert", "aggregator"] if name == "alpha" else ["expert"]
    return {
        "model_name": name,
        "litellm_params": {"model": f"scripted/{name}"},
        "model_info": {"muster": {"engine": "scripted", "roles": roles, "options": options}},
    }


def events(folder: Path, kind: str) -> list[dict[str, object]]:
    """What the engines logged so far: `load`, `rule` or `generation`."""
    log = folder / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [event for line in lines if (event := json.loads(line))["event"] == kind]
