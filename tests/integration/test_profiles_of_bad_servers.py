"""Profiles of experts whose servers fail: what could not be measured is told, and is on no card."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.cli.main import main
from tests.fakes.bad_server import (
    Act,
    BadServer,
    completion,
    refuses,
    says,
)
from tests.harness.processes import free_port

Captured = pytest.CaptureFixture[str]
N = 4
RIGHT = "The answer is 4."
Write = Callable[[Mapping[str, Act]], Path]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    lines = [
        {"id": f"q{n}", "question": f"What is 2 + 2, for the {n}th time?", "answer": "4"} for n in range(N)
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(f"{json.dumps({**line, 'answer_type': 'number'})}\n" for line in lines))
    return path


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """A pool file whose experts' servers do the same at every call."""
    with ExitStack() as stack:

        def written(acts: Mapping[str, Act]) -> Path:
            muster = {
                "engine": "server",
                "prompt": "plain",
                "options": {"check_models": False, "timeout_s": 1},
            }
            rows: list[dict[str, Any]] = [
                {
                    "model_name": name,
                    "litellm_params": {
                        "model": name,
                        "api_base": stack.enter_context(BadServer(*[act] * 99)).url,
                    },
                    "model_info": {"muster": muster},
                }
                for name, act in acts.items()
            ]
            section = {"data_dir": str(tmp_path / "data"), "embedder": {"model": "hash"}}
            path = tmp_path / "pool.yaml"
            document = {"model_list": rows, "muster": section, "router_settings": {"num_retries": 0}}
            path.write_text(yaml.safe_dump(document))
            return path

        yield written


def profiled(pool: Path, questions: Path, capsys: Captured, *, code: int) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["--config", str(pool), "profile", str(questions), "--no-exam", "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def lines_of(pool: Path, questions: Path, capsys: Captured, *, code: int) -> str:
    capsys.readouterr()
    assert main(["--config", str(pool), "profile", str(questions), "--no-exam"]) == code
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (refuses(404), "HTTP 404"),
        (refuses(401), "HTTP 401"),
        (refuses(400), "HTTP 400"),
    ],
    ids=["no such model", "wrong key", "refused"],
)
def test_expert_that_could_not_be_asked_is_told_with_the_reason_and_ends_in_code_1(
    write: Write, questions: Path, capsys: Captured, act: Act, why: str
) -> None:
    pool = write({"good": says(completion(RIGHT)), "bad": act})
    told = lines_of(pool, questions, capsys, code=1)
    assert f"bad: {N} of {N} questions not measured: " in told
    assert why in told
    assert f"{N} responses measured" in told


def test_what_failed_is_asked_again_and_what_was_measured_is_not(
    write: Write, questions: Path, capsys: Captured
) -> None:
    """The first four calls are refused."""
    right = says(completion(RIGHT))
    with BadServer(*[refuses(404)] * N, *[right] * N) as mended:
        pool = write({"good": right, "bad": right})
        document = yaml.safe_load(pool.read_text())
        document["model_list"][1]["litellm_params"]["api_base"] = mended.url
        pool.write_text(yaml.safe_dump(document))
        first = profiled(pool, questions, capsys, code=1)
        again = profiled(pool, questions, capsys, code=0)

    assert (first["unmeasured"], first["accuracy"]) == ({"bad": N}, {"good": 1.0})
    assert (again["unmeasured"], again["n_asked"], again["n_reused"]) == ({}, N, N)
    assert again["accuracy"] == {"good": 1.0, "bad": 1.0}


def test_responses_that_were_cut_off_are_told_beside_the_abstentions_that_they_are(
    write: Write, questions: Path, capsys: Captured
) -> None:
    acts = {"good": says(completion(RIGHT)), "long": says(completion("I think, and", reason="length"))}
    told = lines_of(write(acts), questions, capsys, code=0)
    assert f"long: {N} responses were cut off before an answer could be read" in told
    assert "max_tokens" in told
    assert "good:" not in told


def test_response_that_ended_by_itself_without_an_answer_was_not_cut_off(
    write: Write, questions: Path, capsys: Captured
) -> None:
    pool = write({"unsure": says(completion("I do not know."))})
    report = profiled(pool, questions, capsys, code=0)
    assert (report["cut_off"], report["unmeasured"], report["accuracy"]) == ({}, {}, {"unsure": 0.0})


def nobody_there(row: dict[str, Any]) -> None:
    row["litellm_params"]["api_base"] = f"http://127.0.0.1:{free_port()}/v1"
    row["model_info"]["muster"]["options"] = {}


def no_such_host(row: dict[str, Any]) -> None:
    row["litellm_params"]["api_base"] = "http://no-such-host.invalid/v1"
    row["model_info"]["muster"]["options"] = {}


def a_command_that_ends(row: dict[str, Any]) -> None:
    del row["litellm_params"]["api_base"]
    row["model_info"]["muster"] |= {"engine": "command", "options": {"command": "false {port}"}}


@pytest.mark.representatives(1)
@pytest.mark.parametrize(
    ("change", "why", "remedy"),
    [
        (nobody_there, "cannot be reached", "Start the server, or correct api_base"),
        (no_such_host, "cannot be reached", "Start the server, or correct api_base"),
        (a_command_that_ends, "its command ended with code 1", "It wrote nothing"),
    ],
)
def test_server_that_is_away_is_told_in_lines_with_the_remedy_and_no_trace(
    write: Write,
    capfd: Captured,
    change: Callable[[dict[str, Any]], None],
    why: str,
    remedy: str,
) -> None:
    pool = write({"bad": says(completion(RIGHT))})
    document = yaml.safe_load(pool.read_text())
    change(document["model_list"][0])
    pool.write_text(yaml.safe_dump(document))
    capfd.readouterr()
    assert main(["--config", str(pool), "ask", "What is 2 + 2?", "-c", "bad"]) == 1
    told = capfd.readouterr()
    last = told.err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert why in last
    assert remedy in last
    assert "Traceback" not in told.out + told.err
