"""Files and batches of OpenAI's API: what is uploaded, what becomes of its lines, what is written of them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from pydantic import Field

from orchestrator.domain.assignments import JobState
from orchestrator.domain.keys import NOBODY
from orchestrator.domain.values import Value


class Purpose(StrEnum):
    """Purpose of a file: the lines of a batch, or what was written of them."""

    BATCH = "batch"
    BATCH_OUTPUT = "batch_output"


class StoredFile(Value):
    """A file on the books. `n_bytes`: its size. Times are seconds since the epoch; `expires_at` None = never.
    `owner`: id of the key that it was made with; "" = nobody's."""

    id: str
    owner: str = NOBODY
    purpose: Purpose
    filename: str
    n_bytes: int = 0
    created_at: float = 0.0
    expires_at: float | None = None


class BatchState(StrEnum):
    """validating -> failed | in_progress; in_progress -> finalizing -> completed; in_progress -> expired;
    each of those that have not ended -> cancelling -> cancelled."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """True if nothing more becomes of the batch."""
        return self not in UNDER_WAY


UNDER_WAY = (BatchState.VALIDATING, BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.CANCELLING)
"""States of a batch that has not ended."""

ENDINGS: Mapping[JobState, BatchState] = {
    JobState.DONE: BatchState.COMPLETED,
    JobState.EXPIRED: BatchState.EXPIRED,
    JobState.CANCELLED: BatchState.CANCELLED,
}
"""How a batch ends when its job has."""


class BatchProblem(Value):
    """A reason why a batch failed. `line`: of its file, from 1; None = it concerns the whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class LineCounts(Value):
    """Lines of a batch; total = completed + failed + those that are open."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class TokenCounts(Value):
    """Tokens that the lines of a batch took, those of every expert that was asked."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Batch(Value):
    """The lines of a file, to be answered within a window: a job of the same id, once they are checked.

    Args:
        endpoint: of lines that name none; lines may name others.
        window: as it was given, e.g. `24h`; `expires_at` is its end.
        output_kept_s: seconds for which the files written of it are kept; None = as all files.
        experts: ids of those that its key may ask; None = every one of the pool.
        is_background: answered when nothing else is to do; `reuses`: by what was answered before, too.
        model: that answers all lines; None = they name several, or are not checked yet.
        *_at: seconds since the epoch at which it came to that state; None = it did not.
    """

    id: str
    owner: str = NOBODY
    endpoint: str
    input_file_id: str
    window: str
    metadata: dict[str, str] | None = None
    output_kept_s: int | None = None
    experts: tuple[str, ...] | None = None
    is_background: bool = False
    reuses: bool = False
    state: BatchState = BatchState.VALIDATING
    model: str | None = None
    problems: tuple[BatchProblem, ...] = ()
    output_file_id: str | None = None
    error_file_id: str | None = None
    counts: LineCounts = LineCounts()
    tokens: TokenCounts | None = None
    created_at: float
    expires_at: float
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None

    def moved(self, state: BatchState, at: float, **changes: object) -> Self:
        """The batch in another state, which it came to at `at`."""
        return self.replaced(state=state, **{f"{state.value}_at": at}, **changes)


class ClaimedBatch(Value):
    """A batch that one process works on; `attempt` fences what it writes."""

    batch: Batch
    attempt: int = Field(ge=1)
