"""Open questions profiled through the command line and over REST: scores given, judged, shown."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient

from api.cli.main import main
from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for
from tests.integration.graded_pool import GRADES, TEXTS, write_graded_pool, write_open_questions
from tests.integration.scripted_pool import events

Captured = pytest.CaptureFixture[str]
N = 24


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_graded_pool(tmp_path)


@pytest.fixture
def known(tmp_path: Path) -> str:
    return str(write_open_questions(tmp_path / "known.jsonl", range(N), n_exact=4))


def run_json(pool: Path, capsys: Captured, *words: str, code: int = 0) -> dict[str, object]:
    capsys.readouterr()
    assert main(["--config", str(pool), *words, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def text_of(pool: Path, capsys: Captured, *words: str) -> str:
    capsys.readouterr()
    assert main(["--config", str(pool), *words]) == 0
    return " ".join(capsys.readouterr().out.split())


def write_scores(path: Path, scores: dict[str, float]) -> str:
    lines = [
        {"id": f"q{n}", "expert": expert, "score": score + 0.01 * (n % 3), "judge": "people"}
        for n in range(N)
        for expert, score in scores.items()
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(path)


def test_given_scores_make_grades_and_the_cards_show_them(
    pool: Path, known: str, tmp_path: Path, capsys: Captured
) -> None:
    assert "24 open questions have no scores yet" in text_of(pool, capsys, "profile", known, "--no-exam")
    scores = write_scores(tmp_path / "scores.jsonl", {"ada": 0.8, "bob": 0.79, "eve": 0.2})
    report = run_json(pool, capsys, "profile", known, "--no-exam", "--scores", scores)
    assert (report["n_asked"], report["grading"]["source"]) == (0, "imported")
    assert (report["grading"]["scored"], report["grading"]["unscored"]) == (3 * N, {})
    assert report["accuracy"] == {"ada": 1.0, "bob": 1.0, "eve": 0.0}

    cards = run_json(pool, capsys, "cards")
    assert cards["ada"]["graded"]["judge"] == "people"
    assert cards["ada"]["graded"]["total"]["n"] == N
    assert cards["eve"]["graded"]["gap"]["separated"] is True
    assert cards["eve"]["graded"]["gap"]["best"] == "ada"
    assert cards["eve"]["graded"]["domains"]["letters"]["mean"] < 0.4
    assert cards["ada"]["total"]["n_right"] == 4
    shown = text_of(pool, capsys, "cards")
    assert "Grades of open questions: imported by people" in shown
    assert "Grades of ada" in text_of(pool, capsys, "cards", "ada")
    assert "grade 0.7" in text_of(pool, capsys, "experts")
    assert main(["--config", str(pool), "cards", "--png", "heat.png"]) == 0
    assert (tmp_path / "heat.png").stat().st_size > 1000


def test_experts_that_noise_alone_orders_are_not_separated(
    pool: Path, known: str, tmp_path: Path, capsys: Captured
) -> None:
    lines = [
        {"id": f"q{n}", "expert": expert, "score": 0.9 if (n + shift) % 2 else 0.1}
        for n in range(N)
        for shift, expert in enumerate(TEXTS)
    ]
    path = tmp_path / "scores.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    main(["--config", str(pool), "profile", known, "--no-exam", "--scores", str(path)])
    assert "not separated: " in text_of(pool, capsys, "cards")


def test_a_judge_of_the_pool_scores_once_and_is_batched_and_counted(
    pool: Path, known: str, tmp_path: Path, capsys: Captured
) -> None:
    report = run_json(pool, capsys, "profile", known, "--no-exam", "--judge", "critic")
    grading = report["grading"]
    assert (grading["source"], grading["judge"], grading["scored"]) == ("reference", "critic", 3 * N)
    assert grading["check"] == {"n": 30, "agreement": 1.0, "difference": 0.0}
    assert grading["per_doubling"] > 0, "its grades follow the length here"
    loads = [event for event in events(tmp_path, "load") if event["engine"] == "critic"]
    assert len(loads) == 1
    card = run_json(pool, capsys, "cards", "bob")
    n, total = N, N * int(GRADES[TEXTS["bob"]]) / 9
    assert card["graded"]["total"]["mean"] == pytest.approx((2 + total) / (4 + n))
    n_before = len(events(tmp_path, "generation"))
    again = run_json(pool, capsys, "profile", known, "--no-exam", "--judge", "critic")
    assert again["grading"] == grading
    assert len(events(tmp_path, "generation")) == n_before
    usage = json.dumps(run_json(pool, capsys, "usage"))
    assert "judge" in usage


def test_checks_of_a_rubric_file(pool: Path, known: str, tmp_path: Path, capsys: Captured) -> None:
    rubric = tmp_path / "rubric.json"
    rubric.write_text('["It has every point.", "It is careful."]')
    words = ("profile", known, "--no-exam", "--judge", "critic", "--rubric", str(rubric))
    report = run_json(pool, capsys, *words)
    assert report["grading"]["source"] == "rubric"
    cards = run_json(pool, capsys, "cards")
    raw = {i: (card["graded"]["total"]["mean"] * (N + 4) - 2) / N for i, card in cards.items()}
    assert raw == {"ada": pytest.approx(1.0), "bob": pytest.approx(0.5), "eve": pytest.approx(0.0)}


def test_pairs_against_an_anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """The judge prefers the longer one of two in each order."""
    monkeypatch.chdir(tmp_path)
    good, fair, short = TEXTS.values()
    rules = [
        {"regex": rf"(?s)candidate 1 .*{first}.*candidate 2 .*{second}", "reply": f"Better: {better}"}
        for first, second, better in (
            *((good, fair, 1), (fair, good, 2), (short, fair, 2), (fair, short, 1)),
        )
    ]
    pool = write_graded_pool(tmp_path, judge_rules=rules)
    known = str(write_open_questions(tmp_path / "known.jsonl", range(N)))
    report = run_json(pool, capsys, "profile", known, "--no-exam", "--judge", "critic", "--anchor", "bob")
    assert report["grading"]["source"] == "pairwise"
    assert report["grading"]["check"]["agreement"] == 1.0
    cards = run_json(pool, capsys, "cards")
    raw = {i: (card["graded"]["total"]["mean"] * (N + 4) - 2) / N for i, card in cards.items()}
    assert raw == {"ada": pytest.approx(1.0), "bob": pytest.approx(0.5), "eve": pytest.approx(0.0)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--judge", "ada"], "'ada' is no judge"),
        (["--judge", "critics"], "Did you mean 'critic'"),
        (["--judge", "critic", "--anchor", "nobody"], "nobody"),
        (["--judge", "critic", "--scores", "s.jsonl"], "not both"),
        (["--rubric", "r.json"], "--rubric is for a judge"),
        (["--anchor", "ada"], "--anchor is for a judge"),
        (["--judge", "critic", "--anchor", "ada", "--rubric", "r.json"], "not both"),
        (["--scores", "none.jsonl"], "cannot read none.jsonl"),
        (["--judge", "critic", "--rubric", "none.json"], "cannot read none.json"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anybody_is_asked(
    pool: Path, known: str, tmp_path: Path, capsys: Captured, words: list[str], message: str
) -> None:
    error = run_json(pool, capsys, "profile", known, *words, code=2)["error"]
    assert message in error["message"]
    assert events(tmp_path, "generation") == []


def test_bad_lines_of_scores_are_all_told(pool: Path, known: str, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(
        '{"id": "q0", "expert": "ada", "score": 2}\n\n{"id": "q99", "expert": "ada", "score": 1}\n'
    )
    error = run_json(pool, capsys, "profile", known, "--scores", str(path), code=2)["error"]
    assert "line 1: score: 2 is not from 0 to 1" in error["message"]
    assert "line 3: id: no question is called 'q99'" in error["message"]


def test_a_pool_of_open_questions_alone_still_answers_exact_ones(
    pool: Path, tmp_path: Path, capsys: Captured
) -> None:
    known = str(write_open_questions(tmp_path / "open.jsonl", range(N)))
    main(["--config", str(pool), "profile", known, "--no-exam", "--judge", "critic"])
    answer = run_json(pool, capsys, "ask", "What is 5 plus 5?", "--answer-type", "number")
    assert "10" in json.dumps(answer)
    assert "Grades of open questions" in text_of(pool, capsys, "cards")


def test_what_users_say_of_open_answers_stands_beside_the_grades(
    pool: Path, known: str, capsys: Captured
) -> None:
    main(["--config", str(pool), "profile", known, "--no-exam", "--judge", "critic"])
    before = run_json(pool, capsys, "cards", "ada")
    answer = run_json(pool, capsys, "ask", "Write letter number 50 to a friend.", "--answer-type", "open")
    run_json(pool, capsys, "feedback", str(answer["muster"]["job_id"]), "--score", "0.25")
    card = run_json(pool, capsys, "cards", "ada")
    assert card["feedback_grades"]["n"] == 1
    assert card["feedback_grades"]["mean"] == pytest.approx((4 * 0.5 + 0.25) / 5)
    assert (card["graded"], card["total"]) == (before["graded"], before["total"])


def bench_lines(folder: Path, n: int) -> tuple[str, str]:
    """Held-out open questions and sums, and scores of all experts' answers to them."""
    file = write_open_questions(folder / "held.jsonl", range(N, N + n))
    sums = [
        {"id": f"t{i}", "question": f"What is 5{i} plus 5{i}?", "answer": str(100 + 2 * i)} for i in range(4)
    ]
    lines = [json.dumps({**line, "answer_type": "number"}) for line in sums]
    file.write_text(file.read_text() + "\n".join(lines) + "\n")
    marks = {"ada": 0.9, "bob": 0.5, "eve": 0.1}
    scores = [
        {"id": f"q{i}", "expert": e, "score": mark} for i in range(N, N + n) for e, mark in marks.items()
    ]
    path = folder / "held-scores.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in scores))
    return str(file), str(path)


