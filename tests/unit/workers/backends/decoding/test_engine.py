"""The step loop over a random tiny model; what all backends share is in the contract suite."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.queries import Message
from orchestrator.errors import EngineCrashedError
from orchestrator.ports.engines import EngineEvent, Failed, Finished, GenerationRequest
from tests.tiny_models import TEMPLATE, tiny_model
from workers.backends.decoding.engine import DecodingEngine, DecodingOptions
from workers.backends.decoding.rows import Limits
from workers.backends.decoding.sources import ModelSource
from workers.backends.decoding.texts import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PROMPTS = [f"question {i} " + "abc " * (i % 5) for i in range(12)]
N_OUTPUT = 20


class Tiny:
    """A fresh model and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)

    def engine(self, *, rows: int = 64, eos_ids: frozenset[int] = frozenset({1})) -> DecodingEngine:
        options = DecodingOptions("tiny", 200, Limits(rows, 100_000), eos_ids, 0, 10)
        return DecodingEngine(ModelSource(self.model), Texts(self.tokenizer), options)

    def generate(self, prompt: str) -> str:
        """What transformers itself answers, one prompt at a time."""
        inputs = self.tokenizer(TEMPLATE_TEXT.format(prompt), return_tensors="pt")
        output = self.model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=N_OUTPUT,
            do_sample=False,
        )
        new = output[0, inputs["input_ids"].shape[1] :]
        return self.tokenizer.decode(new, skip_special_tokens=True)


TEMPLATE_TEXT = "<u>{}>"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"), seed=3)


@pytest.fixture
def tiny(folder: Path) -> Tiny:
    return Tiny(folder)


def ask(prompt: str, *, stop: tuple[str, ...] = (), priority: int = 0) -> GenerationRequest:
    messages = (Message(role="user", content=prompt),)
    return GenerationRequest(prompt, messages, Sampling(max_tokens=N_OUTPUT, stop=stop), None, priority)


def run(engine: DecodingEngine, prompts: list[str]) -> dict[str, EngineEvent]:
    for prompt in prompts:
        engine.submit(ask(prompt))
    ends: dict[str, EngineEvent] = {}
    while len(ends) < len(prompts):
        ends |= {event.id: event for event in engine.poll(1.0)}
    return ends


def finished_texts(ends: dict[str, EngineEvent]) -> dict[str, str]:
    return {name: end.text for name, end in ends.items() if isinstance(end, Finished)}


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_greedy_texts_are_those_of_generate(tiny: Tiny, rows: int) -> None:
    """Five rows for twelve prompts: newcomers join running rows of other ages and lengths."""
    ends = run(tiny.engine(rows=rows), PROMPTS)
    assert finished_texts(ends) == {prompt: tiny.generate(prompt) for prompt in PROMPTS}
    reasons = {end.finish_reason for end in ends.values() if isinstance(end, Finished)}
    assert reasons == {FinishReason.STOP, FinishReason.LENGTH}


def test_template_of_the_fixture_is_the_one_assumed_here(tiny: Tiny) -> None:
    rendered = tiny.tokenizer.apply_chat_template(
        [{"role": "user", "content": "x"}], chat_template=TEMPLATE, tokenize=False
    )
    assert rendered == TEMPLATE_TEXT.format("x")


def test_any_of_several_end_tokens_ends_a_text(tiny: Tiny) -> None:
    full = tiny.generate(PROMPTS[0])
    letter = full[4]
    end_id = tiny.tokenizer.convert_tokens_to_ids(letter)
    ends = run(tiny.engine(eos_ids=frozenset({1, end_id})), PROMPTS[:1])
    end = ends[PROMPTS[0]]
    assert isinstance(end, Finished)
    assert end.text.rstrip(letter) == full[: full.index(letter)]
    assert end.finish_reason is FinishReason.STOP


def test_row_with_broken_numbers_fails_and_its_batch_mates_do_not(tiny: Tiny) -> None:
    bad_id = tiny.tokenizer.convert_tokens_to_ids("%")
    healthy = finished_texts(run(tiny.engine(), PROMPTS[:2]))
    tiny.model.get_input_embeddings().weight.data[bad_id] = float("nan")
    ends = run(tiny.engine(), [PROMPTS[0], "100%", PROMPTS[1]])
    bad = ends["100%"]
    assert isinstance(bad, Failed)
    assert "float32" in bad.error
    assert finished_texts(ends) == healthy


