"""Refusals of backends, before an engine sees the request."""

from collections.abc import Collection

from orchestrator.domain.features import NO_FEATURES, Feature
from orchestrator.errors import ContextExceededError, UnsupportedError
from orchestrator.ports.engines import Failed, GenerationRequest

_REMEDY = "Leave it out, or use an engine that can: 'vllm' can most (docs/chat.md)."


def refusal(
    request: GenerationRequest,
    backend: str,
    *,
    mixes: bool = False,
    has: Collection[Feature] = NO_FEATURES,
) -> Failed | None:
    """The end of a request for something that the engine cannot do; None for one that it can serve.

    Args:
        mixes: the engine composes adapters.
        has: what it can do beside plain text.
    """
    if not mixes and (refused := no_mixture(request, backend)) is not None:
        return refused
    missing = request.sampling.needs - frozenset(has)
    if not missing:
        return None
    names = ", ".join(sorted(missing))
    error = UnsupportedError(
        f"engines of backend '{backend}' cannot do {names}.", param=min(missing), remedy=_REMEDY
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
    if request.sampling.fits or max_tokens < max_model_len:
        return None
    error = ContextExceededError(
        f"This model's maximum context length is {max_model_len} tokens; an output of {max_tokens} leaves no "
        "room for a prompt.",
        param="max_tokens",
        remedy="Lower max_tokens, or raise the engine's max_model_len if its server takes more.",
    )
    return Failed(request.id, error.code, str(error))


def fitted(request: GenerationRequest, *, room: int) -> GenerationRequest:
    """The request with its longest output lowered to `room` tokens, where it asks for what fits and more
    would not; room for one token at least."""
    sampling = request.sampling
    if not sampling.fits or sampling.max_tokens <= room or room < 1:
        return request
    return request._replace(sampling=sampling.model_copy(update={"max_tokens": room}))
