"""Wire types of `/v1/jobs`, plans included."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Wire, shown_as
from api.schemas.experts import EngineView


class StayView(Wire):
    """An engine on a device, by its setting: `auto` is the first GPU of its host, or the CPU where there is
    none. Seconds since the job was submitted. `load`: kind of its load, where it took place."""

    device: str
    engine: str
    load_from_s: float
    serve_from_s: float
    until_s: float
    past: bool
    load: Literal["cold", "warm", "wake"] | None = None


class PlanView(Wire):
    """Loads and seconds of a job. `lower_bound_s`: of what is left, or of the whole run once it ended, where
    devices load or work; `overlapped_bound_s`: where they load one engine while they work for another.
    `ratio`, `overlapped_ratio`: that run over these bounds."""

    object: Literal["muster.plan"] = "muster.plan"
    job: str
    state: str
    loads_done: int
    loads_left: int
    seconds_done: float
    seconds_left: float
    lower_bound_s: float
    overlapped_bound_s: float
    ratio: float | None
    overlapped_ratio: float | None
    optimal: bool
    stays: list[StayView]
    waits_for: list[EngineView] = Field(default_factory=list)


class JobCounts(Wire):
    """Counts of queries; completed + failed + waiting == total."""

    total: int
    completed: int
    failed: int
    waiting: int


class JobView(Wire):
    """A submission. `calls` are generations on the books so far, `responses` those that came back; `retries`:
    how often what failed was run again; times in seconds since 1970. `waits_for`: engines of a single
    job that cannot be served now."""

    model_config = shown_as(
        id="job-9f2c41",
        object="muster.job",
        kind="batch",
        state="running",
        model="auto",
        label="july",
        priority="batch",
        counts={"total": 2000, "completed": 1200, "failed": 0, "waiting": 800},
        calls=6000,
        responses=3650,
        loads=3,
        retries=0,
        created_at=1795800000,
        finished_at=None,
        deadline_at=None,
        waits_for=[],
    )

    id: str
    object: Literal["muster.job"] = "muster.job"
    kind: str
    state: Literal["running", "cancelling", "expiring", "done", "cancelled", "expired"]
    model: str
    label: str
    priority: Literal["background", "batch", "interactive"]
    counts: JobCounts
    calls: int
    responses: int
    loads: int
    retries: int
    created_at: int
    finished_at: int | None
    deadline_at: int | None
    waits_for: list[EngineView] = Field(default_factory=list)


class JobDeletedView(Wire):
    """A job that is gone, in OpenAI's form."""

    id: str
    object: Literal["muster.job"] = "muster.job"
    deleted: Literal[True] = True
