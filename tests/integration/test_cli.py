"""The `muster` command line over scripted experts, in process and as a program."""

import contextlib
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from api.cli.main import main
from orchestrator.bootstrap.app import open_app
from orchestrator.settings.load import load_settings
from tests.harness.stack import PATIENCE_S
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import EXPERTS, events, question, write_pool, write_questions

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_pool(tmp_path)


@pytest.fixture(scope="module")
def profiled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profiled")
    with contextlib.chdir(folder):
        known = write_questions(folder / "known.jsonl", range(20))
        assert run(write_pool(folder, migrated=False), "profile", str(known), "--no-exam") == 0
    return folder


@pytest.fixture
def profiled(profiled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(profiled_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pool.yaml"


def run(pool: Path, *words: str) -> int:
    return main(["--config", str(pool), *words])


def run_json(pool: Path, capsys: Captured, *words: str, code: int = 0) -> dict[str, object]:
    """A command with --json; its stdout must be one JSON document."""
    capsys.readouterr()
    assert run(pool, *words, "--json") == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def json_rows(pool: Path, capsys: Captured, *words: str) -> list[dict[str, object]]:
    """A command whose JSON document is a list."""
    capsys.readouterr()
    assert run(pool, *words, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, list)
    return document


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ask_words(number: int) -> list[str]:
    options = [f"--option={2 * number + more}" for more in range(3)]
    return [question(number), *options]


def test_profile_counts_right_answers_and_measures_once(pool: Path, tmp_path: Path, capsys: Captured) -> None:
    known = str(write_questions(tmp_path / "known.jsonl", range(10)))
    first = run_json(pool, capsys, "profile", known, "--no-exam")
    again = run_json(pool, capsys, "profile", known, "--no-exam")
    assert (first["n_asked"], again["n_asked"], again["n_reused"]) == (30, 0, 30)
    assert set(first["accuracy"]) == set(EXPERTS)


def test_profile_of_one_expert_leaves_the_others_alone(pool: Path, tmp_path: Path, capsys: Captured) -> None:
    known = str(write_questions(tmp_path / "known.jsonl", range(4)))
    report = run_json(pool, capsys, "profile", known, "--no-exam", "--expert", "gamma")
    assert report["n_asked"] == 4
    assert {event["engine"] for event in events(tmp_path, "generation")} == {"gamma"}


@pytest.mark.parametrize("command", ["ask", "route"])
def test_a_question_before_any_profile_says_that_nobody_was_measured(
    pool: Path, tmp_path: Path, capsys: Captured, command: str
) -> None:
    assert run(pool, command, *ask_words(1)) == 0
    assert "Run `muster profile QUESTIONS.jsonl`" in capsys.readouterr().err
    known = str(write_questions(tmp_path / "known.jsonl", range(4)))
    assert run(pool, "profile", known, "--no-exam") == 0
    capsys.readouterr()
    assert run(pool, command, *ask_words(1)) == 0
    assert "muster profile" not in capsys.readouterr().err


def test_the_first_key_is_told_to_shut_the_door(pool: Path, capsys: Captured) -> None:
    assert run(pool, "keys", "create") == 0
    assert "from now on every call to the server needs one" in capsys.readouterr().err
    key_id = str(json_rows(pool, capsys, "keys", "list")[0]["id"])
    assert run(pool, "keys", "revoke", key_id) == 0
    assert run(pool, "keys", "create") == 0
    assert "every call" not in capsys.readouterr().err, "the door is shut already"


def undated(cards: Mapping[str, Any]) -> dict[str, Any]:
    """Cards without the dates on which they were stored."""
    return {name: {**card, "stored_at": None} for name, card in cards.items()}


def test_cards_are_shown_drawn_exported_and_imported(
    profiled: Path, tmp_path: Path, capsys: Captured
) -> None:
    cards = run_json(profiled, capsys, "cards", "--png", "map.png", "--export", "deck.json")
    assert set(cards) == set(EXPERTS)
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    before = run_json(profiled, capsys, "cards", "alpha", "--history")["data"]
    card = run_json(profiled, capsys, "cards", "alpha", "--import", "deck.json")
    assert card["stored_at"] >= cards["alpha"]["stored_at"], "it is stored anew"
    assert card | {"stored_at": 0} == cards["alpha"] | {"stored_at": 0}
    [measured] = run_json(profiled, capsys, "cards", "alpha", "--history")["data"]
    assert measured["stored_at"] == card["stored_at"]
    assert measured | {"stored_at": 0} == before[0] | {"stored_at": 0}
    assert "one expert" in run_json(profiled, capsys, "cards", "--history", code=2)["error"]["message"]


def test_a_heat_map_that_cannot_be_written_is_bad_usage(profiled: Path, capsys: Captured) -> None:
    error = run_json(profiled, capsys, "cards", "--png", "no/map.png", code=2)["error"]
    assert "cannot write no/map.png" in error["message"]


def test_imported_cards_route_on_a_machine_that_never_profiled(
    profiled: Path, tmp_path: Path, capsys: Captured
) -> None:
    cards = run_json(profiled, capsys, "cards", "--export", "deck.json")
    shutil.rmtree(tmp_path / "data")
    assert run_json(profiled, capsys, "cards") == {}
    imported = run_json(profiled, capsys, "cards", "--import", "deck.json")
    assert undated(imported) == undated(cards)
    assert run_json(profiled, capsys, "cards") == imported
    assert run_json(profiled, capsys, "doctor")["ok"] is True
    decision = run_json(profiled, capsys, "route", "add, even, plus", "-c", "best_single")
    assert decision["recruits"][0]["expert"] == "alpha"
    decision = run_json(profiled, capsys, "route", *ask_words(31))
    assert decision["recruits"][0]["evidence"][0]["skill"] in cards["alpha"]["skills"]


def test_imported_cards_hold_until_the_next_profile(profiled: Path, tmp_path: Path, capsys: Captured) -> None:
    mine = run_json(profiled, capsys, "cards", "--export", "deck.json")
    other = str(write_questions(tmp_path / "other.jsonl", range(20, 26)))
    run_json(profiled, capsys, "profile", other, "--no-exam")
    assert run_json(profiled, capsys, "cards")["alpha"]["profile_hash"] != mine["alpha"]["profile_hash"]
    assert undated(run_json(profiled, capsys, "cards", "--import", "deck.json")) == undated(mine)
    run_json(profiled, capsys, "profile", other, "--no-exam")
    assert run_json(profiled, capsys, "cards")["alpha"]["profile_hash"] != mine["alpha"]["profile_hash"]


def test_cards_before_profiling_say_what_to_do(pool: Path, capsys: Captured) -> None:
    assert run(pool, "cards") == 0
    assert "muster profile" in capsys.readouterr().out
    assert run_json(pool, capsys, "cards", "alpha", code=2)["error"]["code"] == "card_invalid"


def test_feedback_shows_on_the_cards_and_as_drift(profiled: Path, capsys: Captured) -> None:
    """20 wrong answers of one who had nearly all right; the same judgement twice counts once."""
    run_json(profiled, capsys, "ask", *ask_words(120), "--composition", "alpha")
    [job] = json_rows(profiled, capsys, "jobs", "list", "--limit", "1")
    before = run_json(profiled, capsys, "cards", "alpha")
    assert run_json(profiled, capsys, "cards", "--drift") == {"drift": []}
    with open_app(load_settings(profiled)) as app:
        for user in range(19):
            app.feedback.judge(str(job["id"]), None, score=0.0, key=str(user))
    for user in (19, 19, 1):
        run_json(profiled, capsys, "feedback", job["id"], "--wrong", f"--key={user}")
    after = run_json(profiled, capsys, "cards", "alpha")
    assert after["total"]["n_wrong"] == before["total"]["n_wrong"] + 20
    assert run_json(profiled, capsys, "cards", "--drift")["drift"] == after["drift"] != []
    error = run_json(profiled, capsys, "feedback", job["id"], "--right", "--key=1", code=2)["error"]
    assert error["code"] == "already_judged"


@pytest.mark.parametrize("words", [[], ["--right", "--score=1"], ["--score=2"]])
def test_feedback_needs_one_verdict(profiled: Path, capsys: Captured, words: list[str]) -> None:
    run_json(profiled, capsys, "feedback", "job", *words, code=2)


def test_swiss_rounds_rank_the_pool(profiled: Path, capsys: Captured) -> None:
    standings = run_json(profiled, capsys, "cards", "--swiss")["swiss"]
    assert {standing["expert_id"] for standing in standings} == set(EXPERTS)
    assert standings[0]["expert_id"] == "alpha"
    run_json(profiled, capsys, "cards", "--swiss", "--drift", code=2)


def test_experts_are_listed_with_their_accuracy(profiled: Path, capsys: Captured) -> None:
    assert run(profiled, "experts") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in EXPERTS)
    assert "%" in shown


def test_route_gives_reasons_and_generates_nothing(profiled: Path, tmp_path: Path, capsys: Captured) -> None:
    before = len(events(tmp_path, "generation"))
    decision = run_json(profiled, capsys, "route", *ask_words(31))
    assert decision["recruits"][0]["expert"] == "alpha"
    assert decision["recruits"][0]["evidence"]
    assert len(events(tmp_path, "generation")) == before


def test_ask_prints_the_answer_with_votes(profiled: Path, capsys: Captured) -> None:
    answer = run_json(profiled, capsys, "ask", *ask_words(7), "--composition", "majority_all")
    assert len(answer["muster"]["votes"]) == 3
    assert run(profiled, "ask", *ask_words(7)) == 0
    shown = capsys.readouterr().out
    assert answer["answer"] in shown
    [job] = json_rows(profiled, capsys, "jobs", "list", "--limit", "1")
    assert f"Job {job['id']}" in shown, "feedback needs it"


def test_ask_of_one_expert(profiled: Path, capsys: Captured) -> None:
    muster = run_json(profiled, capsys, "ask", *ask_words(7), "-c", "org/beta")["muster"]
    assert (muster["composition"], muster["n_calls"]) == ("org/beta", 1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "question is empty"),
        (b" \n", "question is empty"),
        (b"\xff\xfeW\x00", "not UTF-8"),
        (b"w" * (1 << 20) + b"w", "longer than 1,048,576 bytes"),
    ],
)
def test_a_question_that_standard_input_does_not_give_is_wrong_usage(
    pool: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, content: bytes, told: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert told in run_json(pool, capsys, "ask", "-", code=2)["error"]["message"]


@pytest.mark.parametrize("command", ["ask", "route"])
def test_a_dash_is_the_question_on_standard_input(
    profiled: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, command: str
) -> None:
    question, *options = ask_words(7)
    told = []
    for word in (question, "-"):
        content = f"\ufeff{question}\r\n".encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        told.append(run_json(profiled, capsys, command, word, *options))
    word, dash = (json.dumps(answer.get("recruits") or answer["muster"]["votes"]) for answer in told)
    assert word == dash


@pytest.mark.parametrize("command", ["ask", "route"])
def test_what_a_job_is_called_on_the_books_names_no_model(pool: Path, capsys: Captured, command: str) -> None:
    error = run_json(pool, capsys, command, "Why?", "-c", "expert:org/beta", code=2)["error"]
    assert error["code"] == "unknown_name"
    assert "org/beta" in error["message"].partition("Valid: ")[2]


def test_batch_keeps_input_order_and_a_second_run_generates_nothing(
    profiled: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = write_questions(tmp_path / "new.jsonl", range(40, 60))
    first = run_json(profiled, capsys, "batch", str(file))
    out = tmp_path / "new.answers.jsonl"
    lines = rows(out)
    n_generated = len(events(tmp_path, "generation"))
    assert [line["id"] for line in lines] == [f"q{n}" for n in range(40, 60)]
    assert set(lines[0]) == {*("id", "answer", "value", "confidence", "expected_grade", "error", "muster")}
    assert lines[0]["muster"]["usage"]["completion_tokens"] > 0

    again = run_json(profiled, capsys, "batch", str(file), "--resume", "-o", str(tmp_path / "b.jsonl"))
    assert (again["job_id"], again["completed"]) == (first["job_id"], 20)
    assert rows(tmp_path / "b.jsonl") == lines
    assert len(events(tmp_path, "generation")) == n_generated


def test_batch_loads_each_engine_once(profiled: Path, tmp_path: Path, capsys: Captured) -> None:
    file = write_questions(tmp_path / "new.jsonl", range(40, 70))
    assert run_json(profiled, capsys, "batch", str(file), "-c", "majority_all")["loads"] == 3


def test_the_plan_of_a_finished_batch_shows_its_loads_on_their_device(
    profiled: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = write_questions(tmp_path / "new.jsonl", range(40, 70))
    job_id = str(run_json(profiled, capsys, "batch", str(file), "-c", "majority_all")["job_id"])
    made = run_json(profiled, capsys, "plan", job_id)
    assert (made["state"], made["loads_done"], made["loads_left"]) == ("done", 3, 0)
    assert isinstance(made["ratio"], float)
    stays = made["stays"]
    assert isinstance(stays, list)
    assert len({stay["engine"] for stay in stays}) == 3
    assert all(before["until_s"] <= after["serve_from_s"] for before, after in pairwise(stays))
    assert run(profiled, "plan", job_id) == 0
    assert "lower bound" in capsys.readouterr().out
    assert run_json(profiled, capsys, "plan", "nobody", code=1)["error"]


def test_openai_lines_give_openai_lines(profiled: Path, tmp_path: Path, capsys: Captured) -> None:
    file = write_questions(tmp_path / "openai.jsonl", range(3), openai=True)
    run_json(profiled, capsys, "batch", str(file), "-o", str(tmp_path / "out.jsonl"), "-c", "alpha")
    lines = rows(tmp_path / "out.jsonl")
    assert [line["custom_id"] for line in lines] == ["c0", "c1", "c2"]
    response = lines[0]["response"]
    assert (response["status_code"], lines[0]["error"]) == (200, None)
    assert (response["body"]["object"], response["body"]["model"]) == ("chat.completion", "alpha")


def test_a_file_of_different_models_loads_each_engine_once(
    profiled: Path, tmp_path: Path, capsys: Captured
) -> None:
    models = ["alpha", "org/beta", "muster/best_single", "muster/majority_all", "gamma"]
    lines = []
    for n in range(60):
        body = {"model": models[n % 5], "messages": [{"role": "user", "content": question(n)}], "seed": n}
        lines.append({"custom_id": f"c{n}", "method": "POST", "url": "/v1/chat/completions", "body": body})
    file = tmp_path / "mixed.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    summary = run_json(profiled, capsys, "batch", str(file), "-o", str(tmp_path / "out.jsonl"))
    bodies = [line["response"]["body"] for line in rows(tmp_path / "out.jsonl")]
    assert [body["model"] for body in bodies] == [models[n % 5] for n in range(60)]
    assert {body["muster"]["answered_by"] for body in bodies[1::5]} == {"org/beta"}
    assert (summary["completed"], summary["loads"]) == (60, 3)


def test_failed_questions_are_lines_with_an_error_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = write_pool(tmp_path, rules=[{"match": question(2), "fail": "context_exceeded"}])
    file = write_questions(tmp_path / "new.jsonl", range(4))
    out = tmp_path / "out.jsonl"
    summary = run_json(pool, capsys, "batch", str(file), "-o", str(out), "-c", "alpha", code=1)
    assert (summary["completed"], summary["failed"]) == (3, 1)
    assert [line["error"] is None for line in rows(out)] == [True, True, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no questions"),
        ("\n\n", "holds no questions"),
        ('{"id": "a", "question": "x"}\n{"id": "a", "question": "y"}\n', "line 2: id 'a' stands on line 1"),
        ('{"question": "x"}\nnull\n', "line 2: is null"),
        ("[1]\n", "JSON array"),
        ('{"question": "x", "k": 3}\n', "line 1: k: unknown field"),
    ],
)
def test_bad_files_are_refused_whole(
    pool: Path, tmp_path: Path, capsys: Captured, text: str, message: str
) -> None:
    (tmp_path / "bad.jsonl").write_text(text)
    error = run_json(pool, capsys, "batch", "bad.jsonl", code=2)["error"]
    assert message in error["message"]
    assert not (tmp_path / "bad.answers.jsonl").exists()
    assert events(tmp_path, "generation") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch", "new.jsonl", "--resume"], "to resume"),
        (["batch", "new.jsonl", "-o", "new.jsonl"], "replace the questions"),
        (["batch", "new.jsonl", "-o", "no/where.jsonl"], "cannot write"),
        (["batch", "new.jsonl", "-c", "nothing"], "unknown model 'nothing'"),
        (["batch", "missing.jsonl"], "cannot read missing.jsonl"),
        (["bench", "new.jsonl", "-c", "nothing"], "unknown model 'nothing'"),
        (["profile", "new.jsonl", "--expert", "nobody"], "unknown expert 'nobody'"),
        (["ask", " "], "question is empty"),
        (["ask", "x", "--option", "1"], "2 to 26 options"),
        (["ask", "x", "--answer-type", "essay"], "answer_type"),
        (["models", "fetch", "nothing"], "unknown model 'nothing'"),
    ],
)
def test_bad_input_is_exit_code_2_with_a_message(
    pool: Path, tmp_path: Path, capsys: Captured, words: list[str], message: str
) -> None:
    write_questions(tmp_path / "new.jsonl", range(2))
    assert message in run_json(pool, capsys, *words, code=2)["error"]["message"]


