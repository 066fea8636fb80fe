"""What every store of files and batches promises, and what a kill at any step of a batch leaves behind."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from api.views.jobs_lines import LINE_FORMS
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.assignments import Job
from orchestrator.domain.batches import Batch, BatchState, Purpose, StoredFile
from orchestrator.errors import FileInUseError, InputError, NotFoundError
from orchestrator.ports.batches import AnsweredJob, LineForms, LineReader, Page
from orchestrator.ports.jobs import AnsweredQuery
from orchestrator.services import batch_work
from orchestrator.settings.load import load_settings
from orchestrator.store import Database, SqlBatchStore, SqlFileStore, SqlJobStore, reading
from tests.integration.scripted_pool import question, write_pool

N_LINES = 60


@pytest.fixture
def files(database: Database) -> SqlFileStore:
    return SqlFileStore(database)


@pytest.fixture
def batches(database: Database) -> SqlBatchStore:
    return SqlBatchStore(database)


def kept(files: SqlFileStore, file_id: str, *parts: bytes, **fields: object) -> StoredFile:
    begun = StoredFile(id=file_id, purpose=Purpose.BATCH, filename="in.jsonl", **fields)  # type: ignore[arg-type]
    files.begin_file(begun)
    for ix, part in enumerate(parts):
        files.add_chunk(file_id, ix, part)
    return files.finish_file(file_id)


def batch_of(file_id: str, batch_id: str = "batch_1") -> Batch:
    return Batch(
        id=batch_id,
        endpoint="/v1/chat/completions",
        input_file_id=file_id,
        window="24h",
        created_at=1.0,
        expires_at=4e9,
    )


def test_a_file_is_seen_when_it_is_whole_and_gives_its_bytes_back(files: SqlFileStore) -> None:
    begun = StoredFile(id="file-1", purpose=Purpose.BATCH, filename="ü.jsonl", owner="ada")
    assert files.begin_file(begun)
    files.add_chunk("file-1", 0, b"half")
    with pytest.raises(NotFoundError):
        files.file("file-1")
    assert files.begin_file(begun)  # another attempt begins anew
    files.add_chunk("file-1", 0, b"a\x00\xff" * 1000)
    files.add_chunk("file-1", 1, b"b")
    file = files.finish_file("file-1")
    assert (file.n_bytes, file.owner, file.filename) == (3001, "ada", "ü.jsonl")
    assert not files.begin_file(begun)
    assert b"".join(files.chunks("file-1")) == b"a\x00\xff" * 1000 + b"b"


def test_a_file_whose_time_is_over_is_gone_and_its_room_is_freed(files: SqlFileStore) -> None:
    with pytest.raises(NotFoundError):
        kept(files, "old", b"x", expires_at=1.0)
    kept(files, "new", b"x", expires_at=4e9)
    assert files.drop_expired(limit=9) == 1
    assert [file.id for file in files.files(Page(9))] == ["new"]


@pytest.mark.parametrize("n_read", [0, 1, 2])
def test_a_file_that_is_deleted_while_it_is_read_does_not_look_like_a_shorter_one(
    files: SqlFileStore, n_read: int
) -> None:
    kept(files, "file-1", b"one\n", b"two\n", b"three\n")
    parts = files.chunks("file-1")
    assert [next(parts) for _ in range(n_read)] == [b"one\n", b"two\n"][:n_read]
    files.delete_file("file-1")
    with pytest.raises(NotFoundError):
        next(parts)


def test_a_file_without_a_byte_is_a_file(files: SqlFileStore) -> None:
    assert kept(files, "file-1").n_bytes == 0
    assert list(files.chunks("file-1")) == []


def test_a_file_that_is_deleted_after_its_last_byte_came_was_read_whole(files: SqlFileStore) -> None:
    kept(files, "file-1", b"one\n", b"two\n")
    parts = files.chunks("file-1")
    assert (next(parts), next(parts)) == (b"one\n", b"two\n")
    files.delete_file("file-1")
    assert list(parts) == []


@pytest.mark.parametrize("oldest_first", [True, False])
def test_who_deletes_each_page_before_the_next_reads_every_file(
    files: SqlFileStore, oldest_first: bool
) -> None:
    names = [f"file-{n}" for n in range(5)]
    for name in names:
        kept(files, name, b"x", owner="ada")
    read: list[str] = []
    page = Page(2, owner="ada", oldest_first=oldest_first)
    while found := [file.id for file in files.files(page)]:
        read += found
        for name in found:
            files.delete_file(name)
        with pytest.raises(InputError, match="in this list"):
            files.files(Page(2, after=found[-1], owner="bob"))
        page = page._replace(after=found[-1])
    assert read == (names if oldest_first else names[::-1])


def test_a_file_that_comes_while_the_last_one_is_deleted_is_on_the_next_page(files: SqlFileStore) -> None:
    """SQLite gives the number of the last row to the next one once that is deleted."""
    kept(files, "file-1", b"x", owner="ada")
    files.delete_file("file-1")
    kept(files, "file-2", b"x", owner="ada")
    after = Page(2, after="file-1", owner="ada", oldest_first=True)
    assert [file.id for file in files.files(after)] == ["file-2"]


def test_pages_follow_each_other_in_both_orders_and_show_only_ones_own(files: SqlFileStore) -> None:
    for n in range(4):
        kept(files, f"file-{n}", b"x", owner="ada" if n else "bob")
    mine = Page(2, owner="ada")
    assert [file.id for file in files.files(mine)] == ["file-3", "file-2"]
    assert [file.id for file in files.files(mine._replace(after="file-2"))] == ["file-1"]
    assert [file.id for file in files.files(mine._replace(oldest_first=True))] == ["file-1", "file-2"]
    for nobodys_or_bobs in ("none", "file-0"):
        with pytest.raises(InputError, match="in this list"):
            files.files(mine._replace(after=nobodys_or_bobs))
    assert len(files.files(Page(9))) == 4


def test_a_file_is_kept_while_a_batch_reads_it(files: SqlFileStore, batches: SqlBatchStore) -> None:
    kept(files, "file-1", b"x", expires_at=4e9)
    batches.add_batch(batch_of("file-1"))
    with pytest.raises(FileInUseError):
        files.delete_file("file-1")
    batches.change("batch_1", lambda b: b.moved(BatchState.FAILED, 2.0))
    files.delete_file("file-1")
    with pytest.raises(NotFoundError):
        files.delete_file("file-1")
    with pytest.raises(NotFoundError):
        batches.add_batch(batch_of("file-1", "batch_2"))


def test_one_process_works_on_a_batch_until_its_claim_runs_out(
    files: SqlFileStore, batches: SqlBatchStore
) -> None:
    kept(files, "file-1", b"x")
    batches.add_batch(batch_of("file-1"))
    first = batches.claim_batch(for_s=60)
    assert first is not None
    assert batches.claim_batch(for_s=60) is None
    assert batches.renew_batch(first, for_s=-1)
    second = batches.claim_batch(for_s=60)
    assert second is not None
    assert not batches.renew_batch(first, for_s=60)
    assert batches.settle_batch(first, lambda b: b.moved(BatchState.FAILED, 2.0)) is None
    settled = batches.settle_batch(second, lambda b: b.moved(BatchState.IN_PROGRESS, 2.0))
    assert settled is not None
    assert settled.state is batches.batch("batch_1").state is BatchState.IN_PROGRESS


def test_a_batch_in_progress_is_worked_on_when_its_job_has_ended(
    files: SqlFileStore, batches: SqlBatchStore, store: SqlJobStore
) -> None:
    kept(files, "file-1", b"x")
    batches.add_batch(batch_of("file-1").moved(BatchState.IN_PROGRESS, 2.0))
    store.submit(Job(id="batch_1", composition="any"), iter(()))
    claimed = batches.claim_batch(for_s=60)
    assert claimed is not None  # a job without questions is over


class KilledError(BaseException):
    """The process ends here."""


class Dying:
    """Forms of lines that end the process at the n-th line that is read, or told."""

    def __init__(self, *, read: int = 10**9, told: int = 10**9) -> None:
        self._read, self._told = read, told

    @property
    def forms(self) -> LineForms:
        return LINE_FORMS._replace(reader=self._reader, answer_line=self._line)

    def _reader(self, resolve: Any) -> LineReader:
        reader = LINE_FORMS.reader(resolve)
        inner = type(reader).__call__

        class Counted(type(reader)):  # type: ignore[misc]
            def __call__(counted, endpoint: str, body: dict[str, object]) -> dict[str, object]:
                self._read -= 1
                if self._read < 0:
                    raise KilledError
                return inner(counted, endpoint, body)

        counted: LineReader = Counted(resolve, own_form=False)
        return counted

    def _line(self, *given: Any) -> Any:
        self._told -= 1
        if self._told < 0:
            raise KilledError
        return LINE_FORMS.answer_line(*given)


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batch_work, "CLAIM_S", 0.0)  # a killed process's claim has run out
    with open_app(load_settings(write_pool(tmp_path, database_url=database_url))) as app:
        yield app


def begun(app: App) -> None:
    """A batch of lines that differ in temperature, of which one fails."""
    lines = []
    for n in range(N_LINES):
        chat = {"messages": [{"role": "user", "content": question(n)}], "temperature": n % 2}
        model = "alpha" if n else "org/beta"
        lines.append(json.dumps({"custom_id": f"c{n}", "body": {"model": model, **chat}}))
    content = Path("in.jsonl")
    content.write_text("\n".join(lines))
    with content.open("rb") as file:
        app.files.keep(StoredFile(id="file-1", purpose=Purpose.BATCH, filename="in.jsonl"), file)
    app.batches.create(batch_of("file-1"))


def state(app: App) -> BatchState:
    return app.batches.batch("batch_1").state


@pytest.mark.parametrize(
    "dying",
    [{"read": 10}, {"read": N_LINES + 10}, {"told": 0}, {"told": 30}, {"told": N_LINES - 1}],
    ids=["checking", "submitting", "first answer", "middle", "last answer"],
)
def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(app: App, dying: dict[str, int]) -> None:
    begun(app)
    mortal = Dying(**dying).forms
    survivor = app.clerk(LINE_FORMS)
    if "read" in dying:
        with pytest.raises(KilledError):
            app.clerk(mortal).round()
        assert state(app) is BatchState.VALIDATING
        with pytest.raises(NotFoundError):
            app.jobs.job("batch_1")
    survivor.round()
    assert state(app) is BatchState.IN_PROGRESS
    app.jobs.run("batch_1")
    assert state(app) is BatchState.FINALIZING
    if "told" in dying:
        with pytest.raises(KilledError):
            app.clerk(mortal).round()
        assert state(app) is BatchState.FINALIZING
    survivor.round()
    batch = app.batches.batch("batch_1")
    assert (batch.state, batch.counts.total, batch.error_file_id) == (BatchState.COMPLETED, N_LINES, None)
    outputs = app.files.files(Page(9), purpose=Purpose.BATCH_OUTPUT)
    assert [file.id for file in outputs] == [batch.output_file_id]
    told = b"".join(app.files.content(str(batch.output_file_id))).splitlines()
    assert Counter(json.loads(line)["custom_id"] for line in told) == Counter(f"c{n}" for n in range(N_LINES))
    survivor.round()
    assert app.batches.batch("batch_1") == batch


@pytest.mark.parametrize("n_told", [1, N_LINES // 2, N_LINES - 1])
def test_a_batch_whose_job_is_deleted_while_its_answers_are_written_does_not_end_with_a_part_of_them(
    app: App, monkeypatch: pytest.MonkeyPatch, n_told: int
) -> None:
    monkeypatch.setattr(reading, "PAGE", 1)
    begun(app)
    app.clerk(LINE_FORMS).round()
    app.jobs.run("batch_1")
    told = 0

    def told_and_deleted(item: AnsweredQuery, job: AnsweredJob) -> dict[str, JsonValue]:
        nonlocal told
        told += 1
        if told == n_told:
            app.ended.delete("batch_1")
        return LINE_FORMS.answer_line(item, job)

    clerk = app.clerk(LINE_FORMS._replace(answer_line=told_and_deleted))
    clerk.round()
    clerk.round()
    batch = app.batches.batch("batch_1")
    assert (batch.state, [problem.code for problem in batch.problems]) == (BatchState.FAILED, ["job_deleted"])
    assert told == n_told
    assert app.files.files(Page(9), purpose=Purpose.BATCH_OUTPUT) == []
