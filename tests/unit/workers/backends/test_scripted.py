import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.domain.values import content_hash
from orchestrator.errors import EngineCrashedError, EngineLoadError
from orchestrator.ports.engines import Engine, EngineEvent, Failed, Finished, GenerationRequest, Tokens
from workers.backends.scripted import ScriptedBackend


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def load(time: FakeTime | None = None, *, engine_id: str = "e", **options: object) -> Engine:
    time = time or FakeTime()
    spec = EngineSpec.model_validate(
        {"id": engine_id, "backend": "scripted", "model": "none", "options": options}
    )
    return ScriptedBackend(clock=time, sleep=time.sleep).load(spec, ["lora"])


def ask(text: str, *, name: str | None = None, priority: int = 0, **sampling: object) -> GenerationRequest:
    messages = (Message(role="user", content=text),)
    return GenerationRequest(name or text, messages, Sampling.model_validate(sampling), None, priority)


def reply(engine: Engine, text: str, **sampling: object) -> str:
    engine.submit(ask(text, **sampling))
    [end] = engine.poll(0)
    assert isinstance(end, Finished)
    return end.text


def log_lines(path: Path, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_answers_are_found_by_message_by_line_and_by_hash() -> None:
    engine = load(answers={"1+1?": "2", content_hash("secret"): "shh"})
    assert reply(engine, "1+1?") == "2"
    assert reply(engine, "1+1?\n\nThink step by step.") == "2"
    assert reply(engine, "secret") == "shh"


def test_default_reply_depends_on_engine_and_prompt_and_with_temperature_on_the_seed() -> None:
    assert reply(load(), "a") == reply(load(), "a", seed=5) == reply(load(), "a")
    replies = [
        reply(load(), "a"),
        reply(load(), "b"),
        reply(load(engine_id="other"), "a"),
        reply(load(), "a", temperature=1, seed=1),
        reply(load(), "a", temperature=1, seed=2),
    ]
    assert len(set(replies)) == 5
    assert reply(load(default="echo"), "say this") == "say this"


def test_accuracy_is_the_share_of_right_replies_and_repeats() -> None:
    questions = [f"q{i}" for i in range(500)]
    answers = dict.fromkeys(questions, "right")
    replies = [
        [reply(engine, question) for question in questions]
        for engine in (load(answers=answers, accuracy=0.7, wrong=["right", "wrong"]) for _ in range(2))
    ]
    assert replies[0] == replies[1]
    assert set(replies[0]) == {"right", "wrong"}
    assert 0.6 < replies[0].count("right") / 500 < 0.8


def test_first_rule_that_matches_wins_and_times_limits_it() -> None:
    engine = load(
        default="echo",
        rules=[{"match": "an", "reply": "rule 1", "times": 1}, {"regex": "^b.n", "reply": "rule 2"}],
    )
    assert [reply(engine, "banana") for _ in range(2)] == ["rule 1", "rule 2"]
    assert reply(engine, "an") == "an"


def test_failure_and_truncation_are_scripted() -> None:
    engine = load(
        default="echo",
        rules=[{"match": "bad", "fail": "remote_refused"}, {"match": "long", "truncate": 2}],
    )
    engine.submit(ask("bad"))
    engine.submit(ask("a long text of words"))
    failed, cut = engine.poll(0)
    assert isinstance(failed, Failed)
    assert failed.error_code == "remote_refused"
    assert isinstance(cut, Finished)
    assert (cut.text, cut.finish_reason) == ("a long", FinishReason.LENGTH)


def test_delay_waits_on_the_clock_up_to_the_timeout_only() -> None:
    time = FakeTime()
    engine = load(time, rules=[{"match": "slow", "delay_s": 5}])
    engine.submit(ask("slow"))
    assert engine.poll(2) == []
    assert time.now == 102
    assert [event.id for event in engine.poll(60)] == ["slow"]
    assert time.now == 105


def test_text_streams_word_by_word_at_the_scripted_speed() -> None:
    time = FakeTime()
    engine = load(time, default="echo", tokens_per_s=2)
    engine.submit(ask("one two three", priority=INTERACTIVE))
    events: list[EngineEvent] = []
    times = []
    while not any(isinstance(event, Finished) for event in events):
        events += engine.poll(10)
        times.append(time.now)
    assert [event.text for event in events if isinstance(event, Tokens)] == ["one", " two", " three"]
    assert times == [100.5, 101, 101.5]


def test_hanging_request_never_ends_until_aborted() -> None:
    time = FakeTime()
    engine = load(time, rules=[{"match": "hang", "hang": True}])
    engine.submit(ask("hang"))
    assert engine.poll(7) == []
    assert time.now == 107
    engine.abort("hang")
    assert [type(event) for event in engine.poll(0)] == [Failed]


def test_crash_comes_after_what_was_finished_and_is_final() -> None:
    engine = load(rules=[{"match": "boom", "crash": True}])
    for text in ("a", "boom", "b"):
        engine.submit(ask(text))
    assert [event.id for event in engine.poll(0)] == ["a"]
    for _ in range(2):
        with pytest.raises(EngineCrashedError):
            engine.poll(0)


def test_scripted_load_takes_its_time_or_fails() -> None:
    time = FakeTime()
    load(time, load_s=30)
    assert time.now == 130
    with pytest.raises(EngineLoadError, match="disk on fire"):
        load(fail_load="disk on fire")


@pytest.mark.parametrize("options", [{"rules": [{"mach": "x"}]}, {"default": "shout"}, {"accuracy": 2}])
def test_invalid_script_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(EngineLoadError) as caught:
        load(**options)
    assert str(caught.value.param).startswith(f"options.{next(iter(options))}")


def test_log_counts_loads_and_finished_generations_only(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    engine = load(log=str(log), rules=[{"match": "bad", "fail": "x"}])
    for text in ("a", "bad", "b"):
        engine.submit(ask(text))
    engine.poll(0)
    assert len(log_lines(log, "load")) == 1
    generations = log_lines(log, "generation")
    assert [line["request"] for line in generations] == ["a", "b"]
    assert [line["prompt"] for line in generations] == [content_hash("a"), content_hash("b")]


def test_rule_counts_outlive_the_engine_through_the_log(tmp_path: Path) -> None:
    script = {"log": str(tmp_path / "log.jsonl"), "rules": [{"match": "boom", "crash": True, "times": 1}]}
    engine = load(**script)
    engine.submit(ask("boom"))
    with pytest.raises(EngineCrashedError):
        engine.poll(0)
    assert reply(load(**script), "boom").startswith("answer-")


def test_exit_rule_ends_the_process_at_once(tmp_path: Path) -> None:
    code = (
        "from tests.unit.workers.backends.test_scripted import ask, load\n"
        "engine = load(rules=[{'match': 'die', 'exit_code': 41}])\n"
        "engine.submit(ask('die'))\n"
        "engine.poll(0)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 41


def test_a_reply_does_not_depend_on_the_fence_of_its_prompt() -> None:
    """Fences are random; accuracies of a scripted pool are the same in every run."""
    answers = {"What?": "right"}
    replies = []
    for fence in ("0123456789abcdef", "fedcba9876543210"):
        engine = load(accuracy=0.5, wrong=["wrong"], answers=answers)
        prompts = [f"What?\n[candidate 1 {fence}]\n{n}\n[end of candidate 1 {fence}]" for n in range(40)]
        replies.append([reply(engine, prompt) for prompt in prompts])
        replies.append([reply(load(), prompt) for prompt in prompts])
    assert replies[0] == replies[2]
    assert replies[1] == replies[3]
    assert set(replies[0]) == {"right", "wrong"}
