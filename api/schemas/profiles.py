"""Wire types of `/v1/profiles`."""

from typing import Literal

from api.schemas.base import Wire, shown_as


class ProfileRunView(Wire):
    """A run of profiling. `done` of `of`: calls of the part that runs now; `asked`, `reused`: pairs of expert
    and question that were asked, and that were known before; `experts`: none = everybody. Of open questions:
    who scores the answers, `source` of the scores, answers with a score and without, and the share of answers
    read twice on which the judge agreed with itself."""

    model_config = shown_as(
        id="profile-run-9f2c41",
        object="muster.profile",
        state="running",
        experts=[],
        exam=True,
        questions=200,
        done=120,
        of=600,
        asked=0,
        reused=0,
        profiled=0,
        judge=None,
        anchor=None,
        source=None,
        scored=0,
        unscored=0,
        self_agreement=None,
        error=None,
        created_at=1795800000,
        finished_at=None,
    )

    id: str
    object: Literal["muster.profile"] = "muster.profile"
    state: Literal["running", "cancelling", "completed", "failed", "cancelled", "interrupted"]
    experts: list[str]
    exam: bool
    questions: int
    done: int
    of: int
    asked: int
    reused: int
    profiled: int
    judge: str | None
    anchor: str | None
    source: str | None
    scored: int
    unscored: int
    self_agreement: float | None
    error: str | None
    created_at: int
    finished_at: int | None
