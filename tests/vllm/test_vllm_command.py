"""vLLM's own HTTP server over the zoo's weights, as an engine that a command starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.experts import EngineSpec
from orchestrator.ports.engines import Finished
from tests.contracts.test_backend_contract import PROMPTS
from tests.unit.workers.backends.command.commands import await_end_of, tagged
from tests.vllm.engines import MODELS, ask, by_transformers, end, texts
from workers.backends.command.backend import CommandBackend
from workers.backends.command.engine import CommandEngine
from workers.backends.vllm.backend import CHILD_ENV, find_python

WEIGHTS = MODELS / "generalist"
CONTEXT, SLOTS = 64, 8


@pytest.fixture(scope="module")
def tag(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("command"))


@pytest.fixture(scope="module")
def engine(tag: str) -> Iterator[CommandEngine]:
    python = find_python(EngineSpec(id="any", backend="vllm", model=str(WEIGHTS)))
    command = [
        *(python, "-m", "vllm.entrypoints.openai.api_server", "--host", "{host}", "--port", "{port}"),
        *("--model", "{model}", "--served-model-name", tag, "--dtype", "float32"),
        *("--max-model-len", "{max_model_len}", "--max-num-seqs", "{concurrent}"),
        *("--kv-cache-memory-bytes", str(256 << 20), "--enforce-eager", "--generation-config", "vllm"),
    ]
    env = {
        **CHILD_ENV,
        "VLLM_API_KEY": "{api_key}",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TORCHDYNAMO_DISABLE": "1",  # compiling small functions takes longer than the tests
    }
    options = {"command": command, "env": env, "health": "/health", "ready_s": 300, "concurrent": SLOTS}
    spec = EngineSpec(
        id="engine", backend="command", model=str(WEIGHTS), max_model_len=CONTEXT, options=options
    )
    backend = CommandBackend()
    engine = backend.load(spec, ())
    yield engine
    engine.close()
    await_end_of(tag)


def test_texts_are_those_of_the_transformers_backend(engine: CommandEngine, tag: str) -> None:
    assert tagged(tag)
    assert texts(engine, PROMPTS) == by_transformers("generalist", PROMPTS)


def test_log_probabilities_come_through(engine: CommandEngine) -> None:
    request = ask("a", PROMPTS[0])
    sampling = request.sampling.model_copy(update={"logprobs": 2})
    finished = end(engine, request._replace(sampling=sampling))
    assert isinstance(finished, Finished)
    assert len(finished.logprobs) >= finished.usage.completion_tokens - 1


def test_memory_is_that_of_all_processes_of_the_server(engine: CommandEngine) -> None:
    memory = engine.weigh()
    assert memory is not None
    assert 0.5 < memory.peak_gib < 8


def test_server_is_known_by_the_name_that_it_lists(engine: CommandEngine, tag: str) -> None:
    assert engine._up.endpoint._address.model == tag
    assert Path(f"/proc/{engine.pid}").exists()
