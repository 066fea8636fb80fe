"""Engines of zoo members, by vLLM and by transformers, and questions to them."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec, ThoughtMarks
from orchestrator.domain.queries import Message
from orchestrator.domain.terms import StructuredOutput
from orchestrator.ports.engines import Engine, EngineEvent, Failed, Finished, GenerationRequest, Tokens
from workers.backends.transformers import TransformersBackend

ZOO = Path(__file__).parents[2] / "examples" / "zoo"
MODELS = ZOO / "models"
FOREVER = 400
"""max_tokens of requests that are to be running still."""


def spec(
    model: str | Path,
    *,
    backend: str = "vllm",
    template: str | None = None,
    marks: ThoughtMarks | None = None,
    **options: JsonValue,
) -> EngineSpec:
    """`model` is a zoo member or a folder."""
    sizes: dict[str, JsonValue] = {"kv_cache_gib": 0.25} if backend == "vllm" else {}
    folder = MODELS / model
    return EngineSpec(
        id=folder.name,
        backend=backend,
        model=str(folder),
        dtype="float32",
        max_model_len=512,
        chat_template=template,
        reasoning=marks,
        options={"threads": 1, **sizes, **options},
    )


def by_transformers(
    model: str | Path, questions: Sequence[str], *, adapter: str | None = None, template: str | None = None
) -> list[str]:
    """Greedy texts of the in-process backend: the reference."""
    adapters = [adapter] if adapter else []
    engine = TransformersBackend().load(spec(model, backend="transformers", template=template), adapters)
    found = texts(engine, questions, adapter=adapter)
    engine.close()
    return found


def zoo_questions(n: int) -> list[str]:
    """Every few of the zoo's test questions, so that all skills are among them."""
    lines = (ZOO / "test.jsonl").read_text().splitlines()
    return [json.loads(line)["question"] for line in lines[:: len(lines) // n][:n]]


def ask(
    name: str,
    text: str = "Please spell 'xngoby' backwards.",
    *,
    adapter: str | None = None,
    priority: int = 0,
    max_tokens: int = 24,
    logprobs: int | None = None,
    output: StructuredOutput | None = None,
) -> GenerationRequest:
    sampling = Sampling(max_tokens=max_tokens, logprobs=logprobs, structured_output=output)
    return GenerationRequest(name, (Message(role="user", content=text),), sampling, adapter, priority)


def events(engine: Engine, n_ends: int = 1) -> list[EngineEvent]:
    """Events up to the n-th end; fails if they do not come."""
    found: list[EngineEvent] = []
    for _ in range(2000):
        found += engine.poll(0.1)
        if sum(not isinstance(event, Tokens) for event in found) >= n_ends:
            return found
    raise AssertionError("requests did not end")


def end(engine: Engine, request: GenerationRequest) -> Finished | Failed:
    engine.submit(request)
    last = events(engine)[-1]
    assert not isinstance(last, Tokens)
    return last


def finished(engine: Engine, request: GenerationRequest) -> Finished:
    last = end(engine, request)
    assert isinstance(last, Finished), last
    return last


def texts(engine: Engine, questions: Sequence[str], *, adapter: str | None = None) -> list[str]:
    """Greedy texts of questions asked together, in their order."""
    for number, question in enumerate(questions):
        engine.submit(ask(str(number), question, adapter=adapter))
    found = {e.id: e for e in events(engine, len(questions)) if not isinstance(e, Tokens)}
    failed = [e for e in found.values() if isinstance(e, Failed)]
    assert not failed
    return [found[str(number)].text for number in range(len(questions))]  # type: ignore[union-attr]
