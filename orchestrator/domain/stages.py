"""Stages: how far a question that is being answered has got, for who waits for its answer."""

from typing import Literal, NamedTuple

from orchestrator.domain.values import Value


class CallPlace(NamedTuple):
    """Place of a call among those of a question: no other call has the same."""

    expert_id: str
    role: str
    stage: int = 0
    sample_ix: int = 0


class CallProgress(Value):
    """A call of a question; `number`: id of its assignment. `ahead`: calls that its engine is asked first, as
    far as they are counted; `loading`: its engine is being loaded somewhere."""

    expert_id: str
    role: str
    number: int
    state: Literal["waiting", "running", "done", "failed"]
    stage: int = 0
    sample_ix: int = 0
    ahead: int = 0
    loading: bool = False

    @property
    def place(self) -> CallPlace:
        """Place of the call, by which what it said (`Saying`) is found."""
        return CallPlace(self.expert_id, self.role, self.stage, self.sample_ix)


class Saying(NamedTuple):
    """Words of an expert: how they begin, and the answer that they were read as."""

    text: str
    value: str | None


class StageNews(Value):
    """One thing that happened to a question: experts were recruited; a call waits for its engine, which is
    loading or asked `ahead` other calls first; it started; it has written something; it finished.

    Attributes:
        call: its number among the calls of the question, from 1; None = it is of several.
        n_chars: characters that a call has written so far.
        value: of an expert's call that finished, the answer that its text was read as; None = none was found.
        text: how its text begins; of one that still writes, how it ends so far.
    """

    event: Literal["recruited", "waiting", "loading", "started", "writing", "finished"]
    experts: tuple[str, ...]
    role: str = "expert"
    call: int | None = None
    ahead: int | None = None
    failed: bool | None = None
    n_chars: int | None = None
    value: str | None = None
    text: str | None = None
