"""A question file through one composition into an answer file, as a job that can be resumed."""

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

from api.views.jobs_lines import BatchBodies, answer_line
from orchestrator.bootstrap.app import App
from orchestrator.domain.assignments import JobState
from orchestrator.errors import InputError, JobRunningError, NotFoundError
from orchestrator.ports.batches import AnsweredJob
from orchestrator.questions.files import STANDARD, Source, check_questions, iter_questions
from orchestrator.runtime.files import replacing

SUFFIX = ".answers.jsonl"
DESCRIPTORS = ("/dev/fd", "/proc", "/dev/stdin", "/dev/stdout", "/dev/stderr")
STANDARD_OUTPUTS = frozenset({STANDARD, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


class Batch(NamedTuple):
    """`composition` is a resolved name; `created` in seconds since 1970."""

    job_id: str
    composition: str
    created: int


def open_batch(
    app: App,
    source: Source,
    *,
    composition: str | None,
    job_id: str | None,
    resume: bool,
    reuses: bool = False,
) -> Batch:
    """Check the whole file and store its job, or find the one that is stored already.

    Without `composition` each line is answered by its own `model`, one that names none by `auto`; and each on
    its own terms (`max_tokens`, `temperature`, `seed`, ...).

    Without `job_id` the id follows from the file's bytes, whatever its name, the composition, the
    configuration and the cards: the same command again continues, or gives the answers that are there.

    Raises:
        InputError: a file that cannot be used; `resume` and there is no such job.
        UnknownNameError: no such composition.
    """
    bodies = BatchBodies(app.asking.resolve, any_model=composition is not None)
    checked = check_questions(source, read_body=bodies)
    asked, reader, compositions = bodies.job_terms(composition)
    name = app.asking.resolve(asked.model)
    known = job_id or app.jobs.batch_id(checked.digest, model=asked.model)
    if resume:
        _require_job(app, known)
    options = asked.model_copy(update={"job_id": known})
    label = Path(source.name).name
    app.jobs.submit(
        iter_questions(source, read_body=reader),
        options,
        label=label,
        compositions=compositions,
        reuses=reuses,
    )
    return Batch(known, name, int(time.time()))


def _require_job(app: App, job_id: str) -> None:
    try:
        app.jobs.job(job_id)
    except NotFoundError:
        raise InputError(
            f"there is no job '{job_id}' to resume.",
            remedy="The file, the composition, the configuration or the cards changed since; "
            "leave --resume out to start anew, or give the old job with --job.",
        ) from None


def retry_batch(app: App, batch: Batch) -> int:
    """Run what failed again, if the job has ended; returns how many queries."""
    if app.jobs.job(batch.job_id).state is JobState.RUNNING:
        return 0
    try:
        return app.ended.retry(batch.job_id)
    except JobRunningError:  # somebody else was faster
        return 0


def write_answers(app: App, batch: Batch, out: Path) -> None:
    """One line per query in input order; a file appears complete or not at all. `-`: standard output.

    Raises:
        InputError: `out` cannot be written.
    """
    job = AnsweredJob(batch.job_id, batch.composition, batch.created, app.pool.fingerprint)
    lines = (answer_line(item, job) for item in app.jobs.answers(batch.job_id))
    written = (json.dumps(line, ensure_ascii=False) for line in lines)
    try:
        if str(out) == STANDARD:
            _write_stream(_standard_output(), written)
        elif _is_stream(out):
            with out.open("a", encoding="utf-8") as stream:  # what stands behind a descriptor is kept
                _write_stream(stream, written)
        else:
            with replacing(out) as file:
                for line in written:
                    file.write(f"{line}\n".encode())
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(
            f"cannot write {out}: {error.strerror}.", remedy="Choose another file with -o."
        ) from error


def target_of(file: Path, out: Path | None) -> Path:
    """Place of the answers: beside the file, unless something else is said; of a pipe to standard output.

    Raises:
        InputError: `file` names a folder, or nothing.
    """
    if out is not None:
        return Path(STANDARD) if str(out) in STANDARD_OUTPUTS else out
    if str(file) != STANDARD and not file.name:
        raise InputError(f"'{file}' is no question file.", param="file", remedy="Name one, or - for a pipe.")
    is_pipe = str(file) == STANDARD or _is_stream(file)
    return Path(STANDARD) if is_pipe else file.with_suffix(SUFFIX)


def check_output(out: Path, *, inputs: Iterable[Path]) -> None:
    """Find out before the work, not after it, that the answers cannot be written.

    Raises:
        InputError: `out` is one of the inputs, or not in a directory that can be written.
    """
    if str(out) == STANDARD:
        _standard_output()
        return
    if replaced := [file for file in inputs if os.path.realpath(out) == os.path.realpath(file)]:
        message = f"the answers would replace the questions or the pool: {replaced[0]}."
        raise InputError(message, remedy="Choose another file with -o.")
    try:
        objection = None if _is_stream(out) else _objection(out)
    except OSError as error:  # a name that no file can have
        objection = error.strerror
    if objection is not None:
        raise InputError(f"cannot write {out}: {objection}.", remedy="Choose another file with -o.")


def _objection(out: Path) -> str | None:
    """Why no file can be written there, as far as can be told without writing one."""
    if out.is_dir():
        return "it is a folder"
    if not out.parent.is_dir():
        return f"there is no folder {out.parent}"
    return None if os.access(out.parent, os.W_OK) else f"this user may not write in {out.parent}"


def _is_stream(out: Path) -> bool:
    """A pipe, a device, or an open descriptor whatever that leads to: nothing that a file could replace."""
    if any(out.absolute().is_relative_to(place) for place in DESCRIPTORS):
        return True
    return out.exists() and not out.is_file() and not out.is_dir()


def _standard_output() -> IO[str]:
    """
    Raises:
        InputError: it is closed.
    """
    if sys.stdout is None:
        raise InputError("standard output is closed.", remedy="Give -o FILE.")
    return sys.stdout


def _write_stream(stream: IO[str], lines: Iterable[str]) -> None:
    for line in lines:
        stream.write(f"{line}\n")
    stream.flush()
