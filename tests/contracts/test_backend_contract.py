"""What every backend must do, whatever it runs."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import JsonValue

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.domain.terms import StructuredOutput
from orchestrator.errors import BackendError, EngineCrashedError, EngineLoadError
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Engine, Failed, Finished, GenerationRequest, Tokens
from tests.fakes.openai_server import MODEL, openai_server
from tests.harness.processes import ROOT
from tests.tiny_models import tiny_adapter, tiny_model
from tests.vllm_environment import HAS_VLLM
from workers.backends.registry import get_backend

PROMPTS = ("reverse abc", "two and two", "x", "a longer prompt than the other ones", "why?", "abcabc")
SCRIPT = {"rules": [{"match": "one two", "reply": "one two three four"}]}
REMOTE = ["server", *(["remote"] if find_spec("litellm") else [])]
VLLM = [pytest.param("vllm", marks=pytest.mark.vllm)] if HAS_VLLM else []
End = Finished | Failed
Load = Callable[..., Engine]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def adapter_dirs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("adapters")
    return [
        str(tiny_adapter(folder / "one", seed=1)),
        str(tiny_adapter(folder / "two", seed=2, rank=2, targets=("o_proj",))),
    ]


@pytest.fixture(params=["scripted", "transformers", "fusion", "command", *REMOTE, *VLLM])
def load(request: pytest.FixtureRequest, model_dir: Path, adapter_dirs: list[str]) -> Iterator[Load]:
    """Loads an engine of the backend under test; `max_batch` is known to real engines only."""
    with ExitStack() as stack:

        def load_engine(*, max_batch: int = 64, max_model_len: int = 200) -> Engine:
            name = request.param
            if name in REMOTE:
                engine = load_over_http(stack, name, adapter_dirs, max_batch, max_model_len)
            elif name == "command":
                engine = load_by_command(adapter_dirs, max_batch, max_model_len)
            else:
                spec = EngineSpec(
                    id="engine",
                    backend=name,
                    model=str(model_dir),
                    dtype="float32",
                    max_model_len=max_model_len,
                    options=options_of(name, max_batch, model_dir, adapter_dirs),
                )
                engine = get_backend(name).load(spec, adapter_dirs)
            stack.callback(engine.close)
            return engine

        yield load_engine


def options_of(name: str, max_batch: int, model_dir: Path, adapter_dirs: list[str]) -> dict[str, JsonValue]:
    if name == "transformers":
        return {"threads": 1, "max_batch": max_batch}
    if name == "fusion":
        tuned: JsonValue = {"model": str(model_dir), "adapter": adapter_dirs[1]}
        own: dict[str, JsonValue] = {"rule": "dynamic", "base": str(model_dir), "experts": [tuned]}
        return {"threads": 1, "max_batch": max_batch, **own}
    if name == "vllm":
        return {"threads": 1, "max_num_seqs": max_batch, "kv_cache_gib": 0.25}
    return dict(SCRIPT)


@contextmanager
def at_once(engine: Engine) -> Iterator[None]:
    """What is submitted inside arrives together, also at an engine in another process."""
    pid = getattr(engine, "pid", None)
    if pid is not None:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if pid is not None:
            os.kill(pid, signal.SIGCONT)


def load_over_http(
    stack: ExitStack, name: str, adapter_dirs: list[str], max_batch: int, max_model_len: int
) -> Engine:
    """An engine that calls a live server, which ends with `stack`."""
    served = dict(zip(("one", "two"), adapter_dirs, strict=True))
    server = stack.enter_context(openai_server(adapters=served, max_model_len=max_model_len, script=SCRIPT))
    prefix = "openai/"
    adapter_models = {
        adapter: (prefix if name == "remote" else "") + model for model, adapter in served.items()
    }
    spec = EngineSpec(
        id="engine",
        backend=name,
        model=prefix + MODEL,
        max_model_len=max_model_len,
        options={"max_concurrent": max_batch, "adapter_models": adapter_models},
    )
    return get_backend(name, {"engine": EngineAccess(api_base=server.url)}).load(spec, adapter_dirs)


def load_by_command(adapter_dirs: list[str], max_batch: int, max_model_len: int) -> Engine:
    """An engine whose server is a process below it, and answers as the others do."""
    served = dict(zip(("one", "two"), adapter_dirs, strict=True))
    told = json.dumps({"adapters": served, "max_model_len": max_model_len, "script": SCRIPT})
    command = [sys.executable, "-m", "tests.fakes.openai_server", "{port}", told]
    options: dict[str, JsonValue] = {
        "command": list(command),
        "env": {"PYTHONPATH": str(ROOT)},
        "concurrent": max_batch,
        "model_id": MODEL,
        "adapter_models": {adapter: model for model, adapter in served.items()},
    }
    spec = EngineSpec(id="engine", backend="command", model="m", max_model_len=max_model_len, options=options)
    return get_backend("command").load(spec, adapter_dirs)


def ask(
    name: str,
    prompt: str = PROMPTS[0],
    *,
    adapter: str | None = None,
    priority: int = 0,
    max_tokens: int = 16,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: tuple[str, ...] = (),
    logprobs: int | None = None,
    structured_output: StructuredOutput | None = None,
) -> GenerationRequest:
    sampling = Sampling(
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=stop,
        logprobs=logprobs,
        structured_output=structured_output,
    )
    return GenerationRequest(name, (Message(role="user", content=prompt),), sampling, adapter, priority)


def ends(engine: Engine, n: int) -> list[End]:
    """The next n ends, in order; fails if the engine reports one twice or none for long."""
    found: list[End] = []
    for _ in range(10_000):
        found += [event for event in engine.poll(0.05) if not isinstance(event, Tokens)]
        if len(found) >= n:
            assert len({event.id for event in found}) == len(found) == n
            return found
    raise AssertionError(f"{n - len(found)} requests did not end")


def texts(engine: Engine, requests: Sequence[GenerationRequest]) -> dict[str, str]:
    for request in requests:
        engine.submit(request)
    return {end.id: end.text for end in ends(engine, len(requests)) if isinstance(end, Finished)}


def test_every_request_ends_exactly_once_and_the_engine_is_then_silent(load: Load) -> None:
    engine = load(max_batch=4)
    requests = [ask(str(i), PROMPTS[i % 6], max_tokens=1 + i % 7, priority=i % 3) for i in range(23)]
    for request in requests:
        engine.submit(request)
    assert {end.id for end in ends(engine, 23)} == {request.id for request in requests}
    assert engine.poll(0) == []


def test_greedy_text_depends_neither_on_batch_mates_nor_on_order(load: Load) -> None:
    engine = load(max_batch=4)
    alone = {prompt: texts(engine, [ask("alone", prompt)])["alone"] for prompt in PROMPTS}
    assert texts(engine, [ask(prompt, prompt) for prompt in PROMPTS]) == alone
    assert texts(engine, [ask(prompt, prompt) for prompt in reversed(PROMPTS)]) == alone


def test_sampled_text_depends_on_the_seed_and_not_on_batch_mates(load: Load) -> None:
    engine = load()
    alone = texts(engine, [ask("a", temperature=1.5, top_p=0.9, seed=7)])["a"]
    mates = [ask(str(i), PROMPTS[i], temperature=i % 2, seed=i) for i in range(6)]
    together = texts(engine, [*mates[:3], ask("a", temperature=1.5, top_p=0.9, seed=7), *mates[3:]])
    assert together["a"] == alone
    assert texts(engine, [ask("a", temperature=1.5, top_p=0.9, seed=8)])["a"] != alone


def test_request_submitted_while_another_runs_joins_it(load: Load) -> None:
    engine = load()
    alone = texts(engine, [ask("long", PROMPTS[3], max_tokens=40), ask("late", PROMPTS[1])])
    engine.submit(ask("long", PROMPTS[3], max_tokens=40))
    early = [event for event in engine.poll(0) if isinstance(event, Finished)]
    engine.submit(ask("late", PROMPTS[1]))
    both = [*early, *ends(engine, 2 - len(early))]
    assert {end.id: end.text for end in both if isinstance(end, Finished)} == alone


def test_larger_priority_is_admitted_first(load: Load) -> None:
    engine = load(max_batch=1)
    with at_once(engine):
        for name, priority in (("low", 0), ("high", 5), ("middle", 3)):
            engine.submit(ask(name, priority=priority))
    assert [end.id for end in ends(engine, 3)] == ["high", "middle", "low"]


def test_aborted_request_fails_once_and_its_neighbour_finishes(load: Load) -> None:
    engine = load()
    alone = texts(engine, [ask("stays")])["stays"]
    with at_once(engine):
        for name in ("stays", "goes"):
            engine.submit(ask(name))
        engine.abort("goes")
        engine.abort("goes")
        engine.abort("never submitted")
    found = {end.id: end for end in ends(engine, 2)}
    assert isinstance(found["goes"], Failed)
    assert found["goes"].error_code == "aborted"
    assert isinstance(found["stays"], Finished)
    assert found["stays"].text == alone


def test_request_id_is_free_again_after_its_end(load: Load) -> None:
    engine = load()
    engine.submit(ask("a"))
    with pytest.raises(BackendError, match="'a'"):
        engine.submit(ask("a"))
    first = ends(engine, 1)
    engine.submit(ask("a"))
    assert untimed(ends(engine, 1)) == untimed(first)


def untimed(found: list[End]) -> list[End]:
    """Without what it cost."""
    return [end._replace(fusion=None) if isinstance(end, Finished) else end for end in found]


def test_output_of_max_tokens_is_marked_as_cut(load: Load) -> None:
    engine = load()
    full = texts(engine, [ask("a", "one two three four", max_tokens=16)])["a"]
    engine.submit(ask("a", "one two three four", max_tokens=1))
    end = ends(engine, 1)[0]
    assert isinstance(end, Finished)
    assert end.finish_reason is FinishReason.LENGTH
    assert end.usage.completion_tokens == 1
    assert full.startswith(end.text)


def test_stop_string_ends_the_text_before_it(load: Load) -> None:
    engine = load()
    full = texts(engine, [ask("a")])["a"]
    word = full[3:5]
    engine.submit(ask("a", stop=("\x00never", word)))
    end = ends(engine, 1)[0]
    assert isinstance(end, Finished)
    assert end.text == full[: full.index(word)]
    assert end.finish_reason is FinishReason.STOP


def test_request_longer_than_the_context_fails_and_others_go_on(load: Load) -> None:
    engine = load(max_model_len=64)
    engine.submit(ask("long", "word " * 80))
    engine.submit(ask("greedy", max_tokens=64))
    engine.submit(ask("fits", "x"))
    found = {end.id: end for end in ends(engine, 3)}
    for name in ("long", "greedy"):
        end = found[name]
        assert isinstance(end, Failed)
        assert end.error_code == "context_exceeded"
    assert isinstance(found["fits"], Finished)


def test_output_that_does_not_fit_beside_its_prompt_fails_or_is_cut_to_what_fits(load: Load) -> None:
    """Engines of our own refuse it; some servers lower max_tokens themselves, and only they can count."""
    engine = load(max_model_len=64)
    engine.submit(ask("a", PROMPTS[3], max_tokens=60))
    end = ends(engine, 1)[0]
    if isinstance(end, Failed):
        assert end.error_code == "context_exceeded"
    else:
        assert end.usage.prompt_tokens + end.usage.completion_tokens <= 64


def test_adapters_and_base_are_mixed_without_touching_each_other(load: Load, adapter_dirs: list[str]) -> None:
    engine = load()
    wanted = [(None, "base"), (adapter_dirs[0], "one"), (adapter_dirs[1], "two")]
    alone = {name: texts(engine, [ask(name, adapter=adapter)])[name] for adapter, name in wanted}
    together = texts(engine, [ask(name, adapter=adapter) for adapter, name in wanted])
    assert together == alone
    assert len(set(alone.values())) == 3


def test_unknown_adapter_fails_its_request_only(load: Load) -> None:
    engine = load()
    engine.submit(ask("bad", adapter="elsewhere"))
    engine.submit(ask("good"))
    found = {end.id: end for end in ends(engine, 2)}
    assert isinstance(found["bad"], Failed)
    assert found["bad"].error_code == "unknown_name"
    assert isinstance(found["good"], Finished)


def test_interactive_request_streams_the_beginning_of_its_text(load: Load) -> None:
    engine = load()
    engine.submit(ask("a", priority=INTERACTIVE))
    engine.submit(ask("b"))
    pieces, end = "", None
    while end is None:
        for event in engine.poll(0.05):
            if isinstance(event, Tokens):
                assert event.id == "a"
                pieces += event.text
            elif event.id == "a":
                end = event
    assert isinstance(end, Finished)
    assert pieces
    assert end.text.startswith(pieces)


def test_what_a_backend_cannot_do_fails_the_request_and_is_never_ignored(load: Load) -> None:
    engine = load()
    choice = StructuredOutput(choice=("left", "right"))
    engine.submit(ask("choice", structured_output=choice))
    engine.submit(ask("logprobs", logprobs=2))
    engine.submit(ask("plain"))
    found = {end.id: end for end in ends(engine, 3)}
    assert isinstance(found["plain"], Finished)
    for name in ("choice", "logprobs"):
        end = found[name]
        if isinstance(end, Failed):
            assert end.error_code == "unsupported"
            assert "vllm" in end.error
        elif name == "choice":
            assert end.text in choice.choice
        else:
            assert len(end.logprobs) == end.usage.completion_tokens


def test_closing_twice_is_harmless_and_ends_the_engine(load: Load) -> None:
    engine = load()
    engine.submit(ask("a"))
    engine.close()
    engine.close()
    with pytest.raises(EngineCrashedError):
        engine.poll(0)


@pytest.mark.parametrize(
    "name", ["scripted", "transformers", "fusion", "server", "remote", "command", "vllm"]
)
def test_unknown_option_is_refused_with_its_name(name: str, model_dir: Path) -> None:
    of_name: dict[str, dict[str, JsonValue]] = {
        "fusion": {"rule": "average", "models": [str(model_dir)]},
        "command": {"command": "true"},
    }
    needed = of_name.get(name, {})
    spec = EngineSpec(id="e", backend=name, model=str(model_dir), options={"max_bach": 3, **needed})
    with pytest.raises(EngineLoadError) as caught:
        get_backend(name).load(spec, ())
    assert caught.value.param == "options.max_bach"
