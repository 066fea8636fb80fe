"""Watch over the weights on this host: an engine is served when they are those that were recorded."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from orchestrator.domain.fleet import FileMark, WeightsRecord, WeightsState, Withheld, against
from orchestrator.ports.fleet import WeightsBooks
from workers.checkpoints.identity import SAMPLE_BYTES
from workers.checkpoints.marks import FileChangedError, FileMarks, NamedFile, files_of

log = logging.getLogger(__name__)

Mode = Literal["full", "headers", "off"]
GIB = 1 << 30
STEP_BYTES = 1 << 30
"""Bytes after which progress is told."""


class ExpertWeights(NamedTuple):
    """Weights of an expert, as they should be here: its engine's, and its adapter.

    Attributes:
        key: under which they are recorded; the same on every host.
        places: folders or files by label.
        must_be_here: nothing else finds them: its engine is not served without.
    """

    expert_id: str
    engine_id: str
    key: str
    places: Mapping[str, str]
    must_be_here: bool = False


class Finding(NamedTuple):
    """State of an expert's weights, or of the worst ones of an engine's; `withheld`: why it is not served."""

    state: WeightsState
    withheld: Withheld | None = None


_WORST: tuple[WeightsState, ...] = ("differ", "missing", "checking", "first", "same", "unread", "none")


class _Read(NamedTuple):
    """What was read of an engine's files, and the files as they were then."""

    files: tuple[NamedFile, ...]
    marks: tuple[FileMark, ...]


class Stopped(Exception):  # noqa: N818 -- no fault: who reads is asked to leave
    """Somebody asked to stop while a file was read."""


