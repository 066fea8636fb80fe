"""Fusions of random tiny models: texts and traces as recomputed without a cache, laws, costs, refusals."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from aggregators.logits import Fused
from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.fusions import FusionTrace
from orchestrator.domain.queries import Message
from orchestrator.errors import EngineLoadError, IncompatibleModelsError
from orchestrator.ports.engines import Engine, EngineEvent, Failed, Finished, GenerationRequest
from tests.dense_fusion import DenseFusion, DenseMember, DenseText
from tests.tiny_models import tiny_adapter, tiny_mixture, tiny_model
from workers.backends import fusion_loading
from workers.backends.decoding.fused import FusedSource
from workers.backends.fusion import FusionOptions, parts_of
from workers.backends.registry import get_backend

OTHER_TEMPLATE = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}="
N_TOKENS = 12
Member = DenseMember


class Files(NamedTuple):
    large: Path
    base: Path
    tuned: Path
    one: Path
    two: Path
    mixture: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("fusion")
    torch.set_num_threads(1)
    return Files(
        tiny_model(folder / "large", seed=1),
        tiny_model(folder / "base", seed=2),
        tiny_model(folder / "tuned", seed=3),
        tiny_adapter(folder / "one", seed=1),
        tiny_adapter(folder / "two", seed=2, rank=2, targets=("o_proj", "v_proj")),
        tiny_mixture(folder / "mixture"),
    )


def load(large: Path, options: dict[str, Any], adapters: Sequence[str] = (), **fields: Any) -> Engine:
    spec = EngineSpec(
        id="fused",
        backend="fusion",
        model=str(large),
        dtype="float32",
        max_model_len=fields.pop("max_model_len", 200),
        options={"threads": 1, **options},
        **fields,
    )
    return get_backend("fusion").load(spec, adapters)


def ask(
    name: str, content: str | None = None, *, max_tokens: int = N_TOKENS, trace: bool = True, **sampling: Any
) -> GenerationRequest:
    messages = (Message(role="user", content=content or name),)
    return GenerationRequest(name, messages, Sampling(max_tokens=max_tokens, trace=trace, **sampling))


def run(engine: Engine, requests: Sequence[GenerationRequest]) -> dict[str, EngineEvent]:
    for request in requests:
        engine.submit(request)
    ends: dict[str, EngineEvent] = {}
    while len(ends) < len(requests):
        ends |= {event.id: event for event in engine.poll(1.0)}
    return ends


def finished(end: EngineEvent) -> Finished:
    assert isinstance(end, Finished), end
    return end


def trace_of(end: EngineEvent) -> FusionTrace:
    trace = finished(end).fusion
    assert trace is not None
    return trace


def texts(engine: Engine, requests: Sequence[GenerationRequest]) -> dict[str, str]:
    return {name: finished(end).text for name, end in run(engine, requests).items()}


# ── as recomputed without a cache ────────────────────────────────────────────────────────────────────


def cases(f: Files) -> dict[str, tuple[Path, dict[str, Any], DenseFusion]]:
    """Large model, options, and the same by hand: several models (b), LoRA experts of one base (a)."""
    prompted = {"model": str(f.base), "chat_template": OTHER_TEMPLATE, "system_prompt": "be brief"}
    lora = [{"model": str(f.large), "adapter": str(path)} for path in (f.one, f.two)]
    of_lora = [Member(f.large, f.one), Member(f.large, f.two)]
    return {
        "upscale-b": (
            f.large,
            {"rule": "upscale", "base": prompted, "experts": [str(f.tuned)], "betas": [1.5]},
            DenseFusion(
                "upscale",
                {
                    "large": [Member(f.large)],
                    "experts": [Member(f.tuned)],
                    "base": [Member(f.base, None, OTHER_TEMPLATE, "be brief")],
                },
                {"betas": [1.5]},
            ),
        ),
        "upscale-a": (
            f.large,
            {"rule": "upscale", "base": str(f.large), "experts": lora, "betas": [1, 0.5]},
            DenseFusion(
                "upscale",
                {"large": [Member(f.large)], "experts": of_lora, "base": [Member(f.large)]},
                {"betas": [1, 0.5]},
            ),
        ),
        "dynamic-b": (
            f.large,
            {
                "rule": "dynamic",
                "base": str(f.base),
                "experts": [str(f.tuned), {"model": str(f.base), "adapter": str(f.one)}],
            },
            DenseFusion(
                "dynamic",
                {
                    "large": [Member(f.large)],
                    "experts": [Member(f.tuned), Member(f.base, f.one)],
                    "base": [Member(f.base)],
                },
            ),
        ),
        "dynamic-a": (
            f.large,
            {"rule": "dynamic", "base": str(f.large), "experts": lora},
            DenseFusion(
                "dynamic", {"large": [Member(f.large)], "experts": of_lora, "base": [Member(f.large)]}
            ),
        ),
        "contrast-b": (
            f.large,
            {"rule": "contrast", "weak": str(f.base), "b": 0.7, "tau_w": 1.5},
            DenseFusion(
                "contrast", {"large": [Member(f.large)], "weak": [Member(f.base)]}, {"b": 0.7, "tau_w": 1.5}
            ),
        ),
        "contrast-a": (
            f.large,
            {"rule": "contrast", "weak": {"model": str(f.large), "adapter": str(f.one)}},
            DenseFusion("contrast", {"large": [Member(f.large)], "weak": [Member(f.large, f.one)]}),
        ),
        "contrast-mixture": (
            f.mixture,
            {"rule": "contrast", "weak": {"experts_per_token": 1, "ranks": [2]}},
            DenseFusion("contrast", {"large": [Member(f.mixture)], "weak": [Member(f.mixture, ranks=(2,))]}),
        ),
        "average-b": (
            f.large,
            {"rule": "average", "models": [str(f.base), str(f.tuned)], "mean": "prob"},
            DenseFusion(
                "average",
                {"models": [Member(f.large), Member(f.base), Member(f.tuned)]},
                {"mean": "prob"},
            ),
        ),
        "average-a": (
            f.large,
            {"rule": "average", "models": [*lora, str(f.large)], "weights": [0.5, 0.3, 0.2]},
            DenseFusion("average", {"models": [*of_lora, Member(f.large)]}, {"weights": [0.5, 0.3, 0.2]}),
        ),
    }


NAMES = (
    *("upscale-b", "upscale-a", "dynamic-b", "dynamic-a", "contrast-b"),
    *("contrast-a", "contrast-mixture", "average-b", "average-a"),
)
PROMPTS = [f"q{i} " + "abc " * (i % 4) for i in range(12)]


def assert_same(end: EngineEvent, dense: DenseText) -> None:
    trace = trace_of(end)
    assert dense.is_sure, "a near tie: take another seed"
    assert [step.token_id for step in trace.steps] == dense.ids
    assert finished(end).text == dense.text
    for step, alphas, loss in zip(trace.steps, dense.alphas, dense.losses, strict=False):
        ours = step.alpha if isinstance(step.alpha, tuple) else (step.alpha,)
        assert ours == pytest.approx(tuple(alphas), abs=1e-6)
        assert step.loss == pytest.approx(loss, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_greedy_text_and_trace_are_those_of_a_recomputation(files: Files, name: str) -> None:
    """Twelve requests of several lengths; with room for eight, the rest join while others end."""
    large, options, dense = cases(files)[name]
    requests = [ask(prompt, max_tokens=3 + 2 * (at % 4)) for at, prompt in enumerate(PROMPTS)]

    ends = run(load(large, {**options, "max_batch": 8}), requests)

    for request in requests:
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        assert_same(ends[request.id], dense.greedy(messages, max_tokens=request.sampling.max_tokens))


def test_rules_that_choose_nothing_trace_tokens_only(files: Files) -> None:
    large, options, _ = cases(files)["contrast-b"]
    trace = trace_of(run(load(large, options), [ask("x")])["x"])
    assert {(step.alpha, step.loss) for step in trace.steps} == {(None, None)}


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def plain(files: Files) -> dict[Path, dict[str, str]]:
    """Texts of members alone."""
    found = {}
    for path in (files.large, files.tuned):
        spec = EngineSpec(id="p", backend="transformers", model=str(path), dtype="float32", max_model_len=200)
        found[path] = texts(get_backend("transformers").load(spec, ()), [ask(prompt) for prompt in PROMPTS])
    return found


def test_laws_hold_for_whole_texts(files: Files, plain: dict[Path, dict[str, str]]) -> None:
    f, requests = files, [ask(prompt) for prompt in PROMPTS]
    off = {"rule": "upscale", "base": str(f.base), "experts": [str(f.tuned)], "betas": [0]}
    untuned = [
        {"rule": rule, "base": str(f.base), "experts": [str(f.base)]} for rule in ("upscale", "dynamic")
    ]
    itself = {"rule": "contrast", "weak": str(f.large)}
    only_best = {"rule": "contrast", "weak": str(f.base), "a": 1}
    alone = {"rule": "average", "models": [str(f.large)]}
    for options in (off, *untuned, itself, only_best, alone):
        assert texts(load(f.large, options), requests) == plain[f.large], options

    for rule in ("upscale", "dynamic"):
        same = {"rule": rule, "base": str(f.large), "experts": [str(f.tuned)]}
        ends = run(load(f.large, same), requests)
        assert {name: finished(end).text for name, end in ends.items()} == plain[f.tuned]
        if rule == "dynamic":
            steps = [step for end in ends.values() for step in trace_of(end).steps]
            assert {step.alpha for step in steps} == {1.0}
            assert max(step.loss or 0 for step in steps) < 1e-9


def test_an_expert_without_updates_leaves_alpha_0(files: Files) -> None:
    options = {"rule": "dynamic", "base": str(files.base), "experts": [str(files.base)]}
    trace = trace_of(run(load(files.large, options), [ask("x")])["x"])
    assert {step.alpha for step in trace.steps} == {0.0}
    assert trace.passes == {"large": N_TOKENS, "experts[0]": N_TOKENS, "base": 0}


# ── what a step costs ────────────────────────────────────────────────────────────────────────────────


def fed_tokens(
    monkeypatch: pytest.MonkeyPatch, large: Path, options: dict[str, Any]
) -> dict[str, list[tuple[int, int]]]:
    """Rows and tokens of each pass of each model, while three prompts of one batch are answered."""
    fed: dict[str, list[tuple[int, int]]] = {}
    load_model = fusion_loading.load_model

    def watched(spec: EngineSpec, device: Any) -> Any:
        model, name = load_model(spec, device), Path(spec.model).name
        model.register_forward_pre_hook(
            lambda _, __, given: fed.setdefault(name, []).append(tuple(given["input_ids"].shape)),
            with_kwargs=True,
        )
        return model

    monkeypatch.setattr(fusion_loading, "load_model", watched)
    monkeypatch.setattr(fusion_loading, "prove_cache", lambda *_, **__: None)
    run(
        load(large, options),
        [ask(name, max_tokens=6) for name in ("a", "axxxxx", "hxxxxxxxxxxxxxx")],
    )
    return fed


def test_each_step_after_the_prompt_feeds_one_token_a_row_and_member(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`<u>hxxxxxxxxxxxxxx>` has 19 characters, one token each; six tokens come out."""
    options = {"rule": "upscale", "base": str(files.base), "experts": [str(files.tuned)], "betas": [0.5]}
    one_model = [(3, 19), *[(3, 1)] * 5]
    assert fed_tokens(monkeypatch, files.large, options) == {
        "large": one_model,
        "tuned": one_model,
        "base": one_model,
    }