def test_bench_begins_with_the_verdict(profiled: Path, tmp_path: Path, capsys: Captured) -> None:
    file = str(write_questions(tmp_path / "new.jsonl", range(60, 90)))
    words = ["bench", file, "-c", "best_single", "-c", "random_3"]
    report = run_json(profiled, capsys, *words)
    assert report["verdict"].startswith("do not route")
    assert [row["name"] for row in report["rows"]] == ["best_single", "random_3"]
    assert run(profiled, *words) == 0
    assert capsys.readouterr().out.startswith("do not route")


def test_bench_asks_nobody_twice_the_same(profiled: Path, tmp_path: Path, capsys: Captured) -> None:
    """`majority_all` asks everybody once, the samples of `self_consistency` are warmer; the others' calls are
    among those of `majority_all`. `auto` is run in any case."""
    file = str(write_questions(tmp_path / "new.jsonl", range(60, 90)))
    derivable = ("auto_k3", "best_single", "static_top_3", "random_3")
    names = ("auto", *derivable, "self_consistency", "majority_all", "oracle")
    words = ["bench", file, *(word for name in names for word in ("-c", name))]
    before = len(events(tmp_path, "generation"))
    rows = {row["name"]: row for row in run_json(profiled, capsys, *words)["rows"]}
    n_generated = len(events(tmp_path, "generation")) - before
    asked = sum(rows[name]["calls_per_query"] for name in ("auto", "self_consistency", "majority_all"))
    assert n_generated == round(30 * asked)
    assert [name for name, row in rows.items() if row["derived"]] == [*derivable, "oracle"]
    assert all(row["loads"] is row["seconds"] is None for row in rows.values() if row["derived"])
    assert all(row["loads"] >= 1 and row["seconds"] > 0 for row in rows.values() if not row["derived"])
    every = {row["name"]: row for row in run_json(profiled, capsys, *words, "--run-all")["rows"]}
    assert [name for name, row in every.items() if row["derived"]] == ["oracle"]
    for field in ("accuracy", "ci95", "calls_per_query", "engines", "mean_confidence", "ece"):
        assert {n: row[field] for n, row in rows.items()} == {n: row[field] for n, row in every.items()}


