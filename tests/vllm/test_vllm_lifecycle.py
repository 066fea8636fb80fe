"""Loads, swaps, crashes: what vLLM engines cost and what becomes of them."""

import os
import signal
from pathlib import Path

import pytest

from orchestrator.bootstrap.app import open_app
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import BackendError, EngineCrashedError, EngineLoadError
from orchestrator.ports.engines import Failed
from orchestrator.settings.schema import Settings
from tests.tiny_models import tiny_model
from tests.vllm.engines import FOREVER, MODELS, ask, end, events, finished, spec
from workers.backends.vllm.backend import make_vllm_backend
from workers.engine_host.backend import HostedBackend
from workers.engine_host.memory import TOLERANCE_GIB

SPELL, ROMAN = "Please spell 'xngoby' backwards.", "Write 7 in Roman numerals."


def test_engines_follow_each_other_in_one_child_which_gives_their_memory_back(backend: HostedBackend) -> None:
    n_loads = backend.n_loads
    pids, sizes = set(), []
    for model, question, answer in (("reverse", SPELL, "ybognx"), ("roman", ROMAN, "VII")) * 2:
        engine = backend.load(spec(model), ())
        assert finished(engine, ask("q", question)).text == answer
        assert engine.memory is not None
        pids.add(engine.pid)
        sizes.append(engine.memory.rss_gib)
        engine.close()
    assert len(pids) == 1
    assert backend.n_loads - n_loads == 4
    # Their cache alone takes a quarter each: nothing piles up.
    assert max(sizes) - sizes[0] < min(0.25, TOLERANCE_GIB)


def test_an_engine_on_the_cpu_is_weighed_by_its_process_and_offers_no_sleep(backend: HostedBackend) -> None:
    """A quarter of a GiB is its cache alone."""
    engine = backend.load(spec("reverse"), ())
    weighed = engine.weigh()
    assert weighed is not None
    assert 0.0 < weighed.held_gib <= weighed.peak_gib < 4.0
    assert weighed.device_free_gib is None
    assert engine.sleep_levels == ()
    with pytest.raises(BackendError, match="sleep needs CUDA"):
        engine.sleep(1)
    assert finished(engine, ask("q", SPELL)).text == "ybognx", "it works on"
    engine.close()


def test_engines_side_by_side_have_a_child_each(backend: HostedBackend) -> None:
    reverse, roman = backend.load(spec("reverse"), ()), backend.load(spec("roman"), ())
    assert reverse.pid != roman.pid
    roman.submit(ask("q", ROMAN))
    assert finished(reverse, ask("q")).text == "ybognx"
    assert [event.text for event in events(roman)] == ["VII"]  # type: ignore[union-attr]
    reverse.close()
    roman.close()


def test_killed_child_costs_the_engine_which_is_loaded_again(backend: HostedBackend) -> None:
    engine = backend.load(spec("reverse"), ())
    engine.submit(ask("q", max_tokens=FOREVER))
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineCrashedError, match="signal 9"):
        events(engine)
    engine.close()
    again = backend.load(spec("reverse"), ())
    assert again.pid != engine.pid
    assert finished(again, ask("q")).text == "ybognx"
    again.close()


def test_warm_spare_takes_the_load_after_a_crash() -> None:
    backend = make_vllm_backend(n_spares=1)
    backend.warm_up(spec("reverse"))
    (pool,) = backend._pools.values()
    spare = pool._idle[0].pid
    engine = backend.load(spec("reverse"), ())
    assert engine.pid == spare
    next_spare = pool._idle[0].pid
    os.kill(engine.pid, signal.SIGKILL)
    engine.close()
    again = backend.load(spec("reverse"), ())
    assert again.pid == next_spare
    assert finished(again, ask("q")).text == "ybognx"
    again.close()
    backend.close()


def test_next_engine_is_prepared_while_the_present_one_works(backend: HostedBackend) -> None:
    working = backend.load(spec("reverse"), ())
    assert backend.prepare(spec("roman"), ())
    assert finished(working, ask("q")).text == "ybognx"
    working.close()
    roman = backend.load(spec("roman"), ())
    assert roman.pid != working.pid
    assert finished(roman, ask("q", ROMAN)).text == "VII"
    roman.close()


def test_context_is_at_most_what_the_model_was_trained_for(backend: HostedBackend, tmp_path: Path) -> None:
    short = spec(tiny_model(tmp_path / "short", max_len=64)).model_copy(update={"max_model_len": 4096})
    engine = backend.load(short, ())
    failed = end(engine, ask("q", "x" * 60))
    assert isinstance(failed, Failed)
    assert "maximum context length is 64 tokens" in failed.error
    engine.close()


def test_sleep_mode_without_cuda_is_a_load_error(backend: HostedBackend) -> None:
    with pytest.raises(EngineLoadError, match="needs CUDA") as caught:
        backend.load(spec("reverse", sleep_mode=True), ())
    assert caught.value.param == "options.sleep_mode"


def test_pickled_weights_are_refused(backend: HostedBackend, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(EngineLoadError, match="pickled"):
        backend.load(spec(tmp_path), ())


def test_sleep_is_refused_without_cuda(backend: HostedBackend) -> None:
    engine = backend.load(spec("reverse"), ())
    with pytest.raises(BackendError, match="needs CUDA"):
        engine.sleep()
    engine.wake()
    assert finished(engine, ask("q")).text == "ybognx"
    engine.close()


def member(model: str) -> dict[str, object]:
    options = {"threads": 1, "kv_cache_gib": 0.25}
    muster = {"engine": "vllm", "prompt": "plain", "max_model_len": 512, "options": options}
    return {
        "model_name": model,
        "litellm_params": {"model": str(MODELS / model), "max_tokens": 24},
        "model_info": {"muster": muster},
    }


def test_pool_of_vllm_engines_answers(tmp_path: Path) -> None:
    section = {"data_dir": tmp_path, "embedder": {"model": "hash"}}
    pool = [member("reverse"), member("roman")]
    settings = Settings.model_validate({"model_list": pool, "muster": section})
    with open_app(settings) as app:
        one = app.asking.ask(Query(id="a", question=SPELL), AskOptions(model="reverse"))
        two = app.asking.ask(Query(id="b", question=ROMAN), AskOptions(model="roman"))
        loads = app.store.loads()
    assert (one.text, two.text, loads) == ("ybognx", "VII", 2)
