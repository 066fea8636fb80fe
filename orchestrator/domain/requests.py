"""Requests: how a question, or a set of them, is to be answered."""

from typing import Self

from orchestrator.domain.keys import Caller
from orchestrator.domain.names import AUTO
from orchestrator.domain.terms import Terms


class AskOptions(Terms):
    """Options of a request, the same for one question and for a batch; None = the configuration's own.

    Args:
        model: a name of `/v1/models`; it says which composition answers.
        job_id: under which the work is stored; None = a new one.
        fingerprint: of the request as it came, where it may come twice; "" = it is not compared.
        owner: id of the key that asks; "" = nobody's. allowed: whom that key may ask; none = everybody.
    """

    model: str = AUTO
    job_id: str | None = None
    fingerprint: str = ""
    owner: str = ""
    allowed: tuple[str, ...] = ()

    def by(self, caller: Caller) -> Self:
        """These options as a caller's."""
        return self.model_copy(update={"owner": caller.owner_id, "allowed": caller.experts or ()})


DEFAULT_OPTIONS = AskOptions()
