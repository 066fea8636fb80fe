"""Aggregators that ask for more, through the whole of Muster: store, scheduler, engines (scripted ones)."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.requests import AskOptions
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import events, write_pool, write_questions

N_QUESTIONS = 12
RULES = [
    {"match": "are to be scored", "reply": "Candidate 1 is sound.\nScores: 8 5"},
    {"match": "Better: 1", "reply": "Better: 1"},
    {"match": "Score: N", "reply": "Score: 7"},
    {"match": "Choice: N", "reply": "- right\nChoice: 1"},
    {"match": "argue for candidate 1", "reply": "Candidate 1 adds up."},
    {"match": "You lead experts", "reply": "FINAL\nThe answer is (A)."},
]
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "judge": {"k": 2},
    "ranker": {},
    "weak_verifiers": {},
    "debate": {"aggregator": "alpha", "rounds": 1},
    "debate-mutual": {"protocol": "mutual"},
    "moa": {},
    "conductor": {},
    "self_consistency": {"samples": 3},
    "choice_shuffle": {"permutations": 2},
    "stability": {},
    "mbr": {"samples": 2, "one_pass": True},
    "cascade": {"vote": "weighted"},
}
ROLES = {
    "judge": {"judge"},
    "ranker": {"judge"},
    "weak_verifiers": {"verify"},
    "debate": {"discuss", "judge"},
    "debate-mutual": {"discuss"},
    "moa": {"discuss", "aggregate"},
    "conductor": {"aggregate"},
    "self_consistency": {"sample"},
    "choice_shuffle": {"sample"},
    "stability": {"sample"},
    "mbr": {"sample", "judge"},
    "cascade": set(),
}


def compositions() -> dict[str, object]:
    """One of each; in a debate the judge must not have answered."""
    return {
        f"by-{name}": {
            "router": "all",
            "aggregator": name.split("-")[0],
            "aggregator_options": dict(options),
            **({"experts": ["org/beta", "gamma"]} if name == "debate" else {}),
        }
        for name, options in OPTIONS.items()
    }


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("asking")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_questions(folder / "questions.jsonl", range(40, 40 + N_QUESTIONS))
        with open_app(load_settings(write_pool(folder, rules=RULES, compositions=compositions()))) as app:
            yield app


@pytest.mark.parametrize("name", OPTIONS)
def test_every_question_is_answered_and_the_calls_are_told_by_role(app: App, name: str) -> None:
    queries = read_questions(Path("questions.jsonl"))
    job_id = app.jobs.submit(queries, AskOptions(model=f"by-{name}"))
    progress = app.jobs.run(job_id)
    answers = [item.answer for item in app.jobs.answers(job_id)]
    assert (progress.completed, progress.failed) == (N_QUESTIONS, 0)
    assert all(answer.value and answer.aggregator == name.split("-")[0] for answer in answers)
    assert {role for answer in answers for role in answer.usage_by_role} == {"expert"} | ROLES[name]
    stored = {q.id: len(responses) for q, responses in app.store.responses(job_id)}
    assert [answer.n_calls for answer in answers] == list(stored.values())


def test_a_process_that_dies_between_an_aggregators_calls_goes_on_from_what_is_stored(tmp_path: Path) -> None:
    """The judge's engine takes the process with it once, after the advocates have spoken."""
    dies = {"match": "Two sides debated", "times": 1, "exit_code": 9}
    pool = write_pool(tmp_path, rules=[dies, *RULES], compositions=compositions())
    write_questions(tmp_path / "questions.jsonl", range(40, 46))
    command = [sys.executable, "-m", "api.cli.main", "--config", pool.name, "--json"]
    command += ["batch", "questions.jsonl", "--out", "answers.jsonl", "-c", "by-debate"]
    first, second = (subprocess.run(command, cwd=tmp_path, capture_output=True, text=True) for _ in range(2))
    assert first.returncode != 0
    assert second.returncode == 0, second.stderr
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(answers) == 6
    calls = [event["request"] for event in events(tmp_path, "generation") if event["engine"] != "alpha"]
    assert len(set(map(str, calls))) == len(calls) > 2 * 6  # the advocates' turns among them
    assert len({event["pid"] for event in events(tmp_path, "load")}) == 2
