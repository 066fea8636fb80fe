"""Weights on a host: recorded once, compared everywhere, read once."""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.fleet import FileMark, WeightsRecord, against
from orchestrator.errors import StoreUnavailableError
from workers.checkpoints.identity import SAMPLE_BYTES
from workers.checkpoints.marks import FileMarks, files_of
from workers.checkpoints.weights_watch import ExpertWeights, Mode, WeightsWatch


class Books:
    """Records in memory; `n_read` counts looks at them."""

    def __init__(self) -> None:
        self.records: dict[str, WeightsRecord] = {}
        self.is_away = False

    def weights(self, keys: Sequence[str]) -> Mapping[str, WeightsRecord]:
        if self.is_away:
            raise StoreUnavailableError("away.")
        return {key: self.records[key] for key in keys if key in self.records}

    def record_weights(self, key: str, record: WeightsRecord) -> WeightsRecord:
        known = self.records.setdefault(key, record)
        whole = {mark.name: mark.whole for mark in record.files}
        fuller = tuple(mark.replaced(whole=mark.whole or whole.get(mark.name)) for mark in known.files)
        self.records[key] = known.replaced(files=fuller)
        return self.records[key]

    def forget_weights(self, keys: Sequence[str]) -> int:
        return sum(self.records.pop(key, None) is not None for key in keys)


@pytest.fixture
def books() -> Books:
    return Books()


def model(folder: Path, *, middle: int = 0, tail: bytes = b"end", name: str = "m") -> Path:
    """A folder with weights of three sampled parts and a little, its configuration and a licence."""
    place = folder / name
    place.mkdir(parents=True)
    body = bytearray(3 * SAMPLE_BYTES + 100)
    body[SAMPLE_BYTES + 50] = middle
    body[-len(tail) :] = tail
    (place / "model.safetensors").write_bytes(bytes(body))
    (place / "config.json").write_text("{}")
    (place / "LICENSE").write_text(str(folder))
    return place


def expert(place: Path, *, name: str = "x", engine: str = "e", **more: object) -> ExpertWeights:
    return ExpertWeights(name, engine, f"key of {name}", {"": str(place)}, **more)  # type: ignore[arg-type]


def watch(books: Books, host: str, *, mode: Mode = "headers", marks: FileMarks | None = None) -> WeightsWatch:
    return WeightsWatch(books, marks=marks or FileMarks(), mode=mode, host=host)


def state_at(books: Books, place: Path, host: str = "two", *, mode: Mode = "headers") -> tuple[str, str]:
    """State of the weights at a place, and why they are withheld."""
    one = watch(books, host, mode=mode)
    one.look([expert(place)])
    found = one.findings["e"]
    return found.state, found.withheld.why if found.withheld else ""


def test_the_first_host_records_and_the_others_are_compared(books: Books, tmp_path: Path) -> None:
    assert state_at(books, model(tmp_path / "1"), "one") == ("first", "")
    assert state_at(books, model(tmp_path / "2")) == ("same", ""), "a licence and the place do not count"
    state, why = state_at(books, model(tmp_path / "3", tail=b"End"))
    assert state == "differ"
    assert why == (
        "weights differ from those that were recorded by one: "
        "file model.safetensors has another beginning or end."
    )


def test_a_file_that_is_cut_off_missing_or_too_many_is_named(books: Books, tmp_path: Path) -> None:
    state_at(books, model(tmp_path / "1"), "one")
    cut = model(tmp_path / "cut")
    os.truncate(cut / "model.safetensors", SAMPLE_BYTES)
    assert "file model.safetensors has 1048576 bytes instead of 3145828" in state_at(books, cut)[1]
    less = model(tmp_path / "less")
    (less / "config.json").unlink()
    assert "file config.json is missing" in state_at(books, less)[1]
    more = model(tmp_path / "more")
    (more / "chat_template.jinja").write_text("x")
    assert "file chat_template.jinja is not among them" in state_at(books, more)[1]


def test_what_lies_between_the_ends_is_seen_only_where_files_are_read_whole(
    books: Books, tmp_path: Path
) -> None:
    one, two = model(tmp_path / "1"), model(tmp_path / "2", middle=1)
    assert state_at(books, one, "one", mode="full")[0] == "first"
    assert state_at(books, two, mode="headers")[0] == "same"
    assert "has another content" in state_at(books, two, mode="full")[1]


def test_the_first_who_reads_whole_files_adds_what_the_record_lacks(books: Books, tmp_path: Path) -> None:
    state_at(books, model(tmp_path / "1"), "hub")
    assert state_at(books, model(tmp_path / "2"), "one", mode="full")[0] == "same"
    assert all(mark.whole for mark in books.records["key of x"].files)
    assert "has another content" in state_at(books, model(tmp_path / "3", middle=1), mode="full")[1]


def test_off_reads_nothing_and_serves_all(books: Books, tmp_path: Path) -> None:
    state_at(books, model(tmp_path / "1"), "one")
    assert state_at(books, model(tmp_path / "2", tail=b"End"), mode="off") == ("unread", "")


