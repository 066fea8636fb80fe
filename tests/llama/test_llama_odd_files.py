"""Odd GGUF files in a real llama.cpp server: they answer as the plain model in transformers does, or their
load says why not; of none a process is left."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.errors import EngineLoadError
from orchestrator.ports.engines import Finished, GenerationRequest, Tokens
from tests.llama.served import spec
from tests.odd.gguf import GGUF_FILES, OddFile
from tests.tiny_models import tiny_model
from tests.unit.workers.backends.command.commands import await_end_of, events, tagged
from workers.backends.command.backend import CommandBackend
from workers.backends.command.engine import CommandEngine

N_TOKENS, TRIES = 24, 5


def named(outcome: str) -> list[str]:
    return [name for name, odd in GGUF_FILES.items() if odd.outcome == outcome]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def tag(tmp_path: Path) -> Iterator[str]:
    yield tmp_path.name
    await_end_of(tmp_path.name)


def made(name: str, plain: Path, tmp_path: Path) -> tuple[OddFile, Path]:
    odd = GGUF_FILES[name]
    (tmp_path / "odd").mkdir()
    return odd, odd.make(plain, tmp_path / "odd")


def asked(engine: CommandEngine, odd: OddFile) -> tuple[Finished, str]:
    """The end, and what was streamed."""
    sampling = Sampling(max_tokens=N_TOKENS)
    engine.submit(GenerationRequest("q", odd.messages, sampling, None, INTERACTIVE))
    found = events(engine, 1)
    end = found[-1]
    assert isinstance(end, Finished), end
    return end, "".join(event.text for event in found if isinstance(event, Tokens))


@cache
def reference(plain: Path, prompt: str) -> str:
    """The text of the plain model by `generate` of transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(plain)
    model = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32).eval()
    ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)])
    with torch.inference_mode():
        found = model.generate(ids, max_new_tokens=N_TOKENS, do_sample=False, pad_token_id=0)[0]
    return str(tokenizer.decode(found[ids.shape[1] :], skip_special_tokens=True))


@pytest.mark.representatives(8)
@pytest.mark.parametrize("name", named("answers"))
def test_it_answers_as_the_plain_model_does_to_the_prompt_that_it_is_to_read(
    name: str, plain: Path, tmp_path: Path, tag: str
) -> None:
    odd, path = made(name, plain, tmp_path)
    engine = CommandBackend().load(spec(path, tag), ())
    try:
        end, streamed = asked(engine, odd)
    finally:
        engine.close()

    assert end.text == streamed == reference(plain, odd.prompt)
    assert tagged(tag) == []


@pytest.mark.representatives(8)
@pytest.mark.parametrize("name", named("dies"))
def test_what_the_server_refuses_is_told_in_its_own_words(
    name: str, plain: Path, tmp_path: Path, tag: str
) -> None:
    """The server's log is written beside its work, and now and then ends before its last lines."""
    odd, path = made(name, plain, tmp_path)
    said = ""
    for _ in range(TRIES):
        with pytest.raises(EngineLoadError) as caught:
            CommandBackend().load(spec(path, tag), ())
        said += str(caught.value)
        if re.search(odd.says, said):
            break

    assert re.search(odd.says, said), said
    assert tagged(tag) == []
