"""Work on batches beside the answering: their lines are checked and become a job, whose answers are written.

Any process may do it, and be killed at any moment: a step that broke off is done again by whoever claims the
batch next, and leaves what it would have left the first time. Two who do the same step at once (a claim that
ran out) do no harm: a job's id is its batch's, and files appear together with the state that names them.
"""

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import IO

from orchestrator.domain.assignments import BACKGROUND, BATCH, JobProgress
from orchestrator.domain.batches import (
    ENDINGS,
    Batch,
    BatchProblem,
    BatchState,
    ClaimedBatch,
    LineCounts,
    Purpose,
    StoredFile,
    TokenCounts,
)
from orchestrator.domain.names import model_name
from orchestrator.errors import InputError, MusterError, NotFoundError, StoreError, StoreUnavailableError
from orchestrator.ports.batches import AnsweredJob, BatchStore, LineForms
from orchestrator.ports.clock import Clock, EpochClock
from orchestrator.ports.files import FileStore
from orchestrator.questions.files import LongLineError, QuestionFileError, check_lines, iter_lines
from orchestrator.services.files import FileDesk, FileWriter
from orchestrator.services.jobs import Jobs

log = logging.getLogger(__name__)

CLAIM_S = 30.0
RENEW_S = 5.0
ENDING_S = 0.5
"""Between two looks at a job that is being cancelled."""
MOST_ATTEMPTS = 10
"""Of a batch whose step fails for no reason that is known; then it has failed."""
LEAST_S = 1.0
"""Of a job whose window is over before it is checked."""


