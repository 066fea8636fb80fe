"""Refusals of backends, before an engine sees the request."""

from orchestrator.errors import ContextExceededError, UnsupportedError
from orchestrator.ports.engines import Failed, GenerationRequest


def refusal(request: GenerationRequest, backend: str, *, mixes: bool = False) -> Failed | None:
    """The end of a request for log probabilities, structured output or a mixture; None for plain text.

    Args:
        mixes: the engine composes adapters.
    """
    sampling = request.sampling
    if not mixes and (refused := no_mixture(request, backend)) is not None:
        return refused
    wanted = "logprobs" if sampling.logprobs is not None else "structured_output"
    if sampling.logprobs is None and sampling.structured_output is None:
        return None
    error = UnsupportedError(
        f"engines of backend '{backend}' cannot do {wanted}.", param=wanted, remedy="Use the engine 'vllm'."
    )
    return Failed(request.id, error.code, error.message)


def no_mixture(request: GenerationRequest, backend: str) -> Failed | None:
    """The end of a request for a mixture, of an engine that composes no adapters."""
    if not request.sampling.mixture:
        return None
    error = UnsupportedError(
        f"this engine of backend '{backend}' composes no adapters.",
        param="mixture",
        remedy="Serve the folder of a merge by `twin` with the engine 'transformers'.",
    )
    return Failed(request.id, error.code, error.message)


def too_long(request: GenerationRequest, *, max_model_len: int) -> Failed | None:
    """The end of a request whose output alone leaves no room for a prompt; None if it leaves some.

    All that can be said without the tokenizer: whether the prompt fits is for its server to say.
    """
    max_tokens = request.sampling.max_tokens
    if max_tokens < max_model_len:
        return None
    error = ContextExceededError(
        f"This model's maximum context length is {max_model_len} tokens; an output of {max_tokens} leaves no "
        "room for a prompt.",
        param="max_tokens",
        remedy="Lower max_tokens, or raise the engine's max_model_len if its server takes more.",
    )
    return Failed(request.id, error.code, str(error))