def test_bench_of_what_cannot_run_is_no_verdict(pool: Path, tmp_path: Path, capsys: Captured) -> None:
    """Nobody was profiled, so nobody can be lined up: a failure, not a wrong answer."""
    file = str(write_questions(tmp_path / "new.jsonl", range(60, 63)))
    report = run_json(pool, capsys, "bench", file, "-c", "random_3", "-c", "knn", code=1)
    assert report["verdict"].startswith("no verdict: 3 of 3 questions of 'knn' failed: ")
    assert [row["failed"] for row in report["rows"]] == [0, 3]


def test_bench_refuses_questions_that_were_profiled_on(
    profiled: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = str(write_questions(tmp_path / "new.jsonl", range(15, 25)))
    error = run_json(profiled, capsys, "bench", file, "-c", "best_single", code=2)["error"]
    assert "5 of 10 questions were profiled on" in error["message"]


def test_serve_says_that_the_port_is_taken(pool: Path, capsys: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        error = run_json(pool, capsys, "serve", "--port", port, code=2)["error"]
    assert f"cannot listen on 127.0.0.1, port {port}" in error["message"]
    assert error["param"] == "port"


def test_bench_draws_and_compares_auto_with_the_others(
    profiled: Path, tmp_path: Path, capsys: Captured
) -> None:
    """The best single expert asked three times says three times the same: the scripted ones repeat."""
    file = str(write_questions(tmp_path / "new.jsonl", range(100, 106)))
    compositions = ["-c", "auto", "-c", "best_single", "-c", "self_consistency"]
    report = run_json(profiled, capsys, "bench", file, *compositions, "--out", "report")
    assert [d["b"] for d in report["auto_minus"]] == ["best_single", "self_consistency"]
    calls = {row["name"]: row["calls_per_query"] for row in report["rows"]}
    assert (calls["best_single"], calls["self_consistency"]) == (1, 3)
    assert "right" not in report
    assert json.loads((profiled.parent / "report" / "report.json").read_text()) == report
    assert (profiled.parent / "report" / "accuracy_over_calls.png").is_file()


def test_demo_reports_all_compositions_by_number_of_skills(
    pool: Path, tmp_path: Path, capsys: Captured
) -> None:
    write_questions(tmp_path / "profile.jsonl", range(20))
    write_questions(tmp_path / "test.jsonl", range(20, 40))
    report = run_json(pool, capsys, "demo", "--zoo", str(tmp_path))
    assert report == json.loads((tmp_path / "build/demo/report.json").read_text())
    assert (report["queries"], report["experts"]) == (20, 3)
    names = {
        "auto",
        "auto_k3",
        "best_single",
        "self_consistency",
        "static_top_3",
        "random_3",
        "majority_all",
        "oracle",
    }
    assert {row["name"] for row in report["compositions"]} == names == set(report["two_skill"])
    assert report["single_skill"]["auto"]["queries"] == 10
    assert report["paired"]["all"]
    assert (tmp_path / "build/demo/cards.png").exists()


def test_config_check_and_doctor(profiled: Path, capsys: Captured) -> None:
    assert run_json(profiled, capsys, "config", "check")["experts"] == list(EXPERTS)
    doctor = run_json(profiled, capsys, "doctor")
    assert doctor["ok"] is True
    assert "sandbox: seccomp" in [check["check"] for check in doctor["checks"]]


def test_doctor_fails_with_a_remedy_before_profiling(pool: Path, capsys: Captured) -> None:
    checks = run_json(pool, capsys, "doctor", code=1)["checks"]
    assert any("muster profile" in check["detail"] for check in checks if not check["ok"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"router": "symbolicc", "aggregator": "majority"}, "Did you mean 'symbolic'"),
        ({"router": "symbolic", "aggregator": "vote"}, "unknown aggregator 'vote'"),
        ({"router": "symbolic", "router_options": {"kk": 3}, "aggregator": "first"}, "no option 'kk'"),
        ({"router": "all", "aggregator": "first", "experts": ["alpha", "mine"]}, "no expert of the pool"),
    ],
)
def test_config_check_names_the_composition_that_cannot_be_built(
    pool: Path, capsys: Captured, change: dict[str, object], message: str
) -> None:
    config = yaml.safe_load(pool.read_text())
    config["muster"]["compositions"] = {"fine": {"router": "knn", "aggregator": "first"}, "mine": change}
    pool.write_text(yaml.safe_dump(config))
    error = run_json(pool, capsys, "config", "check", code=2)["error"]
    assert "muster.compositions.mine" in error["message"]
    assert message in error["message"]