class BatchWork:
    """Steps of batches, one at a time.

    Args:
        desk: of files, which knows for how long they are kept.
        resolve: the composition that a model names, of `allowed` experts.
        pool: fingerprint of the pool that answers.
        now_s: seconds since 1970; `clock`: monotonic seconds.
    """

    def __init__(
        self,
        *,
        batches: BatchStore,
        files: FileStore,
        desk: FileDesk,
        jobs: Jobs,
        forms: LineForms,
        resolve: Callable[..., str],
        pool: str,
        now_s: EpochClock = time.time,
        clock: Clock = time.monotonic,
    ) -> None:
        self._batches = batches
        self._files = files
        self._desk = desk
        self._jobs = jobs
        self._forms = forms
        self._resolve = resolve
        self._pool = pool
        self._now_s = now_s
        self._clock = clock
        self._renew_at = 0.0

    def run_one(self) -> bool:
        """Do the next step of a batch, if there is one to do.

        Raises:
            StoreUnavailableError: the database is away; the step is done again later.
        """
        claimed = self._batches.claim_batch(for_s=CLAIM_S)
        if claimed is None:
            return False
        try:
            self._step(claimed)
        except StoreUnavailableError:
            raise
        except _LostError:
            log.info("batch %s is another's by now", claimed.batch.id)
        except Exception as error:  # the thread outlives whatever a batch is
            log.exception("batch %s: a step failed, attempt %d", claimed.batch.id, claimed.attempt)
            if claimed.attempt >= MOST_ATTEMPTS:
                code = error.code if isinstance(error, MusterError) else "internal_error"
                self._fail(claimed, BatchProblem(code=code, message="it could not be worked on."))
        return True

    def _step(self, claimed: ClaimedBatch) -> None:
        batch, progress = claimed.batch, self._progress(claimed.batch.id)
        self._renew_at = self._clock() + RENEW_S
        if progress is not None and progress.state.is_over:
            if batch.state is BatchState.VALIDATING:
                self._began(claimed, progress)
            else:
                self._write(claimed, progress)
        elif batch.state is BatchState.CANCELLING:
            self._cancel(claimed, progress)
        elif batch.state is not BatchState.VALIDATING:
            self._fail(claimed, BatchProblem(code="job_deleted", message="its job was deleted."))
        elif progress is not None:
            self._began(claimed, progress)
        else:
            self._check(claimed)

    def _progress(self, batch_id: str) -> JobProgress | None:
        try:
            return self._jobs.job(batch_id)
        except NotFoundError:
            return None

    # ── validating ────────────────────────────────────────────────────────────────────────────────

    def _check(self, claimed: ClaimedBatch) -> None:
        """All lines are good and a job, or the batch has failed."""
        with tempfile.TemporaryFile(prefix="muster-batch-") as lines:
            try:
                for chunk in self._files.chunks(claimed.batch.input_file_id):
                    lines.write(chunk)
                    self._renew(claimed)
                lines.seek(0)
                self._submit(claimed, lines)
            except QuestionFileError as error:
                self._fail(claimed, *(BatchProblem(**bad._asdict()) for bad in error.errors))
                return
            except (InputError, NotFoundError) as error:
                line = error.line if isinstance(error, LongLineError) else None
                told = BatchProblem(code=error.code, line=line, message=str(error), param=error.param)
                self._fail(claimed, told)
                return
        progress = self._progress(claimed.batch.id)
        if progress is not None:
            self._began(claimed, progress)

    def _submit(self, claimed: ClaimedBatch, lines: IO[bytes]) -> None:
        batch, name = claimed.batch, "the file"
        reader = self._forms.reader(partial(self._resolve, allowed=batch.experts or ()))

        def read(endpoint: str, body: dict[str, object]) -> dict[str, object]:
            self._renew(claimed)
            return reader(endpoint, body)

        check_lines(lines, name, read_body=read)
        terms = reader.job_terms()
        if self._batches.batch(batch.id).state is not BatchState.VALIDATING:
            raise _LostError
        update = {"job_id": batch.id, "owner": batch.owner, "allowed": batch.experts or ()}
        lines.seek(0)
        try:
            self._jobs.submit(
                iter_lines(lines, name, read_body=terms.read_body),
                terms.options.model_copy(update=update),
                label=self._files.file(batch.input_file_id).filename,
                deadline_s=max(LEAST_S, batch.expires_at - self._now_s()),
                compositions=terms.compositions,
                priority=BACKGROUND if batch.is_background else BATCH,
                reuses=batch.reuses,
            )
        except StoreError as error:
            if error.param != "id":  # else somebody was faster, with another deadline
                raise

    def _began(self, claimed: ClaimedBatch, progress: JobProgress) -> None:
        job = progress.job
        model = None if job.compositions else model_name(job.composition)

        def began(batch: Batch) -> Batch:
            if batch.state is not BatchState.VALIDATING:
                return batch
            counts = LineCounts(total=progress.total)
            return batch.moved(BatchState.IN_PROGRESS, self._now_s(), model=model, counts=counts)

        settled = self._batches.settle_batch(claimed, began)
        if settled is not None and settled.state is BatchState.CANCELLING:
            self._jobs.cancel(settled.id)

    def _fail(self, claimed: ClaimedBatch, *problems: BatchProblem) -> None:
        def failed(batch: Batch) -> Batch:
            if batch.state is BatchState.CANCELLING:
                return batch.moved(BatchState.CANCELLED, self._now_s())
            return batch.moved(BatchState.FAILED, self._now_s(), problems=problems)

        self._batches.settle_batch(claimed, failed)

    # ── ending ────────────────────────────────────────────────────────────────────────────────────

    def _cancel(self, claimed: ClaimedBatch, progress: JobProgress | None) -> None:
        if progress is None:
            self._batches.settle_batch(claimed, lambda b: b.moved(BatchState.CANCELLED, self._now_s()))
            return
        self._jobs.cancel(claimed.batch.id)
        self._batches.renew_batch(claimed, for_s=ENDING_S)

    def _write(self, claimed: ClaimedBatch, progress: JobProgress) -> None:
        """Every answer and failure into a file; the files and the end of the batch become known together."""
        batch, ending = claimed.batch, ENDINGS[progress.state]
        if batch.state is BatchState.IN_PROGRESS and ending is BatchState.COMPLETED:
            self._batches.change(batch.id, self._finalizing)
        job = AnsweredJob(
            batch.id, progress.job.composition, int(batch.in_progress_at or batch.created_at), self._pool
        )
        output, errors = _Output(self, claimed, "output"), _Output(self, claimed, "error")
        n_prompt = n_completion = 0
        for item in self._jobs.answers(batch.id):
            self._renew(claimed)
            is_answered = item.answer.error_code is None
            (output if is_answered else errors).add(self._forms.answer_line(item, job))
            n_prompt += item.answer.usage.prompt_tokens
            n_completion += item.answer.usage.completion_tokens
        files = [file_id for file_id in (output.flushed(), errors.flushed()) if file_id is not None]
        counts = LineCounts(total=progress.total, completed=progress.completed, failed=progress.failed)
        tokens = TokenCounts(prompt_tokens=n_prompt, completion_tokens=n_completion)

        def ended(now: Batch) -> Batch:
            is_cancelled = now.state is BatchState.CANCELLING
            return now.moved(
                BatchState.CANCELLED if is_cancelled else ending,
                self._now_s(),
                output_file_id=output.flushed(),
                error_file_id=errors.flushed(),
                counts=counts,
                tokens=tokens,
            )

        self._batches.settle_batch(claimed, ended, files=files)

    def _finalizing(self, batch: Batch) -> Batch:
        if batch.state is not BatchState.IN_PROGRESS:
            return batch
        return batch.moved(BatchState.FINALIZING, self._now_s())

    def begin_output(self, claimed: ClaimedBatch, kind: str) -> str:
        """Begin a file of a batch; its id is the attempt's own, so that two attempts do not mix theirs."""
        batch = claimed.batch
        named = hashlib.sha256(f"{batch.id} {kind} {claimed.attempt}".encode()).hexdigest()[:32]
        file = StoredFile(
            id=f"file-{named}",
            owner=batch.owner,
            purpose=Purpose.BATCH_OUTPUT,
            filename=f"{batch.id}_{kind}.jsonl",
            expires_at=self._desk.expiry(batch.output_kept_s),
        )
        self._files.begin_file(file)
        return file.id

    def writer(self, file_id: str) -> FileWriter:
        """Writes the content of a file that `begin_output` began."""
        return FileWriter(self._files, file_id)

    def _renew(self, claimed: ClaimedBatch) -> None:
        """Keep the claim.

        Raises:
            _LostError: it is another's by now.
        """
        if self._clock() < self._renew_at:
            return
        self._renew_at = self._clock() + RENEW_S
        if not self._batches.renew_batch(claimed, for_s=CLAIM_S):
            raise _LostError


class _LostError(Exception):
    """The batch is another's, or ended otherwise."""


class _Output:
    """A file of lines, begun with the first one."""

    def __init__(self, work: BatchWork, claimed: ClaimedBatch, kind: str) -> None:
        self._work = work
        self._claimed = claimed
        self._kind = kind
        self._file_id: str | None = None
        self._writer: FileWriter | None = None

    def add(self, line: object) -> None:
        if self._writer is None:
            self._file_id = self._work.begin_output(self._claimed, self._kind)
            self._writer = self._work.writer(self._file_id)
        self._writer.write(f"{json.dumps(line, ensure_ascii=False)}\n".encode())

    def flushed(self) -> str | None:
        """The file's id; None = there was no line."""
        if self._writer is not None:
            self._writer.flush()
        return self._file_id