def test_bench_compares_open_questions_where_scores_exist_and_says_where_not(
    pool: Path, known: str, tmp_path: Path, capsys: Captured
) -> None:
    main(["--config", str(pool), "profile", known, "--no-exam", "--judge", "critic"])
    held, scores = bench_lines(tmp_path, 22)
    words = ("bench", held, "-c", "best_single", "-c", "auto")
    silent = run_json(pool, capsys, *words)
    assert silent["n_queries"] == 4
    assert [row["n"] for row in silent["graded"]["rows"]] == [0, 0]
    report = run_json(pool, capsys, *words, "--scores", scores)
    rows = {row["name"]: row for row in report["graded"]["rows"]}
    assert rows["best_single"]["grade"] == pytest.approx(0.9), "the best graded expert answers"
    assert rows["best_single"]["n"] == 22
    assert report["rows"][0]["accuracy"] == 1.0
    shown = text_of(pool, capsys, *words, "--scores", scores)
    assert "22 open questions" in shown
    judged = run_json(pool, capsys, *words, "--judge", "critic")
    rows = {row["name"]: row for row in judged["graded"]["rows"]}
    assert rows["best_single"]["grade"] == pytest.approx(8 / 9)
    assert judged["graded"]["judge"] == "critic"
    assert (
        "not both"
        in run_json(pool, capsys, *words, "--judge", "critic", "--scores", scores, code=2)["error"]["message"]
    )
    assert "'ada' is no judge" in run_json(pool, capsys, *words, "--judge", "ada", code=2)["error"]["message"]


