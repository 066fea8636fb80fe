"""A small replay set in a folder: invented questions of two domains, four experts, no real data."""

import json
import lzma
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

EXPERTS: Mapping[str, Mapping[str, float]] = {
    "adder": {"sums": 0.95, "verse": 0.2},
    "poet": {"sums": 0.2, "verse": 0.95},
    "steady": {"sums": 0.6, "verse": 0.6},
    "mute": {"sums": 0.3, "verse": 0.3},
}
"""Accuracy by domain; `mute` abstains where it is not right."""

DOMAINS = ("sums", "verse")
WIDTH = 8


def question(number: int) -> dict[str, object]:
    domain = DOMAINS[number % 2]
    topic = f"sum of {number} and {number + 1}" if domain == "sums" else f"rhyme number {number} of the poem"
    options = [f"{topic} is {letter}{number}" for letter in "wxyz"]
    return {
        "id": f"q{number}",
        "question": f"What is the {topic}?",
        "options": options,
        "answer": number * 7 % 4,
        "answer_type": "choice",
        "domain": domain,
    }


def write_replay_set(
    folder: Path,
    *,
    n: int = 60,
    splits: bool = True,
    embeddings: bool = True,
    texts: bool = True,
    telling: bool = False,
    samples: int = 0,
    seed: int = 0,
) -> Path:
    """`splits`: seeds 0 and 1, profile sets `few` (a quarter) and `many` (half), the rest is the test.
    `telling`: most texts of wrong answers doubt themselves."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    questions = [question(i) for i in range(n)]
    pred = np.array([[_choice(rng, expert, q) for q in questions] for expert in EXPERTS], dtype=np.int8)
    write_lines(folder / "questions.jsonl", questions)
    (folder / "experts.json").write_text(
        json.dumps(
            [
                {"id": "adder", "params_b": 3, "cost_per_mtok": 0.5, "pools": ["pair", "four"]},
                {"id": "poet", "params_b": 3, "pools": ["pair", "four"]},
                {"id": "steady", "params_b": 7, "pools": ["four"]},
                {"id": "mute", "pools": ["four"]},
            ]
        )
    )
    write_responses(folder, questions, pred, chars=rng.choices(range(20, 90), k=pred.size), samples=samples)
    if splits:
        (folder / "splits.json").write_text(json.dumps({f"seed{s}": _split(questions, s) for s in (0, 1)}))
    if embeddings:
        np.save(folder / "embeddings.npy", _vectors(questions, seed))
    if texts:
        write_texts(folder, questions, pred, telling=telling)
    return folder


def write_lines(path: Path, lines: Sequence[object]) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def write_responses(
    folder: Path,
    questions: Sequence[Mapping[str, object]],
    pred: np.ndarray,
    *,
    chars: Sequence[int] | None = None,
    samples: int = 0,
) -> None:
    correct = pred == np.array([q["answer"] for q in questions])
    lengths = np.array(chars if chars is not None else [40] * pred.size, dtype=np.int32).reshape(pred.shape)
    more = (
        {"samples": np.stack([np.roll(pred, 2 * (s + 1), axis=1) for s in range(samples)])} if samples else {}
    )
    np.savez(folder / "responses.npz", pred=pred, correct=correct, chars=lengths, **more)


def write_texts(
    folder: Path, questions: Sequence[Mapping[str, object]], pred: np.ndarray, *, telling: bool = False
) -> None:
    head = {"experts": list(EXPERTS)}
    rows = [
        {
            "id": q["id"],
            "texts": [
                text_of(int(said), doubts=telling and i % 8 > 0 and said != q["answer"])
                for said in pred[:, i]
            ],
        }
        for i, q in enumerate(questions)
    ]
    with lzma.open(folder / "texts_four.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in [head, *rows])


def text_of(pred: int, *, doubts: bool = False) -> str:
    if pred < 0:
        return "I ponder."
    return f"Let me see.{' Is it so?' if doubts else ''}\nThe answer is ({'ABCD'[pred]})."


def _choice(rng: random.Random, expert: str, q: Mapping[str, object]) -> int:
    answer, accuracy = q["answer"], EXPERTS[expert][str(q["domain"])]
    assert isinstance(answer, int)
    if rng.random() < accuracy:
        return answer
    return -1 if expert == "mute" else rng.choice([i for i in range(4) if i != answer])


def _split(questions: Sequence[Mapping[str, object]], seed: int) -> dict[str, list[object]]:
    ids = [q["id"] for q in questions]
    random.Random(seed).shuffle(ids)
    quarter = len(ids) // 4
    return {"few": ids[:quarter], "many": ids[: 2 * quarter], "test": ids[2 * quarter :]}


def _vectors(questions: Sequence[Mapping[str, object]], seed: int) -> np.ndarray:
    """Questions of a domain lie near one another; stored in half precision, as real sets are."""
    rng = np.random.default_rng(seed)
    centres = np.eye(WIDTH)[[DOMAINS.index(str(q["domain"])) for q in questions]]
    points = centres + 0.2 * rng.standard_normal(centres.shape)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float16)
