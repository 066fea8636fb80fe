"""Requests: how a question, or a set of them, is to be answered."""

from orchestrator.domain.names import AUTO
from orchestrator.domain.terms import Terms


class AskOptions(Terms):
    """Options of a request, the same for one question and for a batch; None = the configuration's own.

    Args:
        model: a name of `/v1/models`; it says which composition answers.
        job_id: under which the work is stored; None = a new one.
        fingerprint: of the request as it came, where it may come twice; "" = it is not compared.
        owner: id of the key that asks; "" = nobody's.
    """

    model: str = AUTO
    job_id: str | None = None
    fingerprint: str = ""
    owner: str = ""


DEFAULT_OPTIONS = AskOptions()
