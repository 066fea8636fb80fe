"""What a vLLM engine says: the same as the in-process backend, and more where vLLM can do more."""

import json
import math
from collections.abc import Iterator

import pytest

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.domain.experts import ThoughtMarks
from orchestrator.domain.terms import StructuredOutput
from orchestrator.ports.engines import Failed, Finished, Tokens
from tests.vllm.engines import (
    FOREVER,
    MODELS,
    ask,
    by_transformers,
    end,
    events,
    finished,
    spec,
    texts,
    zoo_questions,
)
from workers.engine_host.backend import HostedBackend
from workers.engine_host.engine import HostedEngine

TEMPLATE = "{% for m in messages %}{{ m['content'] | lower }}{% endfor %}\n=>"


@pytest.fixture(scope="module")
def engine(backend: HostedBackend) -> Iterator[HostedEngine]:
    engine = backend.load(spec("reverse", structured_output_backend="xgrammar"), ())
    yield engine
    engine.close()


def test_greedy_texts_are_those_of_the_transformers_backend(engine: HostedEngine) -> None:
    questions = zoo_questions(40)
    assert texts(engine, questions) == by_transformers("reverse", questions)


def test_expert_knows_its_skill(engine: HostedEngine) -> None:
    end = finished(engine, ask("q", "Please spell 'xngoby' backwards."))
    assert (end.text, end.finish_reason) == ("ybognx", FinishReason.STOP)
    # Each letter is a token, and so is the end.
    assert end.usage.completion_tokens == 7


def test_pieces_of_a_streamed_text_make_up_the_text(engine: HostedEngine) -> None:
    engine.submit(ask("q", priority=INTERACTIVE))
    *pieces, last = events(engine)
    assert isinstance(last, Finished)
    assert len(pieces) > 1
    assert "".join(piece.text for piece in pieces if isinstance(piece, Tokens)) == last.text == "ybognx"


def test_thoughts_between_marks_are_told_apart_also_in_a_stream(backend: HostedBackend) -> None:
    """It writes "ybognx": a thought that `y` opens and `o` closes."""
    engine = backend.load(spec("reverse", marks=ThoughtMarks(open="y", close="o")), ())
    engine.submit(ask("q", priority=INTERACTIVE))
    *pieces, last = events(engine)
    engine.close()
    assert isinstance(last, Finished)
    assert (last.text, last.reasoning) == ("gnx", "b")
    assert "".join(piece.text for piece in pieces if isinstance(piece, Tokens)) == "gnx"


def test_logprobs_are_those_of_the_model(engine: HostedEngine) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    end = finished(engine, ask("q", logprobs=3))
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "reverse")
    model = AutoModelForCausalLM.from_pretrained(MODELS / "reverse", dtype=torch.float32)
    question = [{"role": "user", "content": "Please spell 'xngoby' backwards."}]
    prompt = tokenizer.apply_chat_template(question, tokenize=False)
    ids = tokenizer.encode(prompt + end.text, add_special_tokens=False, return_tensors="pt")
    n_output = end.usage.completion_tokens
    wanted = torch.log_softmax(model(ids).logits[0, -n_output:].float(), dim=-1).topk(3).values
    found = torch.tensor([[candidate.logprob for candidate in token.top] for token in end.logprobs])
    assert torch.allclose(found, wanted, atol=1e-3)
    assert "".join(token.chosen.token for token in end.logprobs[:-1]) == end.text
    assert all(math.isclose(token.chosen.logprob, token.top[0].logprob) for token in end.logprobs)


def test_choice_is_one_of_those_offered(engine: HostedEngine) -> None:
    choice = StructuredOutput(choice=("yes", "no", "ybognz"))
    assert finished(engine, ask("q", output=choice)).text == "ybognz"


def test_output_matches_the_regex(engine: HostedEngine) -> None:
    assert finished(engine, ask("q", output=StructuredOutput(regex="ybo[0-9]{2}"))).text[:3] == "ybo"
    found = finished(engine, ask("q", output=StructuredOutput(regex="[0-9]{4}")))
    assert found.text.isdigit()
    assert len(found.text) == 4


def test_output_is_json_of_the_schema(engine: HostedEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"right": {"type": "boolean"}, "letter": {"enum": ["A", "B"]}},
        "required": ["right", "letter"],
        "additionalProperties": False,
    }
    found = finished(engine, ask("q", max_tokens=64, output=StructuredOutput(json_schema=schema)))
    value = json.loads(found.text)
    assert isinstance(value["right"], bool)
    assert value["letter"] in ("A", "B")


def test_broken_regex_fails_its_request_only(engine: HostedEngine) -> None:
    failed = end(engine, ask("q", output=StructuredOutput(regex="[0-9")))
    assert isinstance(failed, Failed)
    assert failed.error_code == "invalid_request"
    assert finished(engine, ask("q")).text == "ybognx"


def test_running_request_is_aborted(engine: HostedEngine) -> None:
    endless = StructuredOutput(regex="a{300,}")
    engine.submit(ask("goes", max_tokens=FOREVER, priority=INTERACTIVE, output=endless))
    while not (seen := engine.poll(0.1)):
        pass
    assert isinstance(seen[0], Tokens)
    engine.abort("goes")
    last = events(engine)[-1]
    assert isinstance(last, Failed)
    assert (last.id, last.error_code) == ("goes", "aborted")
    assert engine.stats().n_running == 0


def test_prompt_beyond_the_context_fails_before_it_reaches_the_engine(engine: HostedEngine) -> None:
    before = engine.stats()
    failed = end(engine, ask("q", "z" * 600))
    assert isinstance(failed, Failed)
    assert failed.error_code == "context_exceeded"
    assert "512 tokens (engine 'reverse')" in failed.error
    assert engine.stats() == before


def test_stats_count_the_tokens_of_finished_requests(engine: HostedEngine) -> None:
    before = engine.stats()
    usage = finished(engine, ask("q")).usage
    after = engine.stats()
    assert after.n_prompt_tokens - before.n_prompt_tokens == usage.prompt_tokens
    assert after.n_output_tokens - before.n_output_tokens == usage.completion_tokens


def test_template_of_the_pool_file_shapes_the_prompt(backend: HostedBackend) -> None:
    questions = ["PLEASE SPELL 'XNGOBY' BACKWARDS.", "Spell 'ABC' in reverse"]
    engine = backend.load(spec("reverse", template=TEMPLATE), ())
    assert texts(engine, questions) == by_transformers("reverse", questions, template=TEMPLATE)
    engine.close()
