"""What each step feeds the model, and that a cache that does not work is found when a model is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.queries import Message
from orchestrator.errors import EngineLoadError
from orchestrator.ports.engines import GenerationRequest
from tests.tiny_models import tiny_adapter, tiny_model
from workers.backends.decoding.engine import DecodingEngine, DecodingOptions
from workers.backends.decoding.rows import Limits
from workers.backends.decoding.sources import ModelSource, accepted_names, prove_cache
from workers.backends.decoding.texts import Texts

PROMPTS = ["one", "a longer one", "three words more"]
N_OUTPUT = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"), seed=3)


@pytest.fixture
def model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def n_vocabulary(model: Any) -> int:
    return int(model.get_input_embeddings().num_embeddings)


def decode(model: Any, folder: Path, adapters: list[str]) -> list[tuple[int, int]]:
    """Rows and tokens per row of each call of the model, while three prompts of one batch are answered."""
    from transformers import AutoTokenizer

    fed: list[tuple[int, int]] = []
    model.register_forward_pre_hook(
        lambda _, __, given: fed.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    engine = DecodingEngine(
        ModelSource(model, adapters=adapters),
        Texts(AutoTokenizer.from_pretrained(folder)),
        DecodingOptions("tiny", 200, Limits(8, 10_000), frozenset(), 0, 10),
        adapters=adapters,
    )
    for prompt in PROMPTS:
        message = Message(role="user", content=prompt)
        adapter = adapters[0] if adapters else None
        engine.submit(GenerationRequest(prompt, (message,), Sampling(max_tokens=N_OUTPUT), adapter))
    n_ended = 0
    while n_ended < len(PROMPTS):
        n_ended += len(engine.poll(1.0))
    return fed


@pytest.mark.parametrize("with_adapter", [False, True])
def test_each_step_after_the_prompt_feeds_one_token_a_row(
    model: Any, folder: Path, tmp_path: Path, with_adapter: bool
) -> None:
    """`<u>` + the longest prompt + `>` are 20 characters, one token each; six tokens come out, the last of
    which needs no further pass."""
    adapters = [str(tiny_adapter(tmp_path / "lora"))] if with_adapter else []
    longest = len("<u>" + PROMPTS[2] + ">")
    assert decode(model, folder, adapters) == [(3, longest), *[(3, 1)] * (N_OUTPUT - 1)]


def test_working_cache_passes(model: Any) -> None:
    prove_cache(ModelSource(model), vocabulary=n_vocabulary(model))


class Renamed(torch.nn.Module):
    """A model whose `forward` has other names for its arguments, or drops what it gets under one."""

    def __init__(self, inner: Any, forward: Callable[..., object]) -> None:
        super().__init__()
        self.inner = inner
        self.device = inner.device
        self.forward = forward  # type: ignore[method-assign]


def cache_name(model: Any) -> str:
    return accepted_names(model.forward)["cache"]


def test_both_names_of_the_cache_are_used(model: Any) -> None:
    name = cache_name(model)

    def older(
        input_ids: Any, attention_mask: Any, position_ids: Any, past_key_values: Any, use_cache: Any
    ) -> Any:
        return model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            **{name: past_key_values},
        )

    def newer(input_ids: Any, attention_mask: Any, position_ids: Any, cache: Any, use_cache: Any) -> Any:
        return older(input_ids, attention_mask, position_ids, cache, use_cache)

    for forward in (older, newer):
        prove_cache(ModelSource(Renamed(model, forward)), vocabulary=n_vocabulary(model))  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["input_ids", "attention_mask", "cache", "use_cache"])
def test_model_without_a_needed_argument_is_refused(missing: str) -> None:
    names = [n for n in ("input_ids", "attention_mask", "cache", "use_cache", "position_ids") if n != missing]
    forward = eval(f"lambda {', '.join(names)}: None")
    with pytest.raises(EngineLoadError, match=f"engine 'e'.*{missing}"):
        accepted_names(forward, engine_id="e")


def test_arguments_that_only_keywords_take_count_as_missing() -> None:
    """`**kwargs` swallows a renamed argument without a word."""
    with pytest.raises(EngineLoadError, match="cache"):
        accepted_names(lambda input_ids, attention_mask, use_cache, **kwargs: None)


def test_cache_that_is_taken_and_not_filled_is_refused(model: Any) -> None:
    def forgetful(input_ids: Any, attention_mask: Any, cache: Any, use_cache: Any) -> Any:
        return model(input_ids=input_ids, attention_mask=attention_mask)

    with pytest.raises(EngineLoadError, match="held 0 and 0 columns"):
        prove_cache(ModelSource(Renamed(model, forgetful)), vocabulary=n_vocabulary(model))  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", ["position_ids", "attention_mask"])
def test_logits_that_depend_on_padding_are_refused(model: Any, lost: str) -> None:
    name = cache_name(model)

    def careless(input_ids: Any, attention_mask: Any, position_ids: Any, cache: Any, use_cache: Any) -> Any:
        given = {"attention_mask": attention_mask, "position_ids": position_ids, name: cache}
        if lost == "position_ids":  # counted anew at every call
            given["position_ids"] = torch.arange(input_ids.shape[1])[None].expand_as(input_ids)
        else:
            given["attention_mask"] = torch.ones_like(attention_mask)
        return model(input_ids=input_ids, use_cache=use_cache, **given)

    with pytest.raises(EngineLoadError, match="logits from its cache differ"):
        prove_cache(ModelSource(Renamed(model, careless)), vocabulary=n_vocabulary(model))  # type: ignore[arg-type]
