"""Engines as the parts use them: loaded by their backends, asked by a list of prompts."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import Engine, Failed, Finished, GenerationRequest
from workers.backends.registry import get_backend

WAIT_S = 5.0
CONTEXT = 4096


def spec_of(
    name: str, place: Path, *, backend: str = "transformers", options: Mapping[str, JsonValue] | None = None
) -> EngineSpec:
    """An engine over a checkpoint, in the number format that it is stored in."""
    return EngineSpec(
        id=name,
        backend=backend,
        model=str(place),
        dtype="auto",
        max_model_len=CONTEXT,
        options=dict(options or {}),
    )


def load_engine(spec: EngineSpec, adapters: Sequence[str] = ()) -> Engine:
    return get_backend(spec.backend).load(spec, adapters)


def ask(engine: Engine, prompts: Sequence[str], *, tokens: int, adapter: str | None = None) -> list[str]:
    """Texts of exactly `tokens` tokens each, greedily, in the order of the prompts.

    Raises:
        RuntimeError: a request failed, or ended early.
    """
    for number, prompt in enumerate(prompts):
        message = Message(role="user", content=prompt)
        engine.submit(GenerationRequest(str(number), (message,), Sampling(max_tokens=tokens), adapter))
    texts: dict[str, str] = {}
    while len(texts) < len(prompts):
        for event in engine.poll(WAIT_S):
            if isinstance(event, Failed):
                raise RuntimeError(f"a request failed: {event}")
            if isinstance(event, Finished):
                if event.usage.completion_tokens != tokens:
                    raise RuntimeError(f"{event.usage.completion_tokens} tokens in place of {tokens}")
                texts[event.id] = event.text
    return [texts[str(number)] for number in range(len(prompts))]


def prompts_of(n: int, length: int, *, seed: int = 0) -> list[str]:
    """Different prompts of about so many tokens each, between half and the whole of it."""
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdefgh ", k=rng.randint(max(1, length // 2), length))) for _ in range(n)]