@pytest.mark.parametrize(
    ("model", "base", "warns"),
    [
        ("scripted/critic", None, False),
        ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-{n}B-Instruct", True),
        ("google/gemma-2-9b", "Qwen/Qwen2.5-{n}B-Instruct", False),
    ],
)
def test_config_check_warns_of_a_judge_of_the_family_of_most_of_the_pool(
    tmp_path: Path, capsys: Captured, model: str, base: str | None, warns: bool
) -> None:
    pool = write_graded_pool(tmp_path, judge_model=model)
    config = yaml.safe_load(pool.read_text())
    for number, member in enumerate(config["model_list"][:-1]):
        if base is not None:
            member["litellm_params"]["model"] = base.format(n=number + 1)
    pool.write_text(yaml.safe_dump(config))
    remarks = run_json(pool, capsys, "config", "check")["remarks"]
    assert any("judge 'critic' is of the family" in remark for remark in remarks) is warns


# ── REST ─────────────────────────────────────────────────────────────────────────────────────────

PATH = "/v1/profiles"
JSONL = {"content-type": "application/jsonl"}


@pytest.fixture
def app(pool: Path) -> Iterator[App]:
    with open_app(load_settings(pool), background=True) as app:
        yield app


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def profiled(client: TestClient, known: str, **params: object) -> dict[str, object]:
    content = Path(known).read_bytes()
    started = client.post(PATH, content=content, headers=JSONL, params={"exam": False, **params})
    assert started.status_code == 202, started.text
    run_id = started.json()["id"]

    def look() -> dict[str, object] | None:
        run: dict[str, object] = client.get(f"{PATH}/{run_id}").json()
        return run if run["state"] not in ("running", "cancelling") else None

    return wait_for("the end", look, within_s=90)


