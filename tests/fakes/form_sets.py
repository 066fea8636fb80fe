"""A small replay set with questions of four forms in a folder: invented, three experts, no real data.

Ids: `n*` numbers with recorded values, `t*` texts that are read, `c*` choices, `o*` open questions. Expert
`adder` is right of numbers, `poet` of the rest and graded best; `late` has not been asked the first number.
"""

import json
import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.fakes.replay_sets import write_lines

EXPERTS = ("adder", "poet", "late")
FORMS = ("number", "text", "choice", "open")
N_OF_FORM = 12
COLOURS = ("red", "green", "blue", "white")


def form_question(form: str, i: int) -> dict[str, object]:
    common = {"id": f"{form[0]}{i}", "answer_type": form, "domain": form}
    if form == "number":
        return common | {"question": f"What is {i} plus {i}?", "answer": str(2 * i)}
    if form == "text":
        return common | {"question": f"Which colour has flag {i}?", "answer": COLOURS[i % 4]}
    if form == "choice":
        return common | {"question": f"Pick for {i}.", "options": list(COLOURS), "answer": i % 4}
    return common | {"question": f"Write a line about {i}."}


def write_form_set(
    folder: Path, *, forms: Sequence[str] = FORMS, responses: bool = True, packed: bool = False
) -> Path:
    """`responses`: `pred` of numbers and choices, with the values of numbers; else all is in the texts.
    `packed`: the values, too, are compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = [form_question(form, i) for form in forms for i in range(N_OF_FORM)]
    write_lines(folder / "questions.jsonl", questions)
    (folder / "experts.json").write_text(json.dumps([{"id": name, "pools": ["three"]} for name in EXPERTS]))
    texts = [[text_of(name, q) for name in EXPERTS] for q in questions]
    if not responses:
        texts = [[None if t == "?" else t for t in of_question] for of_question in texts]
    _write_packed(folder / "texts_all.jsonl.xz", [{"experts": list(EXPERTS)}, *_texts(questions, texts)])
    if responses:
        _write_recorded(folder, questions, packed=packed)
    if "open" in forms:
        scores = [[_score(name, q) for q in questions] for name in EXPERTS]
        np.save(folder / "scores.npy", np.array(scores, dtype=np.float32))
    rng = np.random.default_rng(0)
    np.save(folder / "embeddings.npy", rng.standard_normal((len(questions), 8)).astype(np.float32))
    ids = [str(q["id"]) for q in questions]
    split = {"profile": ids[::2], "test": ids[1::2]}
    (folder / "splits.json").write_text(json.dumps({"seed0": split}))
    return folder


def text_of(expert: str, question: Mapping[str, object]) -> str:
    """What an expert wrote; "?" stands for a response that was not recorded."""
    number, form = int(str(question["id"])[1:]), question["answer_type"]
    if form == "open":
        return f"{expert} writes about {number}."
    if expert == "late" and question["id"] == "n0":
        return "?"
    if form == "choice":
        right = number % 4 if expert != "adder" else (number + 1) % 4
        return f"The answer is ({'ABCD'[right]})."
    if form == "number":
        return f"The answer is {2 * number if expert == 'adder' else 2 * number + 1}."
    return f"Answer: {COLOURS[number % 4 if expert != 'adder' else (number + 1) % 4]}"


def _score(expert: str, question: Mapping[str, object]) -> float:
    if question["answer_type"] != "open":
        return float("nan")
    return {"adder": 0.25, "poet": 0.75, "late": 0.5}[expert]


def _write_recorded(folder: Path, questions: Sequence[Mapping[str, object]], *, packed: bool) -> None:
    shape = (len(EXPERTS), len(questions))
    pred, recorded = np.full(shape, -1, dtype=np.int16), np.ones(shape, dtype=bool)
    correct = np.zeros(shape, dtype=bool)
    values = []
    for column, q in enumerate(questions):
        number = int(str(q["id"])[1:])
        if q["answer_type"] == "number":
            values.append({"id": q["id"], "values": [str(2 * number + 1), str(2 * number)], "right": 1})
            pred[:, column] = [1, 0, 0]
        elif q["answer_type"] == "choice":
            pred[:, column] = [(number + 1) % 4, number % 4, number % 4]
        right = {"number": 1, "choice": number % 4}.get(str(q["answer_type"]))
        correct[:, column] = pred[:, column] == right
        if q["id"] == "n0":
            recorded[2, column], pred[2, column] = False, -1
    chars = np.full(shape, 40, dtype=np.int32)
    np.savez(folder / "responses.npz", pred=pred, correct=correct, recorded=recorded, chars=chars)
    if packed:
        _write_packed(folder / "values.jsonl.xz", values)
    else:
        write_lines(folder / "values.jsonl", values)


def _texts(questions: Sequence[Mapping[str, object]], texts: Sequence[object]) -> list[dict[str, object]]:
    return [{"id": q["id"], "texts": of} for q, of in zip(questions, texts, strict=True)]


def _write_packed(path: Path, lines: Sequence[object]) -> None:
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
