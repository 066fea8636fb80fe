"""Odd models in vLLM's own HTTP server, as an engine that a command starts: they answer as in the in-process
engine, or the load says why not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.ports.engines import Engine, Finished, GenerationRequest, Tokens
from tests.odd.making import TEMPLATE, Made, Odd
from tests.odd.table import ODD
from tests.tiny_models import tiny_model
from tests.unit.workers.backends.command.commands import await_end_of
from tests.vllm.engines import events
from workers.backends.command.backend import CommandBackend
from workers.backends.transformers import TransformersBackend
from workers.backends.vllm.backend import CHILD_ENV, find_python

ANSWERING = ("no system role", "strict alternation", "system left out", "one turn", "shards")
TOLD = ("truncated weights", "pointer to a tokenizer", "template without the question")
DYING = {
    "a lost norm": r"It said: .*not initialized.*model\.norm\.weight",
    "broken template": "writes no token: HTTP 400.*renders no question here: Unexpected end of template",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("plain"))


def served(of: Made, tag: str, *more: str) -> EngineSpec:
    python = find_python(EngineSpec(id="any", backend="vllm", model=str(of.folder)))
    command = [
        *(python, "-m", "vllm.entrypoints.openai.api_server", "--host", "{host}", "--port", "{port}"),
        *("--model", "{model}", "--served-model-name", tag, "--dtype", "float32"),
        *("--max-model-len", "{max_model_len}", "--max-num-seqs", "{concurrent}"),
        *("--kv-cache-memory-bytes", str(64 << 20), "--enforce-eager", "--generation-config", "vllm", *more),
    ]
    env = {
        **CHILD_ENV,
        "VLLM_API_KEY": "{api_key}",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TORCHDYNAMO_DISABLE": "1",  # compiling small functions takes longer than the tests
    }
    options = {"command": [*command], "env": {**env}, "health": "/health", "ready_s": 300, "concurrent": 4}
    return EngineSpec(id="odd", backend="command", model=str(of.folder), max_model_len=128, options=options)


@contextmanager
def loaded(spec: EngineSpec, tag: str) -> Iterator[Engine]:
    engine = CommandBackend().load(spec, ())
    try:
        yield engine
    finally:
        engine.close()
        await_end_of(tag)


def said(engine: Engine, odd: Odd) -> str:
    engine.submit(GenerationRequest("q", odd.messages, Sampling(max_tokens=16), priority=INTERACTIVE))
    found: Sequence[object] = events(engine)
    end = found[-1]
    assert isinstance(end, Finished), end
    assert end.text.startswith("".join(event.text for event in found if isinstance(event, Tokens)))
    return end.text


def in_process(of: Made, odd: Odd) -> str:
    spec = EngineSpec(
        id="odd",
        backend="transformers",
        model=str(of.folder),
        dtype="float32",
        max_model_len=128,
        options={"threads": 1},
    )
    return said(TransformersBackend().load(spec, ()), odd)


@pytest.mark.representatives(2)
@pytest.mark.parametrize("name", ANSWERING)
def test_it_answers_as_in_the_in_process_engine(name: str, plain: Path, tmp_path: Path) -> None:
    odd = ODD[name]
    of = odd.make(plain, tmp_path / "odd")
    with loaded(served(of, tmp_path.name), tmp_path.name) as engine:
        assert said(engine, odd) == in_process(of, odd)


def test_template_that_the_command_names_is_learnt_of_its_refusals(plain: Path, tmp_path: Path) -> None:
    odd = ODD["strict alternation"]
    of = odd.make(plain, tmp_path / "odd")
    own = (of.folder / TEMPLATE).rename(tmp_path / "own.jinja")
    (of.folder / TEMPLATE).write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    with loaded(served(of, tmp_path.name, "--chat-template", str(own)), tmp_path.name) as engine:
        text = said(engine, odd)
    own.rename(of.folder / TEMPLATE)
    assert text == in_process(of, odd)


@pytest.mark.parametrize("name", TOLD)
def test_what_no_server_can_load_is_told_before_one_is_started(
    name: str, plain: Path, tmp_path: Path
) -> None:
    odd = ODD[name]
    of = odd.make(plain, tmp_path / "odd")
    with pytest.raises(EngineLoadError, match=odd.says) as caught:
        CommandBackend().load(served(of, tmp_path.name), ())
    assert caught.value.is_lasting


@pytest.mark.representatives(1)
@pytest.mark.parametrize("name", DYING)
def test_what_vllm_refuses_is_told_in_its_words(name: str, plain: Path, tmp_path: Path) -> None:
    of = ODD[name].make(plain, tmp_path / "odd")
    with pytest.raises(EngineLoadError, match=DYING[name]) as caught:
        CommandBackend().load(served(of, tmp_path.name), ())
    assert caught.value.param == "options.command"
    await_end_of(tmp_path.name)
