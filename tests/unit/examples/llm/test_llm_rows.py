"""Rows of the demo's report, and the sets of questions that it asks."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from examples.llm.demo import rows_table, spread
from examples.llm.pool import COMPOSITIONS, MODELS, SAMPLED, SHOWN, pool
from examples.llm.rows import Row, derived, difference, pairs, report_of
from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.cards import RIGHT
from orchestrator.domain.queries import LETTERS, AnswerType, Query
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from skills.grading.grader import AnswerGrader

HERE = Path(__file__).parents[4] / "examples/llm"
EXACT, OPEN = ("profile.jsonl", "test.jsonl"), ("open-profile.jsonl", "open-test.jsonl")


def row(name: str, *right: bool) -> Row:
    return Row(name, np.array(right), 1.0, 10.0, 20.0)


def query(number: int, kind: str = "text") -> Query:
    return Query.model_validate(
        {"id": str(number), "question": f"{number}?", "answer_type": kind, "answer": "1"}
    )


@pytest.mark.parametrize("name", [*EXACT, *OPEN])
def test_questions_can_be_read_and_none_stands_in_two_files(name: str) -> None:
    questions = read_questions(HERE / name)
    others = [
        q.content_hash for other in (*EXACT, *OPEN) if other != name for q in read_questions(HERE / other)
    ]
    assert len(questions) == (43 if name in EXACT else 10)
    assert not {q.content_hash for q in questions} & set(others)


def stated(query: Query) -> str:
    if isinstance(query.answer, int):
        return f"The answer is ({LETTERS[query.answer]})."
    if query.answer_type is AnswerType.JSON:
        return f"```json\n{query.answer}\n```"
    return f"The answer is `{query.answer}`" if query.answer_type is AnswerType.LITERAL else str(query.answer)


@pytest.mark.parametrize("name", EXACT)
def test_reference_answers_in_the_form_that_is_asked_for_are_graded_right(name: str) -> None:
    grader = AnswerGrader()
    for one in read_questions(HERE / name):
        said = Response(
            expert_id="", role=CallRole.EXPERT, stage=0, text=stated(one), finish_reason=FinishReason.STOP
        )
        assert grader.grade(one, said).outcome == RIGHT, one.id


def test_the_pool_is_a_valid_file_behind_servers_and_in_process(tmp_path: Path) -> None:
    addresses = {name: f"http://127.0.0.1:{8000 + i}/v1" for i, name in enumerate(MODELS)}
    for document in (pool(tmp_path, addresses=addresses), pool(tmp_path, checkpoints=tmp_path)):
        path = tmp_path / "muster.yaml"
        path.write_text(yaml.safe_dump(document))
        settings = load_settings(path)
        assert [member.model_name for member in settings.model_list] == list(MODELS)
        assert set(settings.muster.compositions) == set(COMPOSITIONS)


def test_questions_are_spread_over_the_file() -> None:
    assert [q.id for q in spread([query(i) for i in range(10)], 4)] == ["0", "2", "5", "7"]
    assert len(spread([query(0)], 4)) == 1


def test_the_oracle_is_right_where_anybody_is() -> None:
    single = {"a": row("a", True, False, False), "b": row("b", False, True, False)}
    found = derived(single, "b")
    assert found["oracle"].right.tolist() == [True, True, False]
    assert found["oracle"].calls == 2.0
    assert found["best_single"].right.tolist() == [False, True, False]


def test_shots_are_compared_with_the_same_model_without_them_and_asked_three_times() -> None:
    shown, sampled, model = next(iter(SHOWN)), next(iter(SAMPLED)), MODELS[0]
    assert pairs([model, shown, sampled, "best_single", "oracle"])[-2:] == [(shown, model), (shown, sampled)]
    assert (shown, sampled) not in pairs([model, shown, "best_single"])


def test_a_report_names_what_is_right_by_type_and_every_difference() -> None:
    """One of two right against none: half a point, all of it in one question."""
    queries = [query(0), query(1, "number")]
    rows = {"auto": row("auto", True, False), "best_single": row("best_single", False, False)}
    document = report_of(rows, queries)
    [told, _] = document["rows"]
    assert told["right_by_type"] == {"text": 1, "number": 0}
    [only] = document["differences"]
    assert (only["a"], only["b"], only["difference"]) == ("auto", "best_single", 0.5)
    assert str(document["verdict"]).startswith("do not route")
    assert difference(rows["auto"], rows["auto"]).ci95 == (0.0, 0.0)
    assert rows_table(document).row_count == 2
