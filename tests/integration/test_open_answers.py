"""Open questions asked of a profiled pool: from the command line's profile to the answer with its reasons."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from api.cli.main import main
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.answers import Answer
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.services.asking import AskOptions
from orchestrator.settings.load import load_settings

N = 120
LONG = "The friend is greeted first. Then the news follow, one after the other. At the end stands a wish."
SCORES = {"ada": 0.9, "bob": 0.6, "eve": 0.3}


def asked(number: int) -> str:
    return f"Write letter number {number} to a friend."


def text(expert: str, number: int) -> str:
    """`ada` is brief in a fifth of its answers."""
    return "Dear friend." if expert == "ada" and number % 5 == 0 else f"{LONG} Yours, {expert}."


def score(expert: str, number: int) -> float:
    return 0.1 if expert == "ada" and number % 5 == 0 else SCORES[expert]


def member(name: str) -> dict[str, object]:
    answers = {asked(n): text(name, n) for n in range(N + 10)}
    answers["What is 2 plus 2?"] = "The answer is 4."
    muster = {"engine": "scripted", "roles": ["expert"], "options": {"answers": answers}}
    return {
        "model_name": name,
        "litellm_params": {"model": f"scripted/{name}"},
        "model_info": {"muster": muster},
    }


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    pool, known, scores = tmp_path / "pool.yaml", tmp_path / "known.jsonl", tmp_path / "scores.jsonl"
    muster = {"data_dir": "data", "embedder": {"model": "hash"}}
    pool.write_text(yaml.safe_dump({"model_list": [member(name) for name in SCORES], "muster": muster}))
    questions = [{"id": f"q{n}", "question": asked(n), "answer_type": "open"} for n in range(N)]
    known.write_text("".join(f"{json.dumps(line)}\n" for line in questions))
    given = [{"id": f"q{n}", "expert": name, "score": score(name, n)} for n in range(N) for name in SCORES]
    scores.write_text("".join(f"{json.dumps(line)}\n" for line in given))
    words = ["profile", str(known), "--no-exam", "--scores", str(scores)]
    assert main(["--config", str(pool), *words, "--json"]) == 0
    with open_app(load_settings(pool)) as opened:
        yield opened


def ask(app: App, number: int, model: str = "auto") -> Answer:
    query = Query(id=f"new{number}", question=asked(number), answer_type=AnswerType.OPEN)
    return app.asking.ask(query, AskOptions(model=model))


def test_the_best_graded_expert_answers_alone_with_a_grade_to_expect(app: App) -> None:
    answer = ask(app, N + 1)
    assert (answer.answered_by, answer.n_calls, answer.confidence, answer.votes) == ("ada", 1, None, ())
    assert answer.expected_grade is not None
    assert answer.expected_grade.mean == pytest.approx(0.9, abs=0.03)
    assert answer.expected_grade.source == "imported"


def test_where_it_is_brief_two_others_are_asked_and_the_text_decides(app: App) -> None:
    answer = ask(app, N)
    assert (answer.answered_by, answer.n_calls) == ("bob", 3)
    assert any("signs of their texts" in note for note in answer.notes)
    assert answer.decision is not None
    assert "brief for it" in (answer.decision.recruits[1].note or "")


def test_a_composition_that_votes_says_that_it_did_not(app: App) -> None:
    answer = ask(app, N + 2, "majority_all")
    assert (answer.answered_by, answer.n_calls) == ("ada", 1)
    assert any("an open question has no votes" in note for note in answer.notes)


def test_an_exact_question_is_voted_on_by_a_pool_that_was_only_graded(app: App) -> None:
    query = Query(id="sum", question="What is 2 plus 2?", answer_type=AnswerType.NUMBER)
    answer = app.asking.ask(query, AskOptions())
    assert (answer.value, answer.expected_grade) == ("4", None)
    assert answer.votes
