"""Every number of the list of bad inputs has a test: in a table here, or where it says."""

import re
from pathlib import Path

import pytest

from tests.bad_inputs import test_bad_inputs_lines, test_bad_inputs_rest, test_bad_inputs_settings
from tests.harness.processes import ROOT

HERE = Path(__file__).parent
ELSEWHERE = {
    30: ("integration/test_isolation.py", "test_what_is_anothers_is_as_what_there_is_not"),
    31: ("unit/api/test_keys.py", "test_what_is_no_key_is_refused_in_the_same_words"),
    62: (
        "unit/workers/checkpoints/test_weight_origins.py",
        "test_base_weights_as_pickles_are_refused_and_not_read",
    ),
    66: ("unit/orchestrator/services/test_decks.py", "test_a_deck_that_is_not_as_exported_is_refused"),
    69: (
        "unit/orchestrator/services/test_engine_board.py",
        "test_processes_of_another_configuration_are_named_once",
    ),
    70: ("unit/skills/test_vocabulary.py", "test_a_million_skills_are_refused_without_reading_them_all"),
    71: ("unit/orchestrator/routing/parts/test_deck.py", "test_an_unknown_query_gets_the_global_accuracies"),
}
"""Of a number: the file below `tests/`, and the test."""
REVIEWED = {
    "failed answers can be asked for again": (
        "integration/test_ended_jobs.py",
        "test_a_running_job_is_409_for_retry_and_delete_until_it_is_cancelled",
    ),
    "thousands of keys, one twice": (
        "unit/api/middleware/test_strict_json.py",
        "test_a_repeated_key_among_many_is_found_in_one_pass",
    ),
    "half-sent requests": (
        "integration/test_slow_clients.py",
        "test_a_thousand_half_open_connections_keep_nobody_waiting",
    ),
    "foreign pages": ("unit/api/middleware/test_origins.py", "test_pages_of_others_neither_act_nor_read"),
    "names that lead here": (
        "unit/api/middleware/test_origins.py",
        "test_other_names_are_refused_with_the_remedy",
    ),
    "deleting": ("integration/test_ended_jobs.py", "test_a_deleted_job_is_404_and_its_key_is_free"),
    "a thousand event streams": (
        "unit/api/views/test_jobs_feed.py",
        "test_a_thousand_followers_of_a_job_share_one_reader",
    ),
    "a seed of its own with each question": (
        "unit/orchestrator/compositions/test_catalogue.py",
        "test_what_requests_ask_of_their_calls_is_not_kept",
    ),
    "control strings": (
        "unit/orchestrator/prompts/test_prompts.py",
        "test_no_text_of_others_carries_a_control_string_into_a_prompt",
    ),
    "secrets": (
        "integration/test_no_secret_gets_out.py",
        "test_a_server_shows_no_secret_of_its_own_or_of_its_callers",
    ),
    "forged log lines": (
        "unit/orchestrator/runtime/test_logs.py",
        "test_a_record_is_one_line_without_control_characters",
    ),
    "surrogates and NUL anywhere": (
        "integration/test_hostile_strings.py",
        "test_no_text_of_any_request_is_a_fault_of_the_server",
    ),
    "a key after a change of the configuration": (
        "integration/test_rest_jobs.py",
        "test_a_key_stands_for_its_request_whatever_the_configuration_has_become",
    ),
    "processes of another configuration": (
        "unit/orchestrator/services/test_engine_board.py",
        "test_processes_of_another_configuration_are_named_once",
    ),
}
"""Faults that reviews found behind the REST API, and the test of each."""


def here() -> set[int]:
    """Numbers of the tables of this folder, and of tests and their cases that begin with one."""
    tables = [test_bad_inputs_rest.BAD, test_bad_inputs_lines.BAD, test_bad_inputs_settings.MISTAKES]
    cases = [*test_bad_inputs_rest.UNUSUAL, *test_bad_inputs_lines.ACCEPTED]
    tests = re.findall(r"def test_(\d+)_", "".join(path.read_text() for path in HERE.glob("test_*.py")))
    return {
        *(row.number for table in tables for row in table),
        *(int(case.split()[0]) for case in cases),
        *map(int, tests),
    }


def test_all_71_are_tested() -> None:
    assert sorted({*range(1, 72)} - here() - set(ELSEWHERE)) == []


@pytest.mark.parametrize(("file", "name"), [*ELSEWHERE.values(), *REVIEWED.values()])
def test_what_is_tested_elsewhere_is_there(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / "tests" / file).read_text()