def test_lora_experts_of_one_base_are_rows_of_one_pass(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Base and two experts: three rows a request; the large model is its base, and costs nothing more."""
    large, options, _ = cases(files)["dynamic-a"]
    assert fed_tokens(monkeypatch, large, options) == {"large": [(9, 19), *[(9, 1)] * 5]}


def test_cost_is_told_without_a_trace_too(files: Files) -> None:
    large, options, _ = cases(files)["dynamic-a"]
    trace = trace_of(run(load(large, options), [ask("x", trace=False)])["x"])
    assert trace.steps == ()
    assert trace.rule == "dynamic"
    assert trace.passes == {"large": N_TOKENS, "experts[0]": N_TOKENS, "experts[1]": N_TOKENS, "base": 0}
    assert trace.seconds > 0


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────


def test_sampled_text_depends_on_the_seed_and_not_on_mates(files: Files) -> None:
    large, options, _ = cases(files)["dynamic-b"]
    engine = load(large, options)
    requests = [ask(p, temperature=1.2, top_p=0.9, seed=at) for at, p in enumerate(PROMPTS)]
    together = texts(engine, requests)
    for request in requests[::4]:
        assert texts(engine, [request]) == {request.id: together[request.id]}
    other = requests[0]._replace(sampling=requests[0].sampling.model_copy(update={"seed": 99}))
    assert texts(engine, [other]) != texts(engine, requests[:1])


def test_the_end_of_any_member_ends_the_text(files: Files, tmp_path: Path) -> None:
    """The expert ends with a token that the large model's configuration does not name."""
    options = {"rule": "upscale", "base": str(files.base), "experts": [str(files.tuned)]}
    first = trace_of(run(load(files.large, options), [ask("a")])["a"]).steps[3].token_id
    ending = tiny_model(tmp_path / "ending", seed=3)
    config = ending / "generation_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "eos_token_id": [1, first]}))

    end = finished(run(load(files.large, {**options, "experts": [str(ending)]}), [ask("a")])["a"])

    assert end.finish_reason is FinishReason.STOP
    assert trace_of(end).steps[-1].token_id == first
    assert end.usage.completion_tokens == len(trace_of(end).steps) <= 4


def test_requests_may_name_an_adapter_of_the_large_model(files: Files) -> None:
    """Beside experts that are adapters of the same weights: numbers do not get mixed up."""
    lora = {"model": str(files.large), "adapter": str(files.two)}
    options = {"rule": "upscale", "base": str(files.large), "experts": [lora]}
    engine = load(files.large, options, [str(files.one)])
    named = ask("x")._replace(adapter=str(files.one))

    text = texts(engine, [named, ask("y")])["x"]

    dense = DenseFusion(
        "upscale",
        {
            "large": [Member(files.large, files.one)],
            "experts": [Member(files.large, files.two)],
            "base": [Member(files.large)],
        },
    )
    assert text == dense.greedy([{"role": "user", "content": "x"}], max_tokens=N_TOKENS).text


def test_context_is_the_tightest_of_all_members(files: Files, tmp_path: Path) -> None:
    short = tiny_model(tmp_path / "short", seed=5, max_len=32)
    engine = load(files.large, {"rule": "contrast", "weak": str(short)})
    ends = run(engine, [ask("long", "word " * 6), ask("fits", "x")])
    assert isinstance(ends["long"], Failed)
    assert ends["long"].error_code == "context_exceeded"
    assert isinstance(ends["fits"], Finished)


def test_rows_start_anew_when_memory_runs_out(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    large, options, _ = cases(files)["dynamic-b"]
    requests = [ask(prompt) for prompt in PROMPTS]
    calm = run(load(large, options), requests)
    step, n_steps = FusedSource.next_logits, 0

    def once_short(self: FusedSource, batch: Any) -> Fused:
        nonlocal n_steps
        n_steps += 1
        if n_steps == 6:
            raise torch.OutOfMemoryError("out of memory")
        return step(self, batch)

    monkeypatch.setattr(FusedSource, "next_logits", once_short)
    ends = run(load(large, options), requests)

    for name in calm:
        chosen = [(step.token_id, step.alpha) for step in trace_of(ends[name]).steps]
        assert chosen == [(step.token_id, step.alpha) for step in trace_of(calm[name]).steps]


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "param", "says"),
    [
        ({}, "options.rule", "field required"),
        ({"rule": "upscle"}, "options.rule", "Did you mean 'upscale'"),
        ({"rule": "upscale"}, "options.base", "needs base"),
        ({"rule": "upscale", "base": "b"}, "options.experts", "needs experts"),
        ({"rule": "upscale", "base": "b", "experts": []}, "options.experts", "needs experts"),
        ({"rule": "upscale", "base": "b", "experts": ["e"], "weak": "w"}, "options.weak", "has no weak"),
        (
            {"rule": "upscale", "base": "b", "experts": ["e"], "betas": [1, 2]},
            "options.rule",
            "2 numbers for 1",
        ),
        ({"rule": "upscale", "base": "b", "experts": ["e"], "mode": "one"}, "options.mode", "not permitted"),
        ({"rule": "dynamic", "base": "b", "experts": ["e"], "mode": "x"}, "options.mode", "mode"),
        ({"rule": "contrast", "weak": {"experts_per_token": 1, "ranks": [0]}}, "options.weak", "ranks"),
        ({"rule": "contrast", "weak": {"ranks": [2]}}, "options.weak.experts_per_token", "required"),
        (
            {"rule": "contrast", "weak": {"model": "w", "adaptor": "x"}},
            "options.weak.adaptor",
            "not permitted",
        ),
        ({"rule": "average", "models": ["m"], "weights": [0.5, 0.6]}, "options.weights", "sum to 1.1"),
        ({"rule": "average", "models": ["m"], "weights": [1, 0], "serv": 1}, "options.serv", "not permitted"),
        ({"rule": ["upscale"]}, "options.rule", "string"),
    ],
)
def test_options_that_do_not_make_a_fusion(
    files: Files, options: dict[str, Any], param: str, says: str
) -> None:
    with pytest.raises(EngineLoadError, match=says) as caught:
        load(files.large, options)
    assert caught.value.param == param
    assert caught.value.is_lasting