def test_before_anything_is_read_an_engine_waits_and_that_is_no_lasting_fault(
    books: Books, tmp_path: Path
) -> None:
    one = watch(books, "one")
    one.expect([expert(model(tmp_path))])
    found = one.findings["e"].withheld
    assert found is not None
    assert (one.findings["e"].state, found.is_lasting) == ("checking", False)


def test_an_engine_is_withheld_while_any_of_its_experts_differs(books: Books, tmp_path: Path) -> None:
    base, adapter = model(tmp_path / "1"), model(tmp_path / "2", name="a")
    pair = [expert(base), expert(adapter, name="y")]
    watch(books, "one").look(pair)
    (adapter / "config.json").write_text("[]")
    two = watch(books, "two")
    two.look(pair)
    assert two.findings["e"].state == "differ"
    assert "muster models forget y" in two.withheld["e"].heal


def test_weights_that_are_replaced_while_a_worker_runs_are_read_again(books: Books, tmp_path: Path) -> None:
    place = model(tmp_path)
    one = watch(books, "one")
    one.look([expert(place)])
    assert one.withheld == {}
    (place / "model.safetensors").write_bytes(b"other")
    one.look([expert(place)])
    assert "instead of" in one.withheld["e"].why
    books.forget_weights(["key of x"])
    one.look([expert(place)])
    assert one.withheld == {}


def test_missing_weights_are_told_only_where_nothing_else_finds_them(books: Books, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    one = watch(books, "one")
    one.look([expert(nowhere, must_be_here=True), expert(nowhere, name="y", engine="f")])
    assert str(nowhere) in one.withheld["e"].why
    assert one.findings["f"].state == "none"
    model(tmp_path, name="nowhere")
    one.look([expert(nowhere, must_be_here=True)])
    assert one.withheld == {}


def test_a_file_is_read_once_also_over_restarts(books: Books, tmp_path: Path) -> None:
    place, kept = model(tmp_path), tmp_path / "data" / "weights.json"
    one = watch(books, "one", marks=FileMarks(kept))
    assert one.n_unread([expert(place)]) == 2 * SAMPLE_BYTES + 2
    one.look([expert(place)])
    assert kept.stat().st_mode & 0o77 == 0
    again = watch(books, "one", marks=FileMarks(kept))
    assert again.n_unread([expert(place)]) == 0
    whole = watch(books, "one", marks=FileMarks(kept), mode="full")
    assert whole.n_unread([expert(place)]) == 3 * SAMPLE_BYTES + 102
    os.utime(place / "config.json", (1, 1))
    assert again.n_unread([expert(place)]) == 2


@pytest.mark.parametrize(
    "text", ["", "[", "[]", '{"a": 1}', '{"a": [1, 2, 3, 4]}', '{"a": ["x", 2, 3, "e", null]}']
)
def test_kept_digests_that_cannot_be_read_are_made_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "weights.json").write_text(text)
    place = model(tmp_path)
    [file, *_] = files_of({"": str(place)}) or []
    assert not FileMarks(tmp_path / "weights.json").knows(file, whole=False)


def test_while_the_database_is_away_what_was_found_still_holds(books: Books, tmp_path: Path) -> None:
    place = model(tmp_path)
    one = watch(books, "one")
    one.look([expert(place)])
    books.is_away = True
    with pytest.raises(StoreUnavailableError):
        one.look([expert(place)])
    assert one.findings["e"].state == "first"


def test_who_reads_is_ended_when_somebody_asks_for_it(books: Books, tmp_path: Path) -> None:
    one = watch(books, "one", mode="full")
    one.stop()
    reading = threading.Thread(target=one.look, args=([expert(model(tmp_path))],))
    reading.start()
    reading.join(30)
    assert not reading.is_alive()
    assert one.findings["e"].state == "checking"
    assert books.records == {}


def test_a_single_file_is_weights_too(tmp_path: Path, books: Books) -> None:
    for host, content in (("one", b"gguf"), ("two", b"gguf"), ("three", b"GGUF")):
        (tmp_path / host).mkdir()
        (tmp_path / host / "m.gguf").write_bytes(content)
    states = [state_at(books, tmp_path / host / "m.gguf", host)[0] for host in ("one", "two", "three")]
    assert states == ["first", "same", "differ"]
    assert files_of({"": str(tmp_path / "gone.gguf")}) is None
    (tmp_path / "m-00001-of-00002.gguf").touch()
    assert files_of({"": str(tmp_path / "m-00001-of-00002.gguf")}) is None, "the second one is missing"


MARKS = st.builds(
    FileMark,
    name=st.sampled_from("ab"),
    size=st.integers(1, 2),
    ends=st.sampled_from("xy"),
    whole=st.sampled_from([None, "u", "v"]),
)


@given(st.lists(MARKS, unique_by=lambda mark: mark.name), st.lists(MARKS, unique_by=lambda mark: mark.name))
def test_weights_are_the_same_in_whatever_order_and_whoever_was_first(
    mine: list[FileMark], theirs: list[FileMark]
) -> None:
    one = against(WeightsRecord(host="h", files=tuple(mine)), tuple(theirs))
    other = against(WeightsRecord(host="h", files=tuple(reversed(theirs))), tuple(reversed(mine)))
    assert (one is None) == (other is None)
    assert against(WeightsRecord(host="h", files=tuple(mine)), tuple(mine)) is None