def out_of_memory_above(n_rows: int) -> Callable[..., None]:
    """A forward hook under which batches of more rows do not fit."""

    def refuse(_: torch.nn.Module, __: object, arguments: dict[str, Any]) -> None:
        if arguments["input_ids"].shape[0] > n_rows:
            raise torch.OutOfMemoryError("no room")

    return refuse


def test_batch_that_runs_out_of_memory_is_retried_smaller(tiny: Tiny) -> None:
    expected = finished_texts(run(tiny.engine(), PROMPTS))
    tiny.model.register_forward_pre_hook(out_of_memory_above(3), with_kwargs=True)
    assert finished_texts(run(tiny.engine(), PROMPTS)) == expected


def test_tensors_of_the_step_that_ran_out_of_memory_are_gone_before_memory_is_given_back(tiny: Tiny) -> None:
    """The frames of an error hold them: given back before, a GPU's memory would not come back."""
    held: list[weakref.ref[torch.Tensor]] = []
    were_gone: list[bool] = []

    def refuse(_: torch.nn.Module, __: object, arguments: dict[str, Any]) -> None:
        if arguments["input_ids"].shape[0] > 3:
            activations = torch.ones(3)
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("no room")

    class Watched(DecodingEngine):
        def _shrink(self) -> bool:
            were_gone.append(held[-1]() is None)
            return super()._shrink()

    tiny.model.register_forward_pre_hook(refuse, with_kwargs=True)
    options = DecodingOptions("tiny", 200, Limits(64, 100_000), frozenset({1}), 0, 10)
    finished_texts(run(Watched(ModelSource(tiny.model), Texts(tiny.tokenizer), options), PROMPTS))
    assert were_gone
    assert all(were_gone)


def test_a_closed_engine_holds_no_weights_whatever_mixes_its_adapters(tiny: Tiny) -> None:
    def made() -> tuple[DecodingEngine, "weakref.ref[ModelSource]"]:
        source = ModelSource(tiny.model)
        options = DecodingOptions("tiny", 200, Limits(64, 100_000), frozenset({1}), 0, 10)
        engine = DecodingEngine(
            source, Texts(tiny.tokenizer), options, mixer=lambda shares: source.mix(dict(enumerate(shares)))
        )
        return engine, weakref.ref(source)

    engine, source = made()
    assert source() is not None
    engine.close()
    assert source() is None


def test_single_row_that_runs_out_of_memory_ends_the_engine(tiny: Tiny) -> None:
    tiny.model.register_forward_pre_hook(out_of_memory_above(0), with_kwargs=True)
    engine = tiny.engine()
    engine.submit(ask("x"))
    with pytest.raises(EngineCrashedError, match="no room"):
        engine.poll(1.0)
    with pytest.raises(EngineCrashedError, match="closed"):
        engine.poll(1.0)


def test_running_request_is_aborted_between_steps(tiny: Tiny) -> None:
    expected = finished_texts(run(tiny.engine(), PROMPTS[:1]))
    engine = tiny.engine()
    engine.submit(ask(PROMPTS[0]))
    engine.submit(ask(PROMPTS[1]))
    assert engine.poll(0) == []
    engine.abort(PROMPTS[1])
    [aborted] = engine.poll(0)
    assert isinstance(aborted, Failed)
    assert aborted.id == PROMPTS[1]
    assert finished_texts({event.id: event for event in engine.poll(60)}) == expected


def test_urgent_request_does_not_wait_for_the_batch_to_empty(tiny: Tiny) -> None:
    """A full batch of long rows takes N_OUTPUT steps; the urgent one starts as soon as one is aborted."""
    engine = tiny.engine(rows=8, eos_ids=frozenset())
    for prompt in PROMPTS:
        engine.submit(ask(prompt))
    engine.poll(0)
    engine.submit(ask("urgent", priority=5))
    shortest = min(PROMPTS, key=len)
    engine.abort(shortest)
    ends = [event.id for _ in range(4 * N_OUTPUT) for event in engine.poll(0)]
    late = [prompt for prompt in PROMPTS if ends.index(prompt) > ends.index("urgent")]
    assert len(late) == len(PROMPTS) - 8


def test_idle_engine_polls_without_waiting(tiny: Tiny) -> None:
    assert tiny.engine().poll(3600) == []