def test_too_few_weights_for_the_large_model_and_the_others(files: Files) -> None:
    """The large model comes first where `models` does not name it."""
    options = {"rule": "average", "models": [str(files.base), str(files.tuned)], "weights": [0.5, 0.5]}
    with pytest.raises(EngineLoadError, match="2 numbers for 3 models"):
        load(files.large, options)


def test_another_vocabulary_is_refused_before_any_weights_are_read(files: Files, tmp_path: Path) -> None:
    """Five of the tokens that differ are named; the weights of both are broken, and nobody notices."""
    other = tiny_model(tmp_path / "other", seed=2)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    letters = list("abcdefg")
    numbers = [vocab[letter] for letter in letters]
    vocab.update(zip(letters, reversed(numbers), strict=True))
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    (other / "model.safetensors").write_bytes(b"broken")

    with pytest.raises(IncompatibleModelsError, match="6 of 99 token ids differ") as caught:
        load(files.large, {"rule": "contrast", "weak": str(other)})
    assert caught.value.message.count(" is '") == 5
    assert "13 is 'a' and 'g'" in caught.value.message


def test_a_dense_model_has_no_other_routing(files: Files) -> None:
    with pytest.raises(EngineLoadError, match="llama models have no routers"):
        load(files.large, {"rule": "contrast", "weak": {"experts_per_token": 1, "ranks": [2]}})


