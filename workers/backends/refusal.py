"""What backends of plain text refuse."""

from orchestrator.errors import UnsupportedError
from orchestrator.ports import Failed, GenerationRequest


def refusal(request: GenerationRequest, backend: str) -> Failed | None:
    """The end of a request for log probabilities or structured output; None for plain text."""
    sampling = request.sampling
    wanted = "logprobs" if sampling.logprobs is not None else "structured_output"
    if sampling.logprobs is None and sampling.structured_output is None:
        return None
    error = UnsupportedError(
        f"engines of backend '{backend}' cannot do {wanted}.", param=wanted, remedy="Use the engine 'vllm'."
    )
    return Failed(request.id, error.code, error.message)
