"""Extras of sampling, log probabilities and lengths in the step loop, against transformers' own answers."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.queries import Message
from orchestrator.domain.terms import SamplingExtras
from orchestrator.ports.engines import EngineEvent, Failed, Finished, GenerationRequest
from tests.tiny_models import tiny_model
from workers.backends.decoding.engine import DecodingEngine, DecodingOptions
from workers.backends.decoding.rows import Limits
from workers.backends.decoding.sources import ModelSource
from workers.backends.decoding.texts import Texts
from workers.backends.features import OF_DECODING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

N_OUTPUT, CONTEXT = 12, 80
NAMES = ["alpha", "beta and more", "c"]


class Tiny:
    """A model whose outputs never end by themselves, its tokenizer, and an engine of both."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
        options = DecodingOptions(
            "tiny", CONTEXT, Limits(8, 100_000), frozenset({1}), 0, 10, features=OF_DECODING
        )
        self.engine = DecodingEngine(ModelSource(self.model), Texts(self.tokenizer), options)

    def run(self, *requests: GenerationRequest) -> dict[str, EngineEvent]:
        for request in requests:
            self.engine.submit(request)
        ends: dict[str, EngineEvent] = {}
        while len(ends) < len(requests):
            ends |= {event.id: event for event in self.engine.poll(1.0)}
        return ends

    def finished(self, name: str, **sampling: object) -> Finished:
        [end] = self.run(ask(name, **sampling)).values()
        assert isinstance(end, Finished)
        return end

    def generate(self, name: str, **options: object) -> str:
        inputs = self.tokenizer(f"<u>{name}>", return_tensors="pt")
        output = self.model.generate(**inputs, max_new_tokens=N_OUTPUT, do_sample=False, **options)
        return str(self.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tiny_model(tmp_path_factory.mktemp("extras"), seed=3, ends=False))


def ask(name: str, **sampling: object) -> GenerationRequest:
    said = Sampling.model_validate({"max_tokens": N_OUTPUT, **sampling})
    return GenerationRequest(name, (Message(role="user", content=name),), said)


def test_a_repetition_penalty_is_that_of_transformers_and_its_neighbours_are_as_ever(tiny: Tiny) -> None:
    shaped = ask(NAMES[0], extras=SamplingExtras(repetition_penalty=10.0))
    ends = tiny.run(shaped, *map(ask, NAMES[1:]))
    texts = {name: end.text for name, end in ends.items() if isinstance(end, Finished)}
    assert texts == {
        NAMES[0]: tiny.generate(NAMES[0], repetition_penalty=10.0),
        NAMES[1]: tiny.generate(NAMES[1]),
        NAMES[2]: tiny.generate(NAMES[2]),
    }
    assert texts[NAMES[0]] != tiny.generate(NAMES[0])


def test_a_bias_decides(tiny: Tiny) -> None:
    x = tiny.tokenizer.convert_tokens_to_ids("x")
    assert tiny.finished("a", extras=SamplingExtras(logit_bias=((x, 100.0),))).text == "x" * N_OUTPUT


def test_a_frequency_penalty_ends_that(tiny: Tiny) -> None:
    x = tiny.tokenizer.convert_tokens_to_ids("x")
    extras = SamplingExtras(logit_bias=((x, 100.0),), frequency_penalty=2.0, presence_penalty=2.0)
    assert set(tiny.finished("a", extras=extras).text) == {"x"}
    extras = SamplingExtras(logit_bias=((x, 8.0),), frequency_penalty=2.0, presence_penalty=2.0)
    assert len(set(tiny.finished("a", extras=extras).text)) > 2


def test_the_likeliest_token_alone_is_greedy(tiny: Tiny) -> None:
    drawn = tiny.finished(NAMES[0], temperature=2.0, seed=1, extras=SamplingExtras(top_k=1))
    assert drawn.text == tiny.generate(NAMES[0])
    assert tiny.finished(NAMES[0], temperature=2.0, seed=1).text != drawn.text


def test_a_bias_of_no_token_fails_alone(tiny: Tiny) -> None:
    bad = ask("bad", extras=SamplingExtras(logit_bias=((10**6, 1.0),)))
    ends = tiny.run(bad, ask("good"))
    assert isinstance(ends["bad"], Failed)
    assert "logit_bias: token id 1000000 is beyond" in ends["bad"].error
    assert isinstance(ends["good"], Finished)


def test_log_probabilities_are_those_of_the_model(tiny: Tiny) -> None:
    end = tiny.finished(NAMES[0], logprobs=3)
    assert len(end.logprobs) == N_OUTPUT
    assert "".join(token.chosen.token for token in end.logprobs) == end.text
    ids = tiny.tokenizer(f"<u>{NAMES[0]}>", return_tensors="pt")
    with torch.inference_mode():
        expected = torch.log_softmax(tiny.model(**ids).logits[0, -1].float(), dim=-1)
    first = end.logprobs[0]
    assert first.chosen.logprob == pytest.approx(expected.max().item(), abs=1e-4)
    assert [t.logprob for t in first.top] == pytest.approx(expected.topk(3).values.tolist(), abs=1e-4)
    assert tiny.finished(NAMES[0]).logprobs == ()


def test_an_output_as_long_as_fits_fills_the_context_and_another_does_not_fit(tiny: Tiny) -> None:
    end = tiny.finished(NAMES[0], max_tokens=1000, fits=True)
    assert end.usage.prompt_tokens + end.usage.completion_tokens == CONTEXT
    [failed] = tiny.run(ask(NAMES[0], max_tokens=1000)).values()
    assert isinstance(failed, Failed)
    assert failed.error_code == "context_exceeded"


def test_an_answer_that_is_begun_is_gone_on_with(tiny: Tiny) -> None:
    turns = (Message(role="user", content="Say."), Message(role="assistant", content="I say"))
    texts = Texts(tiny.tokenizer)
    assert tiny.tokenizer.decode(texts.encode(turns)) == "<u>Say.<a>I say"
