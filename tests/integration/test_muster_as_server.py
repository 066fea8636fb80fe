"""Muster behind Muster: the backends that call servers, against the API of `muster serve`."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn

from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.domain.experts import EngineSpec
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Engine
from orchestrator.settings.schema import Settings
from tests.contracts.test_backend_contract import (  # noqa: F401 - pytest collects them here, over this module's `load`
    REMOTE,
    SCRIPT,
    Load,
    test_aborted_request_fails_once_and_its_neighbour_finishes,
    test_adapters_and_base_are_mixed_without_touching_each_other,
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
from workers.backends.registry import get_backend

UrlOf = Callable[[int], str]


@contextmanager
def muster_server(settings: Settings) -> Iterator[str]:
    """URL of Muster's own API over the pool of `settings`."""
    with ExitStack() as stack:
        app = stack.enter_context(open_app(settings, background=True))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = uvicorn.Server(uvicorn.Config(create_app(app), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join(30)


def scripted_pool(folder: Path, *, max_model_len: int) -> Settings:
    """`base`, and `one` and `two` as adapters over it."""
    muster = {"engine": "scripted", "prompt": "plain", "max_model_len": max_model_len, "options": SCRIPT}
    lora = {"base_model": "base", "muster": {**muster, "adapter": "lora"}}
    members = [
        {"model_name": "base", "litellm_params": {"model": "base"}, "model_info": {"muster": muster}},
        {"model_name": "one", "litellm_params": {"model": "lora-1"}, "model_info": lora},
        {"model_name": "two", "litellm_params": {"model": "lora-2"}, "model_info": lora},
    ]
    section = {"data_dir": folder, "embedder": {"model": "hash"}}
    return Settings.model_validate({"model_list": members, "muster": section})


@pytest.fixture(scope="module")
def muster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UrlOf]:
    """URL of a Muster whose experts have a context of so many tokens."""
    with ExitStack() as stack:
        urls: dict[int, str] = {}

        def url(max_model_len: int) -> str:
            if max_model_len not in urls:
                settings = scripted_pool(tmp_path_factory.mktemp("muster"), max_model_len=max_model_len)
                urls[max_model_len] = stack.enter_context(muster_server(settings))
            return urls[max_model_len]

        yield url


@pytest.fixture
def adapter_dirs() -> list[str]:
    return ["one", "two"]


@pytest.fixture(params=REMOTE)
def load(request: pytest.FixtureRequest, muster_url: UrlOf, adapter_dirs: list[str]) -> Iterator[Load]:
    backend = request.param
    prefix = "openai/" if backend == "remote" else ""
    with ExitStack() as stack:

        def load_engine(*, max_batch: int = 64, max_model_len: int = 200) -> Engine:
            spec = EngineSpec(
                id="engine",
                backend=backend,
                model=prefix + "base",
                max_model_len=max_model_len,
                options={
                    "max_concurrent": max_batch,
                    # Muster's API has no nucleus sampling; stop strings are applied on this side.
                    "drop_params": ["top_p", "stop"],
                    "adapter_models": {name: prefix + name for name in adapter_dirs},
                },
            )
            access = {"engine": EngineAccess(api_base=muster_url(max_model_len))}
            engine = get_backend(backend, access).load(spec, adapter_dirs)
            stack.callback(engine.close)
            return engine

        yield load_engine
