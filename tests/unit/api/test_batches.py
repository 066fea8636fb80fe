"""Answer files: form, order, and all or nothing. (Whole runs: tests/integration/test_cli.py)"""

import json
import stat
from pathlib import Path

import pytest

from api.batches import Batch, check_output, model_name, write_answers
from orchestrator.domain.answers import Answer
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError
from orchestrator.ports import AnsweredQuery
from tests.fakes.app import ANSWER, FakeApp

FAILED = Answer(text="", error_code="backend_error", error="nobody answered.")


def answered(app: FakeApp, *items: tuple[str, Answer]) -> FakeApp:
    queries = [AnsweredQuery(Query(id=i, question="Why?"), answer) for i, answer in items]
    app.service.results = lambda job_id: iter(queries)  # type: ignore[method-assign]
    return app


def write(folder: Path, app: FakeApp, source: str) -> list[str]:
    file, out = folder / "in.jsonl", folder / "out.jsonl"
    file.write_text(source)
    write_answers(app, Batch(file, "job", "auto", 7), out)
    return out.read_text().splitlines()


def test_own_and_openai_lines_keep_their_form(tmp_path: Path) -> None:
    app = answered(FakeApp(), ("a", ANSWER), ("b", FAILED), ("c", ANSWER))
    source = '{"id": "a"}\n\n{"custom_id": "b"}\n{"custom_id": "c"}\n'
    own, failed, completion = (json.loads(line) for line in write(tmp_path, app, source))
    assert (own["id"], own["value"], own["error"]) == ("a", "B", None)
    assert own["muster"]["usage"] == {"prompt_tokens": 25, "completion_tokens": 7, "cost_usd": 0.0}
    assert failed["error"] == {"code": "backend_error", "message": "nobody answered."}
    assert (failed["custom_id"], failed["response"]) == ("b", None)
    assert completion["response"]["body"]["usage"]["total_tokens"] == 32


def test_ids_of_output_lines_are_the_same_in_every_run(tmp_path: Path) -> None:
    source = '{"custom_id": "a"}\n'
    first, second = (write(tmp_path, answered(FakeApp(), ("a", ANSWER)), source) for _ in range(2))
    assert first == second


def test_a_failed_write_leaves_the_old_file_and_no_part_of_the_new(tmp_path: Path) -> None:
    app = FakeApp()

    def broken(job_id: str) -> object:
        yield AnsweredQuery(Query(id="a", question="Why?"), ANSWER)
        raise OSError(28, "No space left on device")

    app.service.results = broken  # type: ignore[method-assign,assignment]
    (tmp_path / "out.jsonl").write_text("old\n")
    with pytest.raises(InputError, match="No space left"):
        write(tmp_path, app, '{"id": "a"}\n')
    assert (tmp_path / "out.jsonl").read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_answer_files_are_as_readable_as_any_new_file(tmp_path: Path) -> None:
    write(tmp_path, answered(FakeApp(), ("a", ANSWER)), '{"id": "a"}\n')
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out.jsonl", "plain")}
    assert len(modes) == 1


@pytest.mark.parametrize("out", ["in.jsonl", "./x/../in.jsonl", "no/where.jsonl", "x"])
def test_impossible_outputs_are_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").touch()
    Path("x").mkdir()
    with pytest.raises(InputError):
        check_output(Path("in.jsonl"), Path(out))


@pytest.mark.parametrize(
    ("composition", "model"), [("auto", "auto"), ("knn", "muster/knn"), ("expert:org/a", "org/a")]
)
def test_compositions_have_the_names_of_the_rest_api(composition: str, model: str) -> None:
    assert model_name(composition) == model