def test_an_expert_may_not_have_the_name_of_a_composition(pool: Path, capsys: Captured) -> None:
    config = yaml.safe_load(pool.read_text())
    config["model_list"][0]["model_name"] = "auto"
    pool.write_text(yaml.safe_dump(config))
    error = run_json(pool, capsys, "config", "check", code=2)["error"]
    assert "expert 'auto' has the name of a composition" in error["message"]


def test_a_composition_recruits_only_whom_it_may(profiled: Path, capsys: Captured) -> None:
    config = yaml.safe_load(profiled.read_text())
    config["muster"]["compositions"] = {
        "local": {"router": "all", "aggregator": "majority", "experts": ["gamma", "alpha"]}
    }
    profiled.write_text(yaml.safe_dump(config))
    asked = ("--answer-type", "text", "What is 1 plus 1?")
    decision = run_json(profiled, capsys, "route", "-c", "local", *asked)
    assert [recruit["expert"] for recruit in decision["recruits"]] == ["alpha", "gamma"]


def test_doctor_names_a_database_that_is_away_and_what_this_machine_has(
    pool: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")

    checks = run_json(pool, capsys, "doctor", code=1)["checks"]

    assert checks[0]["check"] == "database"
    assert "cannot be used now" in checks[0]["detail"]
    assert "sandbox: seccomp" in [check["check"] for check in checks]


def test_doctor_names_weights_that_are_not_there(pool: Path, capsys: Captured) -> None:
    config = yaml.safe_load(pool.read_text())
    config["model_list"].append({"model_name": "delta", "litellm_params": {"model": "/no/such/weights"}})
    pool.write_text(yaml.safe_dump(config))
    checks = run_json(pool, capsys, "doctor", code=1)["checks"]
    assert any("/no/such/weights" in check["detail"] for check in checks if not check["ok"])


def test_config_check_names_file_line_and_key(tmp_path: Path, capsys: Captured) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "model_list:\n  - model_name: a\n    litellm_params:\n      model: m\n      max_token: 3\n"
    )
    error = run_json(bad, capsys, "config", "check", code=2)["error"]
    assert f"{bad}:5" in error["message"]
    assert "max_tokens" in error["message"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_batch_resumes_without_repeating_finished_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, number: int
) -> None:
    """One call hangs, once. Ctrl-C ends the run; the next one finishes what is left."""
    monkeypatch.chdir(tmp_path)
    pool = write_pool(tmp_path, rules=[{"match": question(5), "hang": True, "times": 1}])
    file = write_questions(tmp_path / "new.jsonl", range(12))
    words = ["batch", str(file), "-o", str(tmp_path / "out.jsonl"), "-c", "majority_all"]
    with started("--config", str(pool), *words) as program:
        wait_for(
            "the program gets there",
            lambda: len(events(tmp_path, "rule")) == 1 and len(events(tmp_path, "generation")) >= 11,
            within_s=PATIENCE_S,
        )
        program.send_signal(number)
        _, stderr = program.communicate(timeout=120)
    assert program.returncode == 130
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    assert not (tmp_path / "out.jsonl").exists()

    summary = run_json(pool, capsys, *words, "--resume")
    assert (summary["completed"], summary["failed"]) == (12, 0)
    generated = Counter((event["engine"], event["prompt"]) for event in events(tmp_path, "generation"))
    assert len(generated) == 36
    assert set(generated.values()) == {1}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_question_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, number: int
) -> None:
    """Its call hangs for good: left as it is, the next command would wait for it again."""
    monkeypatch.chdir(tmp_path)
    pool = write_pool(tmp_path, rules=[{"match": question(5), "hang": True}])
    with started("--config", str(pool), "ask", question(5), "-c", "alpha") as program:
        wait_for("it is asked", lambda: len(events(tmp_path, "rule")) == 1, within_s=PATIENCE_S)
        program.send_signal(number)
        _, stderr = program.communicate(timeout=120)
    assert program.returncode == 130
    assert "Traceback" not in stderr
    capsys.readouterr()
    assert run(pool, "jobs", "list", "--json") == 0
    assert [job["state"] for job in json.loads(capsys.readouterr().out)] == ["cancelled"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_ended_stores_what_engines_have_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """One call hangs: the job is under way when the signal comes."""
    monkeypatch.chdir(tmp_path)
    pool = write_pool(tmp_path, rules=[{"match": question(5), "hang": True}])
    content = write_questions(tmp_path / "new.jsonl", range(12)).read_bytes()
    with started("--config", str(pool), "serve", "--port", "0", "--json") as program:
        url = f"{served_url(program)}/v1/jobs?composition=majority_all"
        accepted = httpx.post(url, content=content, headers={"content-type": "application/jsonl"}, timeout=60)
        wait_for("it works", lambda: len(events(tmp_path, "generation")) >= 11, within_s=PATIENCE_S)
        program.send_signal(number)
        program.communicate(timeout=120)
    assert program.returncode == 0
    with open_app(load_settings(pool)) as app:
        assert app.jobs.job(accepted.json()["id"]).n_responses == len(events(tmp_path, "generation"))
        assert app.store.lease_owners() == []


@pytest.mark.timeout(600)
def test_serve_answers_while_it_profiles_and_is_ready_with_cards_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = write_pool(tmp_path, rules=[{"match": question(5), "hang": True, "times": 1}])
    config = yaml.safe_load(pool.read_text())
    config["muster"]["scheduler"] = {"hang_timeout_s": 5}
    pool.write_text(yaml.safe_dump(config))
    known = write_questions(tmp_path / "known.jsonl", range(6))
    with started("--config", str(pool), "serve", "--port", "0", "--profile", str(known), "--json") as program:
        url = served_url(program)
        wait_for(
            "an engine hangs", lambda: events(tmp_path, "rule"), within_s=PATIENCE_S
        )  # an engine hangs: the profile is not complete
        ready = get_json(f"{url}/health/ready")
        assert (ready["status"], ready["degraded"]) == ("ready", True)
        assert ready["checks"][0]["check"] == "profile"
        assert ready["checks"][0]["detail"].startswith("profiling: ")
        asked = {"model": "auto", "messages": [{"role": "user", "content": question(9)}]}
        assert get_json(f"{url}/v1/chat/completions", asked)["object"] == "chat.completion"
        wait_for(
            "the profile is complete",
            lambda: get_json(f"{url}/health/ready")["degraded"] is False,
            within_s=PATIENCE_S,
        )
        checks = get_json(f"{url}/health/ready")["checks"]
        assert {"cards": "3 cards"}.items() <= {c["check"]: c["detail"] for c in checks}.items()
        program.send_signal(signal.SIGINT)
        _, stderr = program.communicate(timeout=120)
    assert program.returncode == 0
    assert "profiling: " in stderr
    assert "3 experts profiled." in stderr
    assert "Traceback" not in stderr


@pytest.mark.timeout(600)
def test_serve_that_is_interrupted_while_it_profiles_ends_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = write_pool(tmp_path, rules=[{"match": question(5), "hang": True, "times": 1}])
    known = write_questions(tmp_path / "known.jsonl", range(6))
    with started("--config", str(pool), "serve", "--port", "0", "--profile", str(known), "--json") as program:
        served_url(program)
        wait_for("an engine hangs", lambda: events(tmp_path, "rule"), within_s=PATIENCE_S)
        program.send_signal(signal.SIGINT)
        _, stderr = program.communicate(timeout=120)
    assert program.returncode == 0
    assert "Traceback" not in stderr

    run_json(pool, capsys, "profile", str(known), "--no-exam")
    generated = Counter((event["engine"], event["prompt"]) for event in events(tmp_path, "generation"))
    assert len(generated) == 18
    assert set(generated.values()) == {1}


@pytest.mark.parametrize(
    ("text", "message"), [('{"question": "Why?"}', "have no answer"), ("[1]", "JSON array")]
)
def test_serve_refuses_a_profile_that_cannot_be_used_before_it_listens(
    pool: Path, tmp_path: Path, capsys: Captured, text: str, message: str
) -> None:
    (tmp_path / "bad.jsonl").write_text(text)
    error = run_json(pool, capsys, "serve", "--port", "0", "--profile", "bad.jsonl", code=2)["error"]
    assert message in error["message"]


def served_url(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return str(json.loads("".join(program.stdout.readline() for _ in range(3)))["url"])


def get_json(url: str, body: object = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            document = json.load(response)
    except urllib.error.HTTPError as error:
        document = json.load(error)
    assert isinstance(document, dict)
    return document


@contextlib.contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """`muster` as a program of its own; gone at the end, whatever happened."""
    command = [sys.executable, "-m", "api.cli.main", *words]
    pipe = subprocess.PIPE
    # A suite started in the background ignores SIGINT, and so would its children.
    with subprocess.Popen(
        command,
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def test_jobs_are_listed_shown_and_cancelled_once(profiled: Path, tmp_path: Path, capsys: Captured) -> None:
    file = str(write_questions(tmp_path / "q.jsonl", range(30, 33)))
    job_id = str(run_json(profiled, capsys, "batch", file)["job_id"])
    shown = run_json(profiled, capsys, "jobs", "show", job_id)
    assert (shown["state"], shown["counts"]["completed"]) == ("done", 3)
    capsys.readouterr()
    assert run(profiled, "jobs", "list", "--json") == 0
    assert shown in json.loads(capsys.readouterr().out)
    assert run_json(profiled, capsys, "jobs", "cancel", job_id) == shown
    assert run_json(profiled, capsys, "jobs", "show", "nope", code=1)["error"]["code"] == "not_found"


def test_worker_and_beat_need_a_broker(pool: Path, capsys: Captured) -> None:
    for words in (["worker"], ["worker", "--device", "cpu"], ["beat"]):
        assert run_json(pool, capsys, *words, code=2)["error"]["param"] == "muster.broker_url"
