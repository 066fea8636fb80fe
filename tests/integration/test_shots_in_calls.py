"""Shots through the real app: from the profile, from what was asked before, and only to whom they belong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.assignments import CallRole
from orchestrator.domain.feedback import Feedback
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.requests import AskOptions
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from orchestrator.store import SqlFeedbackStore, SqlMemory, open_database
from tests.integration.scripted_pool import question, write_pool, write_questions

SINGLE = {"router": "best_single", "aggregator": "first"}
COMPOSITIONS = {
    "plain": SINGLE,
    "shown": {**SINGLE, "shots": {"k": 2, "floor": -1}},
    "recalling": {**SINGLE, "shots": {"taken_from": "memory", "k": 2, "floor": -1}},
    "voted": {"router": "all", "aggregator": "weighted"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("shots")
    write_pool(folder, compositions=COMPOSITIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[App]:
    with open_app(load_settings(folder / "pool.yaml")) as app:
        app.profiling.run(read_questions(write_questions(folder / "profile.jsonl", range(20))), exam=False)
        yield app


def choice(number: int) -> Query:
    options = tuple(str(2 * number + more) for more in range(3))
    return Query.model_validate(
        {"id": f"n{number}", "question": question(number), "options": options, "answer_type": "choice"}
    )


def asked(app: App, composition: str, number: int, *, owner: str = "") -> list[tuple[Message, ...]]:
    """Messages of the experts' calls for a question."""
    job_id = f"{composition}-{number}-{owner}"
    app.jobs.submit([choice(number)], AskOptions(model=composition, job_id=job_id, owner=owner))
    app.jobs.run(job_id)
    [(_, calls)] = app.store.calls(job_id)
    return [one.call.messages for one in calls if one.call.role is CallRole.EXPERT]


def test_an_expert_reads_solved_questions_as_turns_before_its_own(app: App) -> None:
    [messages] = asked(app, "shown", 50)
    assert [m.role for m in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert question(50) in messages[-1].content
    assert [m.content for m in messages if m.role == "assistant"] == ["The answer is (A)."] * 2


def test_a_decision_names_what_was_shown(app: App) -> None:
    app.jobs.submit([choice(51)], AskOptions(model="shown", job_id="one"))
    app.jobs.run("one")
    [item] = app.jobs.answers("one")
    decision = item.answer.decision
    assert decision is not None
    [note] = [n for n in decision.notes if n.startswith("shown to")]
    assert note.startswith("shown to alpha before the question: q")


def test_without_the_setting_nothing_is_shown(app: App) -> None:
    [messages] = asked(app, "plain", 52)
    assert [m.role for m in messages] == ["user"]


def test_calls_with_shots_are_not_answered_from_calls_without(app: App, folder: Path) -> None:
    """A bench counts rows from calls that others made: only from equal ones."""
    new = read_questions(write_questions(folder / "test.jsonl", range(60, 64)))
    report = app.evaluation.bench(new, ["plain", "best_single", "shown"])
    assert {row.name: row.derived for row in report.rows} == {
        "plain": False,
        "best_single": True,
        "shown": False,
    }


def judge(folder: Path, job_id: str, number: int, score: float) -> None:
    database = open_database(f"sqlite:///{folder / 'data' / 'muster.sqlite3'}")
    SqlFeedbackStore(database).save_feedback(
        Feedback(job_id=job_id, query_id=f"n{number}", score=score, day=0), []
    )
    database.close()


def test_what_was_judged_right_is_shown_to_later_questions_of_the_same_key(app: App, folder: Path) -> None:
    asked(app, "plain", 70, owner="mine")
    asked(app, "plain", 71, owner="mine")
    judge(folder, "plain-70-mine", 70, 1.0)
    judge(folder, "plain-71-mine", 71, 0.0)
    [mine] = asked(app, "recalling", 72, owner="mine")
    assert [m.role for m in mine] == ["user", "assistant", "user"]
    assert question(70) in mine[0].content
    [theirs] = asked(app, "recalling", 72, owner="theirs")
    assert [m.role for m in theirs] == ["user"]


def test_the_memory_has_the_newest_answers_first_with_their_judgements(app: App, folder: Path) -> None:
    for number in (80, 81, 82):
        asked(app, "voted", number, owner="key")
    judge(folder, "voted-81-key", 81, 0.5)
    database = open_database(f"sqlite:///{folder / 'data' / 'muster.sqlite3'}")
    latest = SqlMemory(database).latest_answered("key", limit=2)
    assert [(one.query.id, one.score) for one in latest] == [("n82", None), ("n81", 0.5)]
    assert all(one.answer.text and 0 <= one.age_days < 1 for one in latest)
    assert SqlMemory(database).latest_answered("other", limit=2) == []
    database.close()


def test_what_was_deleted_is_no_longer_remembered(app: App, folder: Path) -> None:
    asked(app, "voted", 90, owner="gone")
    app.ended.delete("voted-90-gone")
    database = open_database(f"sqlite:///{folder / 'data' / 'muster.sqlite3'}")
    assert SqlMemory(database).latest_answered("gone", limit=9) == []
    database.close()


def test_profile_questions_are_no_memory(app: App, folder: Path) -> None:
    database = open_database(f"sqlite:///{folder / 'data' / 'muster.sqlite3'}")
    latest = SqlMemory(database).latest_answered("", limit=99)
    assert {one.query.id for one in latest} <= {"n50", "n51", "n52", "q60", "q61", "q62", "q63"}
    database.close()
