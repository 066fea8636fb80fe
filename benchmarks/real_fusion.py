"""Fusions of two real models of one vocabulary: what they get right, and what they cost.

    python -m workers.checkpoints.fetch qwen2.5-coder-1.5b MODELS
    python -m workers.checkpoints.fetch qwen2.5-coder-0.5b MODELS
    python -m benchmarks.real_fusion MODELS [--questions FILE] [--limit 40] [--max-tokens 16] [--batch 8]
                                     [--serve transformers] [--rows large,small,contrast,average]

Multiple-choice questions, answered with a letter, greedily; one solved question before each shows the form.
`contrast` has the 1.5 B model as the strong one, the 0.5 B one as the weak; `average` has both at equal
weights. The last line of output is one JSON object; CPU seconds are those of this process.
"""

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pydantic import JsonValue

from benchmarks.reporting import finish, option_parser, progress
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import Finished, GenerationRequest
from workers.backends.registry import get_backend

LARGE, SMALL = "qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b"
QUESTIONS = Path(__file__).parents[1] / "examples/zoo/test.jsonl"
LETTERS = "ABCDEFGHIJ"
_LETTER = re.compile(r"\b[A-J]\b")


def chosen_questions(path: Path, limit: int) -> list[dict[str, JsonValue]]:
    """Multiple-choice questions from all over the file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    choices = [row for row in rows if row.get("options")]
    step = max(1, len(choices) // limit)
    return choices[::step][:limit]


def prompt(row: dict[str, JsonValue]) -> str:
    options = row["options"]
    assert isinstance(options, list)
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return f"{row['question']}\n{listed}\nAnswer with the letter of the right option only."


SOLVED: dict[str, JsonValue] = {
    "question": "What is the sum of 2 and 3?",
    "options": ["4", "7", "5", "9"],
    "answer": 2,
}


def messages(row: dict[str, JsonValue]) -> tuple[Message, ...]:
    """The question as a turn of a chat, after one that was answered as this one is to be: without it, models
    explain themselves and are cut before they come to a letter."""
    return (
        Message(role="system", content="You answer multiple-choice questions with one letter."),
        Message(role="user", content=prompt(SOLVED)),
        Message(role="assistant", content=LETTERS[int(str(SOLVED["answer"]))]),
        Message(role="user", content=prompt(row)),
    )


def read(text: str, row: dict[str, JsonValue]) -> str | None:
    """The letter that a text gives first, or that of the one option that it quotes; None = neither."""
    options = row["options"]
    assert isinstance(options, list)
    letters = [letter for letter in _LETTER.findall(text) if letter in LETTERS[: len(options)]]
    if letters:
        return letters[0]
    quoted = [letter for letter, option in zip(LETTERS, options, strict=False) if str(option) in text]
    return quoted[0] if len(quoted) == 1 else None


def spec_of(name: str, models: Path, *, batch: int, serve: str) -> EngineSpec:
    """Engine of one row of the report."""
    options: dict[str, JsonValue] = {"max_batch": batch}
    model = models / (SMALL if name == "small" else LARGE)
    if name == "contrast":
        options |= {"rule": name, "weak": str(models / SMALL), "serve": serve}
    elif name == "average":
        options |= {"rule": name, "models": [str(models / LARGE), str(models / SMALL)], "serve": serve}
    backend = "fusion" if name in ("contrast", "average") else serve
    if backend == "vllm":
        options = {"max_num_seqs": batch}
    return EngineSpec(id=name, backend=backend, model=str(model), max_model_len=1024, options=options)


def answers(
    spec: EngineSpec, asked: Sequence[tuple[Message, ...]], *, max_tokens: int
) -> tuple[list[str], float, float]:
    """Texts, CPU and wall seconds; loading left out."""
    engine = get_backend(spec.backend).load(spec, ())
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for at, turns in enumerate(asked):
        engine.submit(GenerationRequest(str(at), turns, Sampling(max_tokens=max_tokens)))
    texts: dict[str, str] = {}
    while len(texts) < len(asked):
        for event in engine.poll(5.0):
            if not isinstance(event, Finished):
                raise RuntimeError(f"unexpected event {event}")
            texts[event.id] = event.text
    spent = time.process_time() - cpu_s, time.perf_counter() - wall_s
    engine.close()
    return [texts[str(at)] for at in range(len(asked))], *spent


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("--questions", type=Path, default=QUESTIONS)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--serve", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--rows", default="large,small,contrast,average")
    given = parser.parse_args(argv)
    rows = chosen_questions(given.questions, given.limit)
    asked, right = [messages(row) for row in rows], [LETTERS[int(str(row["answer"]))] for row in rows]
    report: dict[str, dict[str, float | int]] = {}
    outcomes: dict[str, list[bool]] = {}
    for name in given.rows.split(","):
        spec = spec_of(name, given.models, batch=given.batch, serve=given.serve)
        texts, cpu_s, wall_s = answers(spec, asked, max_tokens=given.max_tokens)
        said = [read(text, row) for text, row in zip(texts, rows, strict=True)]
        outcomes[name] = [letter == answer for letter, answer in zip(said, right, strict=True)]
        report[name] = {
            "n_right": sum(outcomes[name]),
            "n_unread": said.count(None),
            "cpu_s": round(cpu_s, 1),
            "wall_s": round(wall_s, 1),
        }
        if "large" in outcomes:
            pairs = list(zip(outcomes[name], outcomes["large"], strict=True))
            report[name]["only_it_right"] = sum(ours and not large for ours, large in pairs)
            report[name]["only_large_right"] = sum(large and not ours for ours, large in pairs)
        progress(f"{name}: {report[name]}, such as {texts[:4]!r}")
    finish({"n_questions": len(rows), "serve": given.serve, "rows": report})


if __name__ == "__main__":
    main()
