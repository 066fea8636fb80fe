"""Fusions in real vLLM: what they write, and what they tell of it, is what a dense recomputation gives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.domain.terms import StructuredOutput
from orchestrator.errors import BackendError, EngineLoadError
from orchestrator.ports.engines import Failed, Finished, Tokens
from tests.dense_fusion import DenseMember
from tests.tiny_models import tiny_model
from tests.vllm.engines import MODELS, end, events, zoo_questions
from tests.vllm.fusions import LARGE, Fusion, answers, half_adapter, request, require_dense, trace_of
from workers.backends.fusion import FusionBackend
from workers.engine_host.backend import HostedBackend
from workers.engine_host.engine import HostedEngine

LORA = LARGE._replace(adapter=MODELS / "gen-lora")
SPELLED = LARGE._replace(chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}=")
TOLD = SPELLED._replace(
    chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}\n=>", system_prompt="Please: "
)
SMALL, TUNED, OTHER = (DenseMember(MODELS / name) for name in ("arith-a", "arith-b", "reverse"))
LONG = [
    f"Please spell the word '{('abcdefghij' * 13)[number : number + 115 + number % 4]}' backwards."
    for number in range(8)
]
"""Prompts of 123 to 128 tokens in their rows: a cache block is 128, and ends while outputs are written."""


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> DenseMember:
    folder = half_adapter(MODELS / "gen-lora", tmp_path_factory.mktemp("adapter") / "half")
    return LARGE._replace(adapter=folder)


def rows(rule: str, half: DenseMember) -> Fusion:
    """Every member is a row in vLLM: one base, its LoRA experts, and other prompts."""
    if rule == "upscale":
        members = {"large": [LARGE], "experts": [LORA, half], "base": [TOLD]}
        return Fusion(rule, members, {"betas": [1.2, 0.4]})
    if rule == "dynamic":
        return Fusion(rule, {"large": [LARGE], "experts": [LORA, half], "base": [SPELLED]})
    if rule == "contrast":
        return Fusion(rule, {"large": [LARGE], "weak": [half]}, {"b": 0.7})
    return Fusion(rule, {"models": [LARGE, LORA, half]}, {"mean": "prob", "weights": [0.5, 0.3, 0.2]})


def pair(rule: str) -> Fusion:
    """The large model is in vLLM, the small ones are beside it."""
    if rule == "upscale":
        return Fusion(rule, {"large": [LARGE], "experts": [TUNED], "base": [SMALL]})
    if rule == "dynamic":
        return Fusion(rule, {"large": [LARGE], "experts": [TUNED, OTHER], "base": [SMALL]})
    if rule == "contrast":
        return Fusion(rule, {"large": [LARGE], "weak": [SMALL]})
    return Fusion(rule, {"models": [LARGE, OTHER, LORA]})


@pytest.fixture(scope="module")
def engine(backend: HostedBackend, half: DenseMember) -> Iterator[HostedEngine]:
    """Four rows a question, and a cache that holds the prompts of eight questions, not their outputs."""
    engine = backend.load(rows("dynamic", half).spec(kv_cache_gib=0.0135), ())
    yield engine
    engine.close()


@pytest.mark.parametrize("rule", ["upscale", "dynamic", "contrast", "average"])
@pytest.mark.parametrize("kind", ["rows", "pair"])
def test_fused_texts_and_traces_are_those_of_a_dense_recomputation(
    backend: HostedBackend, half: DenseMember, rule: str, kind: str
) -> None:
    fusion = rows(rule, half) if kind == "rows" else pair(rule)
    engine = backend.load(fusion.spec(), ())
    questions = zoo_questions(9)
    found = answers(engine, questions)
    engine.close()
    require_dense(fusion, questions, found)
    assert set(trace_of(found[0]).passes.values()) == {found[0].usage.completion_tokens}


def test_group_that_is_preempted_starts_again_and_writes_the_same(
    engine: HostedEngine, half: DenseMember
) -> None:
    """Eight questions of four rows are admitted together; when rows want a second block there is none."""
    before = engine.stats()
    found = answers(engine, LONG, max_tokens=12)
    after = engine.stats()
    assert after.n_restarts > before.n_restarts
    lost = [trace_of(end).passes["large"] - end.usage.completion_tokens for end in found]
    assert sum(lost) == after.n_restarts - before.n_restarts
    assert (after.n_running, after.n_waiting, after.kv_cache_usage) == (0, 0, 0.0)
    require_dense(rows("dynamic", half), LONG, found, max_tokens=12)


def test_seeded_texts_are_those_of_the_fusion_in_this_process(
    engine: HostedEngine, half: DenseMember
) -> None:
    """Also where groups start again: they go on with their draws."""
    sampling = {"temperature": 0.8, "top_p": 0.9, "max_tokens": 12}
    questions = [*LONG, *zoo_questions(2)]
    found = [[end.text for end in answers(engine, questions, seed=seed, **sampling)] for seed in (5, 6)]
    assert found[0] != found[1]
    assert engine.stats().n_restarts > 0
    spec = rows("dynamic", half).spec(serve="transformers")
    del spec.options["kv_cache_gib"]
    here = FusionBackend().load(spec, ())
    assert [end.text for end in answers(here, questions, seed=5, **sampling)] == found[0]
    here.close()


def test_text_is_streamed_and_ends_at_a_stop_string(engine: HostedEngine) -> None:
    question = "Please spell 'xngoby' backwards."
    whole = answers(engine, [question])[0]
    assert whole.finish_reason is FinishReason.STOP
    engine.submit(request("q", question, priority=INTERACTIVE))
    *pieces, last = events(engine)
    assert isinstance(last, Finished)
    assert len(pieces) > 1
    assert "".join(piece.text for piece in pieces if isinstance(piece, Tokens)) == last.text == whole.text
    word = whole.text[2:4]
    stopped = answers(engine, [question], stop=(word,))[0]
    assert (stopped.text, stopped.finish_reason) == (whole.text.split(word)[0], FinishReason.STOP)
    short = answers(engine, [question], max_tokens=2, trace=False)[0]
    assert (short.text, short.finish_reason) == (whole.text[:2], FinishReason.LENGTH)
    assert trace_of(short).steps == ()


def test_what_a_fusion_cannot_do_fails_its_request_only(engine: HostedEngine) -> None:
    for wanted in ({"logprobs": 2}, {"structured_output": StructuredOutput(choice=("a", "b"))}):
        refused = end(engine, request("q", "x", **wanted))
        assert isinstance(refused, Failed)
        assert refused.error_code == "unsupported"
    too_long = end(engine, request("q", "z" * 250))
    assert isinstance(too_long, Failed)
    assert too_long.error_code == "context_exceeded"
    stranger = end(engine, request("q", "x")._replace(adapter="/no/such"))
    assert isinstance(stranger, Failed)
    assert stranger.error_code == "unknown_name"
    assert isinstance(end(engine, request("q", "x")), Finished)


def test_running_and_waiting_questions_are_aborted(engine: HostedEngine) -> None:
    aborted = {("a", "aborted"), ("b", "aborted")}
    for _ in range(5):  # on a slow machine one may end by itself before it is told to
        for name in ("a", "b"):
            engine.submit(request(name, LONG[0], max_tokens=100, priority=INTERACTIVE, temperature=2.0))
        while not (seen := engine.poll(0.1)):
            pass
        assert isinstance(seen[0], Tokens)
        engine.abort("a")
        engine.abort("b")
        n_ended = sum(not isinstance(event, Tokens) for event in seen)
        found = [*seen, *events(engine, 2 - n_ended)]
        ends = {(event.id, event.error_code) for event in found if isinstance(event, Failed)}
        assert ends <= aborted
        if ends == aborted:
            break
    assert ends == aborted
    assert engine.stats().n_running == 0
    assert engine.stats().kv_cache_usage == 0.0


def test_fusions_that_cannot_work_are_refused_at_load(
    backend: HostedBackend, half: DenseMember, tmp_path: Path
) -> None:
    fusion = rows("upscale", half)
    stranger = DenseMember(tiny_model(tmp_path / "stranger"))
    cases = [
        (fusion.spec(kv_cache_gib=0.002), "cache holds"),
        (Fusion("contrast", {"large": [LARGE], "weak": [stranger]}).spec(), "another vocabulary"),
        (fusion.spec(max_batch_tokens=64), "max_batch_tokens"),
        (fusion.spec(speculative_config={"method": "ngram"}), "speculative_config"),
    ]
    for spec, reason in cases:
        with pytest.raises((EngineLoadError, BackendError), match=reason):
            backend.load(spec, ())