class WeightsWatch:
    """Reads weights in whatever thread calls `look`, and says in any other what was found.

    Args:
        host: for the record.
        where: words for messages on where weights are looked for.
    """

    def __init__(
        self, books: WeightsBooks, *, marks: FileMarks, mode: Mode, host: str, where: str = "there"
    ) -> None:
        self._books = books
        self._marks = marks
        self._mode = mode
        self._host = host
        self._where = where
        self._stopping = threading.Event()
        self._read: dict[str, _Read] = {}
        self._found: Mapping[str, tuple[str, Finding]] = {}

    @property
    def findings(self) -> Mapping[str, Finding]:
        """By engine: the worst of its experts'. For any thread."""
        worst: dict[str, Finding] = {}
        for engine_id, found in self._found.values():
            known = worst.get(engine_id)
            if known is None or _WORST.index(found.state) < _WORST.index(known.state):
                worst[engine_id] = found
        return worst

    @property
    def withheld(self) -> Mapping[str, Withheld]:
        """Engines that weights keep from being served. For any thread."""
        found = self.findings
        return {engine_id: one.withheld for engine_id, one in found.items() if one.withheld is not None}

    def stop(self) -> None:
        """End what is being read."""
        self._stopping.set()

    def expect(self, experts: Sequence[ExpertWeights]) -> None:
        """Withhold what must be read first, before anything is."""
        for one in experts:
            if one.expert_id not in self._found:
                self._find(one, self._before_reading(one)[0])

    def n_unread(self, experts: Sequence[ExpertWeights]) -> int:
        """Bytes that the next look will read."""
        is_whole = self._mode == "full"
        files = {f.path: f for one in experts for f in (files_of(one.places) or ())}
        unread = [f for f in files.values() if not self._marks.knows(f, whole=is_whole)]
        return sum(f.stamp.size if is_whole else min(f.stamp.size, 2 * SAMPLE_BYTES) for f in unread)

    def look(self, experts: Sequence[ExpertWeights]) -> None:
        """Read what is new or has changed, and compare all with what is recorded.

        Raises:
            StoreError: the records cannot be read; what was found before still holds.
        """
        self.expect(experts)
        ids = {one.expert_id for one in experts}
        self._found = {expert_id: found for expert_id, found in self._found.items() if expert_id in ids}
        records = self._books.weights([one.key for one in experts]) if self._mode != "off" else {}
        for one in experts:
            before = self._found[one.expert_id]
            try:
                found = self._look_at(one, records.get(one.key))
            except Stopped:
                return
            self._find(one, found)
            if before != (one.engine_id, found):
                _tell(one, found)
        self._marks.keep()

    def _find(self, one: ExpertWeights, found: Finding) -> None:
        self._found = {**self._found, one.expert_id: (one.engine_id, found)}

    def _before_reading(self, one: ExpertWeights) -> tuple[Finding, tuple[NamedFile, ...] | None]:
        """What is known without reading; files that are to be read."""
        if not one.places:
            return Finding("none"), None
        files = files_of(one.places)
        if files is None:
            self._read.pop(one.expert_id, None)
            return self._missing(one), None
        if self._mode == "off":
            return Finding("unread"), None
        return Finding("checking", _wait("its weights are about to be read.")), tuple(files)

    def _look_at(self, one: ExpertWeights, record: WeightsRecord | None) -> Finding:
        found, files = self._before_reading(one)
        if files is None:
            return found
        try:
            marks = self._marks_of(one, files)
        except (OSError, FileChangedError) as error:
            why = "they are being written" if isinstance(error, FileChangedError) else str(error)
            return Finding("checking", _wait(f"its weights cannot be read: {why}."))
        return self._compared(one, record, marks)

    def _marks_of(self, one: ExpertWeights, files: tuple[NamedFile, ...]) -> tuple[FileMark, ...]:
        known = self._read.get(one.expert_id)
        if known is not None and known.files == files:
            return known.marks
        is_whole = self._mode == "full"
        unread = [file for file in files if not self._marks.knows(file, whole=is_whole)]
        progress = _Progress(
            sum(file.stamp.size for file in unread) if is_whole else 0,
            lambda said: self._tell_progress(one, said),
            self._stopping,
        )
        if known is not None:
            log.warning(
                "engine %s: weights of %s were changed: they are read again", one.engine_id, one.expert_id
            )
            self._find(one, Finding("checking", _wait("its weights were changed, and are read again.")))
        marks = tuple(self._marks.of(file, whole=is_whole, progress=progress) for file in files)
        self._read[one.expert_id] = _Read(files, marks)
        return marks

    def _tell_progress(self, one: ExpertWeights, said: str) -> None:
        log.info("engine %s: weights of %s are read: %s", one.engine_id, one.expert_id, said)
        self._find(one, Finding("checking", _wait(f"its weights are being read: {said}.")))

    def _compared(
        self, one: ExpertWeights, record: WeightsRecord | None, marks: tuple[FileMark, ...]
    ) -> Finding:
        mine = WeightsRecord(host=self._host, files=marks)
        if record is None or (against(record, marks) is None and _adds(record, marks)):
            record = self._books.record_weights(one.key, mine)
        difference = against(record, marks)
        if difference is None:
            return Finding("first" if record == mine else "same")
        why = f"weights differ from those that were recorded by {record.host}: {difference}."
        heal = (
            f"Copy them to {self._host} again from a host that has the right ones; if these are the right "
            f"ones, run `muster models forget {one.expert_id}`."
        )
        return Finding("differ", Withheld(why, heal))

    def _missing(self, one: ExpertWeights) -> Finding:
        if not one.must_be_here:
            return Finding("none")
        places = ", ".join(f"'{place}'" for place in one.places.values() if files_of({"": place}) is None)
        why = f"there are no weights at {places}, and none of that name {self._where}."
        return Finding("missing", Withheld(why, "Copy them there, or give --models-dir."))


class _Progress:
    """Counts what was read, tells now and then, and ends the reading when somebody asks for it."""

    def __init__(self, total: int, tell: Callable[[str], None], stopping: threading.Event) -> None:
        self._total = total
        self._tell = tell
        self._stopping = stopping
        self._done = 0
        self._told = 0

    def __call__(self, n_bytes: int) -> None:
        if self._stopping.is_set():
            raise Stopped
        self._done += n_bytes
        if self._total and self._done - self._told >= STEP_BYTES:
            self._told = self._done
            self._tell(f"{self._done / GIB:.0f} of {self._total / GIB:.0f} GiB")


def _adds(record: WeightsRecord, marks: Sequence[FileMark]) -> bool:
    """Whether files were read whole here of which the record knows the ends only."""
    without = {mark.name for mark in record.files if mark.whole is None}
    return any(mark.whole is not None and mark.name in without for mark in marks)


def _tell(one: ExpertWeights, found: Finding) -> None:
    if found.withheld is not None and found.withheld.is_lasting:
        why, heal = found.withheld.why, found.withheld.heal
        log.error("engine %s (expert %s) is not served here: %s %s", one.engine_id, one.expert_id, why, heal)
    elif found.state in ("same", "first"):
        state = "as recorded" if found.state == "same" else "recorded"
        log.info("engine %s: weights of %s are %s", one.engine_id, one.expert_id, state)


def _wait(why: str) -> Withheld:
    return Withheld(why, "Wait; it is tried again.", is_lasting=False)
