"""The pages in a real browser, as people use them; `make test-clients CLIENTS=browser`.

What the browser does is in programs/pages_in_chromium.py, one function a feature.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.embedded import serving
from tests.harness.processes import ROOT

HOME = ROOT / ".venv-clients-browser"
PROGRAM = Path(__file__).parent / "programs" / "pages_in_chromium.py"
RIGHT = "The answer is 6."
WORDS = "First one counts, and then one counts again. " * 10
LIMIT_S = 400.0
NOTHING: list[str] = []
TWICE = "a_form_that_is_sent_twice_makes_one_thing"
KEPT = "a_key_is_asked_for_and_forgotten"

FEATURES: Mapping[str, object] = {
    "light_pages_have_no_serious_findings": NOTHING,
    "dark_pages_have_no_serious_findings": NOTHING,
    "pages_of_a_phone_have_no_serious_findings": NOTHING,
    "an_answer_has_no_serious_findings": NOTHING,
    "nothing_sticks_out_on_a_phone": NOTHING,
    "a_page_is_small_and_asks_nobody_else": NOTHING,
    "a_question_is_followed_to_its_answer": {
        "answer": RIGHT,
        "heading": "Answer",
        "votes": True,
        "reasons": True,
        "told": "",
    },
    "stages_are_told_while_a_slow_expert_answers": {"expert": True, "answer": RIGHT},
    "what_an_expert_said_is_shown_while_others_are_asked": [
        RIGHT,
        "Only beta answers this late.",
        "muster/majority_all",
    ],
    "what_an_expert_writes_is_shown_while_it_writes": {
        "grows": True,
        "counted": True,
        "begins": True,
        "closed at the end": True,
    },
    "an_answer_that_streams_stands_once": [0, True],
    "an_expert_that_is_heard_again_has_a_line_for_each_time": [
        "",
        ", 2",
        ", 3",
    ],
    "the_system_is_kept_current_and_stays_sorted": ["scribe", "descending"],
    "a_long_word_is_broken_and_those_of_the_menu_are_not": [0, 1],
    "a_page_that_cannot_be_kept_current_says_so": [True, True],
    "an_answer_that_breaks_off_is_none": ["The server cannot be reached. Ask again when it can.", ""],
    "a_question_is_stopped": "Stopped.",
    "an_error_is_told_where_it_is_heard": "alert",
    "everything_is_reached_by_keyboard": ["Skip to content", "#content", "question", "Ask"],
    "a_judgement_is_taken_and_shown": ["true", "false", "Thank you: the cards learn from it."],
    "an_answer_is_found_again_by_its_link": RIGHT,
    "a_file_is_answered_to_its_end": {"lines": 20, "listed": True},
    "a_bad_file_is_told_line_by_line": [True, True],
    "what_failed_is_run_again_by_a_button": [True, True],
    "the_pages_work_without_scripts": [RIGHT, "Experts"],
    "what_cannot_be_undone_is_asked_before": ["Its questions", NOTHING, "Delete the job", True],
    "the_table_of_experts_is_sorted_by_its_heads": ["alpha", "scribe", "descending"],
}
"""What each comes to."""


def pool() -> dict[str, object]:
    late = {"match": "Only beta answers this late", "reply": RIGHT, "delay_s": 2.0}
    wordy = {"match": "in many words", "reply": f"{WORDS} {RIGHT}"}
    rules: list[dict[str, object]] = [
        {"match": "slowly", "reply": RIGHT, "delay_s": 1.5},
        {"match": "cannot be answered", "fail": "generation_failed"},
        {"match": "fails once", "fail": "generation_failed", "times": 1},
        {"regex": ".", "reply": RIGHT},
    ]
    own: dict[str, list[dict[str, object]]] = {"alpha": [], "beta": [late], "scribe": [wordy]}
    speeds = {"scribe": {"tokens_per_s": 40}}
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": f"scripted/{name}"},
            "model_info": {
                "muster": {
                    "engine": "scripted",
                    "options": {"rules": own[name] + rules, **speeds.get(name, {})},
                }
            },
        }
        for name in ("alpha", "beta", "scribe")
    ]
    return {"model_list": members, "muster": {"data_dir": "data", "embedder": {"model": "hash"}}}


def muster(folder: Path, *arguments: str) -> str:
    """Output of a command over the pool of a folder."""
    command = [sys.executable, "-m", "api.cli.main", "--config", "pool.yaml", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "pool.yaml").write_text(yaml.safe_dump(pool()))
    known = [
        {"question": f"What is {n} plus 3?", "answer": "6" if n == 3 else "0", "answer_type": "number"}
        for n in range(12)
    ]
    (folder / "profile.jsonl").write_text("".join(json.dumps(line) + "\n" for line in known))
    muster(folder, "profile", "profile.jsonl", "--no-exam")
    with serving(folder) as (_, address):
        yield address


@cache
def outcomes(url: str, *names: str, key: str = "none") -> Mapping[str, Mapping[str, Any]]:
    """What features came to, from one run of the program."""
    command = [str(HOME / "bin" / "python"), str(PROGRAM), url, "browser", *names]
    env = {"PATH": os.environ["PATH"], "HOME": str(HOME), "NO_PROXY": "*", "MUSTER_KEY": key}
    done = subprocess.run(command, env=env, cwd=HOME, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.stdout.strip(), done.stderr[-4000:]
    found: Mapping[str, Mapping[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.timeout(LIMIT_S + 120)
@pytest.mark.parametrize("feature", FEATURES)
def test_pages_do_what_people_expect(feature: str, url: str) -> None:
    assert outcomes(url, *FEATURES)[feature] == {"got": FEATURES[feature]}


def test_a_double_click_makes_one_key_and_revoking_it_asks(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool()))
    with serving(tmp_path) as (_, address):
        assert outcomes(address, TWICE)[TWICE] == {"got": [1, True, 1]}


def test_a_server_with_keys_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool()))
    made = muster(
        tmp_path, "keys", "create", "--name", "people", "--scope", "ask", "--scope", "admin", "--json"
    )
    with serving(tmp_path) as (_, address):
        found = outcomes(address, KEPT, key=json.loads(made)["secret"])[KEPT]
    assert found == {"got": ["/login", "This key is not know", "", "/login"]}
