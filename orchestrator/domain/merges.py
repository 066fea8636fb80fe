"""Merges: what a preflight found, what came out, and from which parents an expert was made."""

from enum import StrEnum
from typing import Literal

from pydantic import JsonValue

from orchestrator.domain.values import Value

STORE_FILE, STORE_EXPERTS = "store.json", "experts"
"""In a store of experts: what says what it holds, and the folder of a `twin`'s adapters."""

Severity = Literal["error", "warning"]


class MergeProblem(Value):
    """One thing that is wrong, or worth knowing, about the inputs or the result of a merge.

    Attributes:
        kind: stable name (`shape`, `vocabulary`, …); docs/merging.md lists them.
        severity: an `error` refuses the merge.
        model: the input as the recipe names it; None = of no single one.
        tensor: None = of no single one.
        have, want: what is there, and what there should be.
    """

    kind: str
    severity: Severity = "error"
    model: str | None = None
    tensor: str | None = None
    have: JsonValue = None
    want: JsonValue = None

    @property
    def line(self) -> str:
        """One line for people: `error: shape: roman: lm_head.weight: [320, 64], wanted [320, 128]`."""
        parts = [self.severity, self.kind, *(part for part in (self.model, self.tensor) if part)]
        shown = f"{_shown(self.have)}, wanted {_shown(self.want)}" if self.want is not None else ""
        return ": ".join([*parts, shown or _shown(self.have)])


def _shown(value: JsonValue) -> str:
    return value if isinstance(value, str) else "nothing" if value is None else str(value)


class Preflight(Value):
    """Findings about a merge that can be told from headers and configurations alone, in `seconds`."""

    ok: bool
    seconds: float
    problems: tuple[MergeProblem, ...] = ()

    def joined(self, more: tuple[MergeProblem, ...]) -> "Preflight":
        """The preflight with what was found later, while tensors were read."""
        problems = (*self.problems, *more)
        return self.replaced(ok=not any(p.severity == "error" for p in problems), problems=problems)


class MergeFigures(Value):
    """A merge that was made, or would be.

    Attributes:
        out: folder of the result. sha256: of its weights (docs/merging.md); None = there is no result.
        seconds, peak_rss_mb: of the process that merged; None = nothing was merged.
        tensors: number of tensors of the result.
    """

    method: str
    out: str | None = None
    sha256: str | None = None
    seconds: float | None = None
    peak_rss_mb: float | None = None
    tensors: int | None = None


class MergeReport(Value):
    """Report that `muster merge --json` prints and `GET /v1/merges/{id}` holds."""

    merge: MergeFigures
    preflight: Preflight
    verdict: str


class Lineage(Value):
    """Origin of an expert that was merged.

    Attributes:
        method: the merge's. recipe_hash: SHA-256 of the recipe as it was run.
        parents: ids of the pool's experts where the inputs are theirs, else the inputs as the recipe names
            them.
        verdict: why it was kept.
    """

    method: str
    recipe_hash: str
    parents: tuple[str, ...]
    verdict: str = ""


class MergedExpert(Value):
    """An expert that a merge made, as it is registered.

    Attributes:
        member: its row of `model_list`, with absolute paths.
    """

    id: str
    member: dict[str, JsonValue]
    lineage: Lineage


class MergeState(StrEnum):
    """State of a merge over REST. `interrupted`: its process died or was stopped; it can be resumed."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE_STATES = frozenset({MergeState.QUEUED, MergeState.RUNNING, MergeState.CANCELLING})


class MergeJob(Value):
    """A merge that was asked for over REST.

    Attributes:
        recipe, out: as the caller named them, below the folders that a setting opens.
        progress: what it does now, one line.
        done, of: tensors, or calls of the profile.
        report: at the end. error: why it failed.
    """

    id: str
    recipe: str
    out: str
    seed: int | None = None
    profile: bool = True
    force: bool = False
    state: MergeState = MergeState.QUEUED
    progress: str = ""
    done: int = 0
    of: int = 0
    report: MergeReport | None = None
    error: str | None = None
    created_at: float = 0.0
