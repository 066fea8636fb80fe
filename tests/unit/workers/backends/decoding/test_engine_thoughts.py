"""Engines tell thoughts apart, although the marks around them are special tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import Finished, GenerationRequest, Tokens
from tests.tiny_models import tiny_model
from workers.backends.decoding.batch import Batch
from workers.backends.decoding.engine import DecodingEngine, DecodingOptions
from workers.backends.decoding.rows import Limits
from workers.backends.decoding.sources import Fused, ModelSource
from workers.backends.decoding.texts import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

OPENS = "{% for m in messages %}<u>{{ m['content'] }}{% endfor %}<think>\n"
ASKS = "{% for m in messages %}<u>{{ m['content'] }}{% endfor %}>"


class Dictated(ModelSource):
    """A model that writes the tokens that it is told to write."""

    told: Sequence[int] = ()

    def next_logits(self, batch: Batch) -> Fused:
        logits = super().next_logits(batch).logits
        wanted = torch.full((len(batch.rows), logits.shape[1] + 8), -1.0)
        for at, row in enumerate(batch.rows):
            n_written = row.sampling.max_tokens - int(batch.remaining[at])
            wanted[at, self.told[min(n_written, len(self.told) - 1)]] = 1.0
        return Fused(wanted)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"), seed=3)


def played(
    folder: Path, text: str, *, template: str = ASKS, max_tokens: int = 60, stop: tuple[str, ...] = ()
) -> tuple[Finished, str]:
    """What the engine makes of an output, and what it streamed of it before."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    source = Dictated(AutoModelForCausalLM.from_pretrained(folder))
    source._model.resize_token_embeddings(len(tokenizer))
    source.told = [*tokenizer.encode(text, add_special_tokens=False), 1]
    options = DecodingOptions("tiny", 200, Limits(4, 10_000), frozenset({1}), 0, 0)
    engine = DecodingEngine(source, Texts(tokenizer, template=template), options)
    sampling = Sampling(max_tokens=max_tokens, stop=stop)
    engine.submit(GenerationRequest("q", (Message(role="user", content="Why?"),), sampling))
    streamed = ""
    while True:
        for event in engine.poll(0.0):
            if isinstance(event, Tokens):
                streamed += event.text
            else:
                assert isinstance(event, Finished)
                return event, streamed


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("<think>Is it A?</think>\n\nIt is B.", ASKS),
        ("Is it A?</think>\n\nIt is B.", OPENS),
        ("Is it A?</think>It is B.", OPENS),
        ("\n\n<think>Is it A?</think>\n\nIt is B.", ASKS),
    ],
)
def test_what_was_thought_is_no_part_of_the_text(folder: Path, text: str, template: str) -> None:
    finished, streamed = played(folder, text, template=template)
    assert (finished.text, finished.reasoning) == ("It is B.", "Is it A?")
    assert finished.text.startswith(streamed)
    assert streamed.startswith("It is")


def test_a_thought_that_is_cut_off_leaves_no_text(folder: Path) -> None:
    finished, streamed = played(folder, "Is it A? Yes.", template=OPENS, max_tokens=8)
    assert (finished.text, streamed, finished.finish_reason) == ("", "", FinishReason.LENGTH)
    assert finished.reasoning == "Is it A?"


def test_without_a_thought_the_text_is_as_it_was_written(folder: Path) -> None:
    finished, _ = played(folder, " It is B.")
    assert (finished.text, finished.reasoning) == (" It is B.", "")


def test_a_stop_string_in_a_thought_stops_nothing(folder: Path) -> None:
    finished, _ = played(folder, "<think>A? no</think>B. C", stop=("?", "."))
    assert (finished.text, finished.reasoning) == ("B", "A? no")
