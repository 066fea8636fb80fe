"""Requests: how a question, or a set of them, is to be answered."""

from orchestrator.domain.names import AUTO
from orchestrator.domain.values import Value


class AskOptions(Value):
    """Options of a request, the same for one question and for a batch; None = the configuration's own.

    Args:
        model: a name of `/v1/models`.
        max_tokens: of each expert's response; never more than the expert's own limit.
        temperature: of the experts.
        job_id: under which the work is stored; None = a new one.
        fingerprint: of the request as it came, where it may come twice; "" = it is not compared.
        trace: fusions are to say what they chose at each token.
        owner: id of the key that asks; "" = nobody's.
    """

    model: str = AUTO
    seed: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    job_id: str | None = None
    fingerprint: str = ""
    trace: bool = False
    owner: str = ""


DEFAULT_OPTIONS = AskOptions()
