"""Runs of profiling, as they are asked for over REST."""

from enum import StrEnum

from orchestrator.domain.values import Value


class RunState(StrEnum):
    """State of a run. `interrupted`: its process died or was stopped; the next run goes on with what it has
    measured."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


LIVE = frozenset({RunState.RUNNING, RunState.CANCELLING})

SILENT_S = 60.0
"""A run whose process was not heard of for so many seconds is interrupted."""


class ProfileRun(Value):
    """A run of profiling; times in seconds since the epoch.

    Attributes:
        experts: who is measured; none = everybody.
        done, of: calls of the part that runs now; a run has several parts.
        n_asked, n_reused: pairs of expert and question that were asked, and that were known before.
        n_experts: how many have a card at the end. `error`: why it failed.
        judge, anchor: who was asked to score answers to open questions, and beside whose; at the end, who
            scored them, by `source`; None = nobody.
        n_scored, n_unscored: answers to open questions with a score, and without.
        agreement: share of the answers that the judge read twice on which it agreed with itself.
    """

    id: str
    state: RunState = RunState.RUNNING
    experts: tuple[str, ...] = ()
    exam: bool = True
    n_questions: int
    done: int = 0
    of: int = 0
    n_asked: int = 0
    n_reused: int = 0
    n_experts: int = 0
    error: str | None = None
    judge: str | None = None
    anchor: str | None = None
    source: str | None = None
    n_scored: int = 0
    n_unscored: int = 0
    agreement: float | None = None
    created_at: float
    finished_at: float | None = None
