"""Fusions of zoo members, for vLLM and for the dense recomputation, from one description."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import JsonValue

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.fusions import FusionStep, FusionTrace
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import Engine, Failed, Finished, GenerationRequest, Tokens
from tests.dense_fusion import DenseFusion, DenseMember
from tests.vllm.engines import MODELS, events

MAX_TOKENS = 16
LARGE = DenseMember(MODELS / "generalist")
MANY = ("experts", "models")
ALMOST = 1e-3


class Fusion(NamedTuple):
    """A rule, its members by role (the large one first), and its own options."""

    rule: str
    members: Mapping[str, Sequence[DenseMember]]
    params: Mapping[str, Any] = {}

    def spec(self, *, backend: str = "fusion", max_model_len: int = 256, **options: JsonValue) -> EngineSpec:
        roles = {
            role: [named(member) for member in found] if role in MANY else named(found[0])
            for role, found in self.members.items()
            if role != "large"
        }
        serving: dict[str, JsonValue] = {"serve": "vllm", "kv_cache_gib": 0.05, "threads": 1, **options}
        return EngineSpec(
            id="fusion",
            backend=backend,
            model=str(LARGE.model),
            dtype="float32",
            max_model_len=max_model_len,
            options={"rule": self.rule, **self.params, **roles, **serving},
        )

    def dense(self) -> DenseFusion:
        return DenseFusion(self.rule, self.members, self.params)


def named(member: DenseMember) -> dict[str, JsonValue]:
    """A member as the pool file names it."""
    fields = {
        "model": str(member.model),
        "adapter": str(member.adapter) if member.adapter else None,
        "chat_template": member.chat_template,
        "system_prompt": member.system_prompt,
    }
    return {key: value for key, value in fields.items() if value is not None}


def request(name: str, question: str, *, priority: int = 0, **sampling: Any) -> GenerationRequest:
    chosen = Sampling(**{"max_tokens": MAX_TOKENS, "trace": True, **sampling})
    return GenerationRequest(name, (Message(role="user", content=question),), chosen, None, priority)


def answers(engine: Engine, questions: Sequence[str], **sampling: Any) -> list[Finished]:
    """Ends of questions asked together, in their order."""
    for number, question in enumerate(questions):
        engine.submit(request(str(number), question, **sampling))
    ends = {event.id: event for event in events(engine, len(questions)) if not isinstance(event, Tokens)}
    failed = [event for event in ends.values() if isinstance(event, Failed)]
    assert not failed
    return [ends[str(number)] for number in range(len(questions))]  # type: ignore[misc]


def require_dense(fusion: Fusion, questions: Sequence[str], found: Sequence[Finished], **limits: int) -> None:
    """Texts, tokens, alphas and losses are those of the dense recomputation, but for near ties of two tokens,
    or of two alphas (their losses are then alike)."""
    dense = fusion.dense()
    n_sure = 0
    is_alike: list[bool] = []
    for question, end in zip(questions, found, strict=True):
        message = {"role": "user", "content": question}
        wanted = dense.greedy([message], max_tokens=limits.get("max_tokens", MAX_TOKENS))
        if not wanted.is_sure:
            continue
        n_sure += 1
        trace = trace_of(end)
        assert [step.token_id for step in trace.steps] == wanted.ids, question
        assert end.text == wanted.text
        assert end.usage.completion_tokens == len(wanted.ids)
        for step, alphas, loss in zip(trace.steps, wanted.alphas, wanted.losses, strict=False):
            assert step.loss is not None
            assert abs(step.loss - loss) < ALMOST * max(1.0, loss)
            is_alike.append(all(abs(a - b) < ALMOST for a, b in zip(alphas_of(step), alphas, strict=True)))
        assert (len(wanted.alphas) > 0) == (trace.steps[0].alpha is not None)
    assert n_sure > len(questions) * 0.7
    assert is_alike.count(False) <= len(is_alike) * 0.1


def trace_of(end: Finished) -> FusionTrace:
    assert end.fusion is not None
    return end.fusion


def alphas_of(step: FusionStep) -> tuple[float, ...]:
    assert step.alpha is not None
    return step.alpha if isinstance(step.alpha, tuple) else (step.alpha,)


def half_adapter(source: Path, folder: Path) -> Path:
    """An adapter that acts half as strongly as `source`, and the other way in the first layer."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(source, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    changed = {
        name: tensor * (-0.5 if ".layers.0." in name else 0.5) if "lora_B" in name else tensor
        for name, tensor in weights.items()
    }
    save_file(changed, folder / "adapter_model.safetensors")
    return folder
