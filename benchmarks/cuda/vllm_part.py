"""The part `vllm`: the same weights in vLLM, where an interpreter has it.

`cold_s`: load in a child that is started for it; `swap_s`: in the same child after another engine was
dropped; seconds to sleep and to wake at both levels, with the device memory that sleeping gives back; LoRA; a
fusion of two models in vLLM's shell. On the CPU, where vLLM cannot sleep, that is `not_on_cpu`.
"""

from pathlib import Path
from typing import Any

from pydantic import JsonValue

from benchmarks.cuda.checkpoints import adapter, checkpoint
from benchmarks.cuda.engines import ask, prompts_of, spec_of
from benchmarks.cuda.machine import NOT_ON_CPU, difference, free_gib, on_cuda, timed
from benchmarks.cuda.running import Kept, LeftOutError
from benchmarks.cuda.scale import Scale
from orchestrator.errors import EngineLoadError, MusterError
from workers.backends.vllm.backend import find_python, make_vllm_backend
from workers.engine_host.backend import HostedBackend
from workers.engine_host.engine import HostedEngine


def measure(scale: Scale, folder: Path, kept: Kept) -> None:
    places = [checkpoint(folder, scale.small, seed) for seed in range(2)]
    try:
        find_python(spec_of("any", places[0], backend="vllm"))
    except EngineLoadError as error:
        raise LeftOutError(f"{error}") from error
    lora = adapter(folder, scale.small, 0)
    backend = make_vllm_backend(n_spares=0)
    try:
        kept.keep("swap", swap(backend, places, scale))
        kept.keep("lora", with_adapter(backend, places[0], lora, scale))
        kept.keep("sleep", {f"level_{level}": slept(backend, places[0], level) for level in (1, 2)})
        kept.keep("fusion", fused(backend, places, scale))
    finally:
        backend.close()


def options(**more: JsonValue) -> dict[str, JsonValue]:
    """No CUDA graphs: capturing them takes longer than the part has."""
    own: dict[str, JsonValue] = {"enforce_eager": True, "kv_cache_gib": 4.0 if on_cuda() else 0.25, **more}
    return own if on_cuda() else {**own, "threads": 1}


def swap(backend: HostedBackend, places: list[Path], scale: Scale) -> dict[str, Any]:
    found: dict[str, Any] = {}
    before = free_gib()
    pids = set()
    for name, place in (("cold_s", places[0]), ("swap_s", places[1])):
        engine = backend.load(spec_of(name, place, backend="vllm", options=options()), ())
        found[name] = round(engine.load_s, 2)
        pids.add(engine.pid)
        if name == "cold_s":
            found["tokens_s"] = tokens_per_s(engine, scale)
        engine.close()
    return {**found, "processes": len(pids), "kept_gib": difference(before, free_gib())}


def tokens_per_s(engine: HostedEngine, scale: Scale, *, adapter: str | None = None) -> float:
    """Of the largest batch, after one round that warms up."""
    rows = max(scale.batches)
    prompts = prompts_of(rows, scale.prompt)
    ask(engine, prompts, tokens=scale.tokens, adapter=adapter)
    seconds = timed(lambda: ask(engine, prompts, tokens=scale.tokens, adapter=adapter))
    return round(rows * scale.tokens / seconds, 1)


def with_adapter(backend: HostedBackend, place: Path, lora: Path, scale: Scale) -> dict[str, Any]:
    spec = spec_of("lora", place, backend="vllm", options=options(max_loras=1))
    engine = backend.load(spec, (str(lora),))
    try:
        return {
            "load_s": round(engine.load_s, 2),
            "base_tokens_s": tokens_per_s(engine, scale),
            "adapter_tokens_s": tokens_per_s(engine, scale, adapter=str(lora)),
        }
    finally:
        engine.close()


def slept(backend: HostedBackend, place: Path, level: int) -> dict[str, Any] | str:
    """Seconds to sleep and to wake, and the memory that the device had back meanwhile."""
    if not on_cuda():
        return NOT_ON_CPU
    own: dict[str, JsonValue] = {"enforce_eager": True, "kv_cache_gib": 4.0, "sleep_mode": True}
    engine = backend.load(spec_of(f"sleeper-{level}", place, backend="vllm", options=own), ())
    try:
        said = ask(engine, ["abc"], tokens=8)
        before = free_gib()
        sleep_s = timed(lambda: engine.sleep(level))
        asleep = free_gib()
        wake_s = timed(engine.wake)
        return {
            "load_s": round(engine.load_s, 2),
            "sleep_s": round(sleep_s, 2),
            "wake_s": round(wake_s, 2),
            "given_back_gib": difference(asleep, before),
            "same_text": ask(engine, ["abc"], tokens=8) == said,
        }
    except MusterError as error:
        return {"failed": str(error)[:300]}
    finally:
        engine.close()


def fused(backend: HostedBackend, places: list[Path], scale: Scale) -> dict[str, Any]:
    own = options(rule="average", models=[str(place) for place in places], serve="vllm", max_batch=4)
    engine = backend.load(spec_of("fused", places[0], backend="fusion", options=own), ())
    try:
        prompts = prompts_of(4, scale.prompt)
        ask(engine, prompts, tokens=scale.tokens)
        seconds = timed(lambda: ask(engine, prompts, tokens=scale.tokens))
        return {"load_s": round(engine.load_s, 2), "tokens_s": round(4 * scale.tokens / seconds, 1)}
    finally:
        engine.close()
