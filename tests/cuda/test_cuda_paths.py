"""Engines, fusions and merges on a GPU do what they do on the CPU, and give its memory back."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import JsonValue
from torch import Tensor

from aggregators.weights import MERGE_METHODS, merge_tensor
from benchmarks.cuda.checkpoints import checkpoint
from benchmarks.cuda.scale import DRY
from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.domain.terms import SamplingExtras
from orchestrator.errors import EngineCrashedError
from orchestrator.ports.engines import Engine, EngineEvent, Failed, Finished, GenerationRequest
from tests.tiny_models import tiny_adapter, tiny_mixture, tiny_model
from workers.backends.decoding.weighing import free_bytes
from workers.backends.registry import get_backend
from workers.backends.transformers import load_model
from workers.engine_host.backend import HostedBackend

pytestmark = pytest.mark.cuda

N = 9
MIB = 1 << 20
NEAR = 1e-3
"""Log probabilities of float32 models nearer than this are equal on two devices."""


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    """One line for all tests where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Products of float32 in float32, and no memory of an earlier test."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before
    gc.collect()
    torch.cuda.empty_cache()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [tiny_model(folder / f"model-{seed}", seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("adapters")
    return [str(tiny_adapter(folder / f"lora-{seed}", seed=seed)) for seed in range(2)]


def spec_of(
    model: Path,
    device: str,
    *,
    backend: str = "transformers",
    dtype: str = "float32",
    options: Mapping[str, JsonValue] | None = None,
) -> EngineSpec:
    return EngineSpec(
        id=f"on-{device}",
        backend=backend,
        model=str(model),
        dtype=dtype,
        max_model_len=256,
        options={"device": device, "max_batch": 4, **(options or {})},
    )


def load(spec: EngineSpec, adapters: Sequence[str] = ()) -> Engine:
    return get_backend(spec.backend).load(spec, adapters)


def drain(engine: Engine, requests: Sequence[GenerationRequest]) -> dict[str, EngineEvent]:
    """The last event of every request."""
    for request in requests:
        engine.submit(request)
    ended: dict[str, EngineEvent] = {}
    while len(ended) < len(requests):
        for event in engine.poll(1.0):
            if isinstance(event, Finished | Failed):
                ended[event.id] = event
    return ended


def request(number: int, sampling: Sampling, **more: Any) -> GenerationRequest:
    message = Message(role="user", content="abc" * (1 + number % 4))
    return GenerationRequest(str(number), (message,), sampling, **more)


def plain(n: int = N, *, tokens: int = 12) -> list[GenerationRequest]:
    return [request(number, Sampling(max_tokens=tokens)) for number in range(n)]


def texts(events: Mapping[str, EngineEvent]) -> dict[str, str]:
    found = {}
    for name, event in events.items():
        assert isinstance(event, Finished), event
        found[name] = event.text
    return found


def on_both(
    model: Path,
    requests: Sequence[GenerationRequest],
    adapters: Sequence[str] = (),
    **more: Any,
) -> tuple[dict[str, EngineEvent], dict[str, EngineEvent]]:
    """The same requests on the CPU and on the GPU."""
    found = []
    for device in ("cpu", "cuda"):
        engine = load(spec_of(model, device, **more), adapters)
        found.append(drain(engine, requests))
        engine.close()
    return found[0], found[1]


# ── engines ──────────────────────────────────────────────────────────────────────────────────────────


def test_texts_are_those_of_the_cpu_as_rows_join_and_leave(models: list[Path]) -> None:
    requests = [request(number, Sampling(max_tokens=4 + 3 * number)) for number in range(N)]
    on_cpu, on_cuda = on_both(models[0], requests)
    assert texts(on_cpu) == texts(on_cuda)


def test_adapters_mixed_in_one_batch_are_those_of_the_cpu(models: list[Path], adapters: list[str]) -> None:
    chosen = [None, *adapters]
    requests = [request(n, Sampling(max_tokens=12), adapter=chosen[n % 3]) for n in range(N)]
    on_cpu, on_cuda = on_both(models[0], requests, adapters)
    assert texts(on_cpu) == texts(on_cuda)


def test_what_is_sampled_stopped_shaped_and_streamed_is_that_of_the_cpu(models: list[Path]) -> None:
    extras = SamplingExtras(
        frequency_penalty=0.5, repetition_penalty=1.2, top_k=5, min_p=0.01, logit_bias=((5, 1.0),)
    )
    samplings = [
        Sampling(max_tokens=12, temperature=0.7, top_p=0.9, seed=3),
        Sampling(max_tokens=12, stop=("b", "g")),
        Sampling(max_tokens=12, extras=extras, temperature=0.5, seed=4),
    ]
    requests = [request(n, samplings[n % 3], priority=INTERACTIVE if n == 4 else 0) for n in range(N)]
    on_cpu, on_cuda = on_both(models[0], requests)
    assert texts(on_cpu) == texts(on_cuda)


def test_log_probabilities_are_those_of_the_cpu(models: list[Path]) -> None:
    on_cpu, on_cuda = on_both(models[0], [request(0, Sampling(max_tokens=6, logprobs=3))])
    ours, theirs = on_cuda["0"], on_cpu["0"]
    assert isinstance(ours, Finished)
    assert isinstance(theirs, Finished)
    for a, b in zip(ours.logprobs, theirs.logprobs, strict=True):
        assert [top.token for top in a.top] == [top.token for top in b.top]
        assert a.chosen.logprob == pytest.approx(b.chosen.logprob, abs=NEAR)


def test_auto_decodes_in_half_precision(models: list[Path]) -> None:
    """A float32 checkpoint takes half as much in bfloat16."""
    before = torch.cuda.memory_allocated()
    engine = load(spec_of(models[0], "cuda", dtype="auto"))
    took = torch.cuda.memory_allocated() - before
    stored = sum(path.stat().st_size for path in models[0].glob("*.safetensors"))
    assert took < 0.75 * stored
    assert set(texts(drain(engine, plain()))) == {str(n) for n in range(N)}
    engine.close()


def test_a_closed_engine_gives_all_of_its_memory_back(models: list[Path], adapters: list[str]) -> None:
    load(spec_of(models[0], "cuda")).close()
    before = torch.cuda.memory_allocated()
    engine = load(spec_of(models[0], "cuda"), adapters)
    drain(engine, plain())
    assert torch.cuda.memory_allocated() > before
    engine.close()
    assert torch.cuda.memory_allocated() <= before + MIB


def test_memory_that_torch_keeps_counts_as_free() -> None:
    device = torch.device("cuda", 0)
    before = free_bytes(device)
    held = torch.empty(64 * MIB, dtype=torch.uint8, device=device)
    assert free_bytes(device) <= before - 64 * MIB
    del held
    assert torch.cuda.memory_reserved() >= 64 * MIB
    assert free_bytes(device) >= before - MIB


def test_weights_come_straight_to_the_gpu_and_the_host_holds_no_copy(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, DRY.large, 0)
    model = load_model(spec_of(place, "cuda", dtype="auto"), torch.device("cuda", 0))
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"cuda"}


def wide_engine(folder: Path) -> Engine:
    """A row of 1,600 tokens takes it tens of megabytes."""
    model = tiny_model(folder / "wide", hidden=512, max_len=2048)
    options: dict[str, JsonValue] = {"max_batch": 64, "max_batch_tokens": 64 * 2048}
    return load(spec_of(model, "cuda", options=options).model_copy(update={"max_model_len": 2048}))


def wide_requests(n: int) -> list[GenerationRequest]:
    message = Message(role="user", content="abcd" * 400)
    return [GenerationRequest(str(number), (message,), Sampling(max_tokens=8)) for number in range(n)]


@contextmanager
def room_of(mib: int) -> Iterator[None]:
    """Inside, this process may take so much more of the GPU's memory than it holds."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + mib * MIB) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_memory_that_runs_out_makes_the_batch_smaller_and_loses_nothing(tmp_path: Path) -> None:
    """64 rows take more than 600 MB of cache alone."""
    engine = wide_engine(tmp_path)
    with room_of(400):
        assert len(texts(drain(engine, wide_requests(64)))) == 64
    engine.close()


def test_an_engine_without_room_for_one_row_is_told_of_and_its_memory_is_back(tmp_path: Path) -> None:
    before = torch.cuda.memory_allocated()
    engine = wide_engine(tmp_path)
    with room_of(0), pytest.raises(EngineCrashedError):
        drain(engine, wide_requests(1))
    gc.collect()
    assert torch.cuda.memory_allocated() <= before + MIB


def test_a_child_swaps_engines_and_its_memory_comes_back(models: list[Path]) -> None:
    backend = HostedBackend("transformers", n_spares=0)
    try:
        pids, free = set(), []
        for model in (*models, *models):
            engine = backend.load(spec_of(model, "cuda"), ())
            assert engine.memory is not None
            assert engine.memory.cuda_free_gib is not None
            pids.add(engine.pid)
            free.append(engine.memory.cuda_free_gib)
            texts(drain(engine, plain(3)))
            engine.close()
        assert len(pids) == 1
        assert min(free[1:]) > free[0] - 0.75
    finally:
        backend.close()


# ── fusions ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rule", ["average", "contrast", "upscale", "dynamic"])
def test_a_fusion_writes_what_it_writes_on_the_cpu(
    models: list[Path], adapters: list[str], rule: str
) -> None:
    large, base, expert = map(str, models)
    over_large: JsonValue = {"model": large, "adapter": adapters[0]}
    members: dict[str, dict[str, JsonValue]] = {
        "average": {"models": [large, base, expert]},
        "contrast": {"weak": base},
        "upscale": {"base": base, "experts": [expert]},
        "dynamic": {"base": large, "experts": [over_large]},
    }
    options: dict[str, JsonValue] = {"rule": rule, **members[rule]}
    on_cpu, on_cuda = on_both(models[0], plain(), backend="fusion", options=options)
    assert texts(on_cpu) == texts(on_cuda)


def test_a_mixture_of_experts_under_another_routing_writes_what_it_writes_on_the_cpu(tmp_path: Path) -> None:
    model = tiny_mixture(tmp_path / "mixture")
    options: dict[str, JsonValue] = {"rule": "contrast", "weak": {"experts_per_token": 1, "ranks": [2]}}
    on_cpu, on_cuda = on_both(model, plain(4), backend="fusion", options=options)
    assert texts(on_cpu) == texts(on_cuda)


# ── merges ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["model.layers.0.mlp.down_proj.weight", "model.norm.weight"])
@pytest.mark.parametrize("method", sorted(MERGE_METHODS))
def test_a_merge_is_that_of_the_cpu(method: str, name: str) -> None:
    row = MERGE_METHODS.find(method)
    generator = torch.Generator().manual_seed(0)
    shape = (48, 32) if "proj" in name else (48,)
    given = [
        torch.randn(shape, generator=generator).to(torch.bfloat16)
        for _ in range((row.most or 2) + row.needs_base)
    ]
    here = merged(method, given, name)
    there = merged(method, [tensor.cuda() for tensor in given], name)
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=2e-2, atol=2e-2)


def merged(method: str, given: Sequence[Tensor], name: str) -> Tensor:
    base, models = (given[0], given[1:]) if MERGE_METHODS.find(method).needs_base else (None, given)
    return merge_tensor(method, base, models, {}, name=name)
