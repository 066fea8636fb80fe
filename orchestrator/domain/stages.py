"""Stages: how far a question that is being answered has got, for who waits for its answer."""

from typing import Literal, NamedTuple

from orchestrator.domain.values import Value


class CallProgress(Value):
    """A call of a question. `ahead`: calls that its engine is asked first, as far as they are counted;
    `loading`: its engine is being loaded somewhere."""

    expert_id: str
    role: str
    number: int
    state: Literal["waiting", "running", "done", "failed"]
    ahead: int = 0
    loading: bool = False


class Saying(NamedTuple):
    """Words of an expert: how they begin, and the answer that they were read as."""

    text: str
    value: str | None


class StageNews(Value):
    """One thing that happened to a question: experts were recruited; a call waits for its engine, which is
    loading or asked `ahead` other calls first; it started; it finished.

    Attributes:
        value: of an expert's call that finished, the answer that its text was read as; None = none was found.
        text: how its text begins.
    """

    event: Literal["recruited", "waiting", "loading", "started", "finished"]
    experts: tuple[str, ...]
    role: str = "expert"
    ahead: int | None = None
    failed: bool | None = None
    value: str | None = None
    text: str | None = None
