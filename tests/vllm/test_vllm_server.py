"""vLLM's own HTTP server over the zoo's weights, called by the backends that call servers."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pydantic import SecretStr

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Engine, Failed, Finished
from tests.contracts import test_backend_contract as contract
from tests.contracts.test_backend_contract import (  # noqa: F401 - pytest collects them here, over this module's `load`
    PROMPTS,
    REMOTE,
    Load,
    test_aborted_request_fails_once_and_its_neighbour_finishes,
    test_closing_twice_is_harmless_and_ends_the_engine,
    test_every_request_ends_exactly_once_and_the_engine_is_then_silent,
    test_greedy_text_depends_neither_on_batch_mates_nor_on_order,
    test_interactive_request_streams_the_beginning_of_its_text,
    test_larger_priority_is_admitted_first,
    test_output_of_max_tokens_is_marked_as_cut,
    test_output_that_does_not_fit_beside_its_prompt_fails_or_is_cut_to_what_fits,
    test_request_id_is_free_again_after_its_end,
    test_request_longer_than_the_context_fails_and_others_go_on,
    test_request_submitted_while_another_runs_joins_it,
    test_sampled_text_depends_on_the_seed_and_not_on_batch_mates,
    test_stop_string_ends_the_text_before_it,
    test_unknown_adapter_fails_its_request_only,
    test_what_a_backend_cannot_do_fails_the_request_and_is_never_ignored,
)
from tests.harness.processes import Process, free_port
from tests.tiny_models import tiny_adapter
from tests.vllm.engines import MODELS, ask, by_transformers, end, finished, texts
from workers.backends.registry import get_backend
from workers.backends.vllm.backend import CHILD_ENV, find_python

KEY = "sk-secret-7"
WEIGHTS = MODELS / "generalist"
CONTEXT = 64


@pytest.fixture(scope="module")
def adapter_dirs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("adapters")
    return [
        str(tiny_adapter(folder / "one", seed=1, targets=("q_proj",))),
        str(tiny_adapter(folder / "two", seed=2, rank=2, targets=("o_proj",))),
    ]


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory, adapter_dirs: list[str]) -> Iterator[str]:
    """URL of one server for all tests here: `base`, `one` and `two`, with a key and a short context."""
    port = free_port()
    one, two = adapter_dirs
    python = find_python(EngineSpec(id="base", backend="vllm", model=str(WEIGHTS)))
    command = [
        *(python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)),
        *("--model", str(WEIGHTS), "--served-model-name", "base", "--dtype", "float32"),
        *("--max-model-len", str(CONTEXT), "--max-num-seqs", "8", "--kv-cache-memory-bytes", str(256 << 20)),
        *("--enforce-eager", "--generation-config", "vllm"),
        *("--enable-lora", "--max-loras", "2", "--max-lora-rank", "8"),
        *("--lora-modules", f"one={one}", f"two={two}"),
    ]
    own = {
        "VLLM_API_KEY": KEY,
        "VLLM_LOGGING_LEVEL": "INFO",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TORCHDYNAMO_DISABLE": "1",  # compiling small functions takes longer than the tests
    }
    server = Process(
        "vLLM",
        command,
        env={**CHILD_ENV, **own},
        log=tmp_path_factory.mktemp("vllm") / "server.log",
        ready="Application startup complete",
    )
    try:
        server.start().await_ready(within_s=300)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.stop()


def load_at(
    url: str, adapters: list[str], *, backend: str = "server", key: str = KEY, **options: object
) -> Engine:
    prefix = "openai/" if backend == "remote" else ""
    served = dict(zip(adapters, (prefix + "one", prefix + "two"), strict=False))
    spec = EngineSpec(
        id="engine",
        backend=backend,
        model=prefix + "base",
        max_model_len=CONTEXT,
        options={"adapter_models": served, **options},
    )
    access = EngineAccess(api_base=url, api_key=SecretStr(key), cooldown_s=0.0)
    return get_backend(backend, {"engine": access}).load(spec, adapters)


@pytest.fixture(params=REMOTE)
def load(request: pytest.FixtureRequest, server_url: str, adapter_dirs: list[str]) -> Iterator[Load]:
    with ExitStack() as stack:

        def load_engine(*, max_batch: int = 64, max_model_len: int = CONTEXT) -> Engine:
            assert max_model_len == CONTEXT
            engine = load_at(server_url, adapter_dirs, backend=request.param, max_concurrent=max_batch)
            stack.callback(engine.close)
            return engine

        yield load_engine


def test_adapters_and_base_answer_without_touching_each_other(load: Load, adapter_dirs: list[str]) -> None:
    """One at a time: in a mixed batch on the CPU, vLLM applies an adapter to base rows as well, which
    workers/backends/vllm/cpu_lora.py corrects for engines of our own only."""
    contract.test_adapters_and_base_are_mixed_without_touching_each_other(
        lambda: load(max_batch=1), adapter_dirs
    )


def test_greedy_texts_are_those_of_the_transformers_backend(load: Load) -> None:
    assert texts(load(), PROMPTS) == by_transformers("generalist", PROMPTS)


def test_max_tokens_that_do_not_fit_beside_the_prompt_are_lowered(server_url: str) -> None:
    engine = load_at(server_url, [], extra_body={"ignore_eos": True})
    cut = finished(engine, ask("a", PROMPTS[3], max_tokens=CONTEXT - 1))
    engine.close()
    assert cut.finish_reason is FinishReason.LENGTH
    assert cut.usage.prompt_tokens + cut.usage.completion_tokens == CONTEXT


def test_model_that_left_the_server_fails_its_requests_only(server_url: str) -> None:
    engine = load_at(server_url, [], served_model="gone", check_models=False)
    failed = end(engine, ask("a"))
    engine.close()
    assert isinstance(failed, Failed)
    assert failed.error_code == "expert_misconfigured"
    assert "gone" in failed.error


def test_call_that_takes_too_long_times_out_and_the_server_goes_on(server_url: str) -> None:
    hasty = load_at(server_url, [], timeout_s=1e-4, deadline_s=1e-3)
    failed = end(hasty, ask("a"))
    hasty.close()
    assert isinstance(failed, Failed)
    assert failed.error_code == "generation_timeout"
    patient = load_at(server_url, [])
    assert isinstance(end(patient, ask("a")), Finished)
    patient.close()


def test_wrong_key_is_a_load_error(server_url: str) -> None:
    with pytest.raises(EngineLoadError, match="api_key"):
        load_at(server_url, [], key="sk-other")