def test_ranks_beyond_the_experts(files: Files) -> None:
    with pytest.raises(EngineLoadError, match=r"rank 9.*has 4 experts"):
        load(files.mixture, {"rule": "contrast", "weak": {"experts_per_token": 1, "ranks": [9]}})


@pytest.mark.parametrize(
    "weak", [{"model": "nowhere/at/all"}, {"model": "org/model"}, {"model": "{large}", "adapter": "/nowhere"}]
)
def test_members_that_are_not_there(files: Files, weak: dict[str, str]) -> None:
    places = {key: value.format(large=files.large) for key, value in weak.items()}
    with pytest.raises(EngineLoadError, match=r"nowhere|revision"):
        load(files.large, {"rule": "contrast", "weak": places})


def test_parts_are_named_as_written_and_nonsense_is_left_to_the_check() -> None:
    options: dict[str, Any] = {
        "base": "b",
        "experts": ["e", {"model": "e", "adapter": "l", "revision": "main"}, 5, {"adapter": "x"}],
        "weak": {"experts_per_token": 1},
        "models": "m",
    }
    found = [tuple(part) for part in parts_of(options)]
    assert found == [("b", None, None), ("e", None, None), ("e", "l", "main"), ("m", None, None)]


def test_rule_options_stand_beside_the_rule() -> None:
    given = {"rule": "contrast", "weak": "w", "a": 0.2, "threads": 2}
    options = FusionOptions.model_validate(given)
    assert options.params == {"a": 0.2}
    assert options.threads == 2