def uploaded(client: TestClient, path: str) -> str:
    files = {"file": ("scores.jsonl", Path(path).read_bytes())}
    response = client.post("/v1/files", files=files, data={"purpose": "batch"})
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


def test_a_judge_and_given_scores_over_rest(client: TestClient, known: str, tmp_path: Path) -> None:
    run = profiled(client, known, judge="critic")
    assert (run["state"], run["source"], run["judge"]) == ("completed", "reference", "critic")
    assert (run["scored"], run["unscored"], run["self_agreement"]) == (3 * N, 0, 1.0)
    card = client.get("/v1/experts/ada/card").json()
    assert card["graded"]["source"] == "reference"
    assert card["graded"]["gap"] is None, "it is the best"
    assert client.get("/v1/experts/eve/card").json()["graded"]["gap"]["best"] == "ada"
    assert client.get("/v1/experts/ada").json()["grade"] == card["graded"]["total"]["mean"]

    file_id = uploaded(client, write_scores(tmp_path / "s.jsonl", {"ada": 0.1, "bob": 0.2, "eve": 0.9}))
    run = profiled(client, known, scores=file_id)
    assert (run["source"], run["judge"], run["scored"]) == ("imported", "people", 3 * N)
    assert client.get("/v1/experts/ada/card").json()["graded"]["gap"]["best"] == "eve"


@pytest.mark.parametrize(
    ("params", "status", "param"),
    [
        ({"judge": "ada"}, 400, "judge"),
        ({"judge": "nobody"}, 404, "judge"),
        ({"judge": "critic", "anchor": "critic"}, 400, "anchor"),
        ({"anchor": "ada"}, 400, "anchor"),
        ({"judge": "critic", "scores": "file-1"}, 400, "scores"),
        ({"scores": "file-1"}, 404, None),
    ],
)
def test_scores_that_cannot_be_had_are_refused(
    client: TestClient, known: str, params: dict[str, str], status: int, param: str | None
) -> None:
    response = client.post(PATH, content=Path(known).read_bytes(), headers=JSONL, params=params)
    assert response.status_code == status, response.text
    if param is not None:
        assert response.json()["error"]["param"] == param
    assert client.get(PATH).json()["data"] == []
