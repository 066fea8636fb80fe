"""A pool of scripted experts for benchmarks: no weights, all of the orchestration real."""

import json
from collections.abc import Iterator
from pathlib import Path

from orchestrator.domain.queries import Query
from orchestrator.settings.load import load_settings
from orchestrator.settings.schema import Settings

N_EXPERTS = 8


def settings(folder: Path, *, embedder: str = "hash") -> Settings:
    """Settings of a fresh pool whose database lies in `folder`."""
    members = "\n".join(
        f"  - model_name: expert-{i}\n"
        f"    litellm_params: {{model: scripted-{i}}}\n"
        f"    model_info: {{muster: {{engine: scripted, prompt: plain}}}}"
        for i in range(N_EXPERTS)
    )
    path = folder / "muster.yaml"
    path.write_text(
        f"model_list:\n{members}\n"
        f"muster:\n  data_dir: {json.dumps(str(folder))}\n  embedder: {{model: {embedder}}}\n"
    )
    return load_settings(path)


TOPICS = (
    "Reverse the letters of the word 'item{i}'.",
    "What is {i} plus 17?",
    "Write {i} as a Roman numeral.",
    "Convert {i} metres to centimetres.",
    "Which day comes {i} days after Monday?",
    "Sort the letters of the word 'order{i}'.",
    "What is the binary form of {i}?",
    "Is {i} larger than 250 and even?",
)


def queries(n: int, *, start: int = 0) -> Iterator[Query]:
    """`n` different questions over eight topics, without reference answers."""
    for i in range(start, start + n):
        yield Query(id=f"q{i}", question=TOPICS[i % len(TOPICS)].format(i=i))


def labelled(n: int) -> list[Query]:
    """Questions with a reference that a scripted echo does not give: what cards are counted from."""
    return [q.model_copy(update={"answer": "42"}) for q in queries(n, start=10_000_000)]
