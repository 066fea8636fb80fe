"""Models of providers, over litellm (extra `remote`): more than a hundred APIs behind one call.

litellm is used as a library only: its own retries, caches, telemetry and look-ups on the network are
off, and nothing that a request holds becomes an argument of a call but its messages and sampling.
Replies are not streamed: litellm gives a stream that broke off the finish reason `stop`, so that a
part of a text would pass for an answer.
"""

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from pydantic import Field, JsonValue

from orchestrator.domain.answers import Usage
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.pool import LOCAL, EngineAccess
from orchestrator.ports.engines import Engine, GenerationRequest
from workers.backends.http.calls import CallOptions, OnText, Reply, call_policy
from workers.backends.options import read_options

if TYPE_CHECKING:
    from workers.backends.http.background import BackgroundLoop
    from workers.backends.http.failures import CallError

log = logging.getLogger(__name__)

NO_KEY = "none"
"""For OpenAI-compatible servers that want none. Without it litellm would send them the key of OpenAI
that stands in the environment."""

OURS = frozenset(
    {"model", "messages", "api_base", "api_key", "stream", "timeout", "num_retries", "max_retries"}
)

QUIET = {"telemetry": False, "suppress_debug_info": True, "num_retries": 0, "cache": None}
"""Settings of the module."""


class RemoteOptions(CallOptions):
    """`options` of an engine with backend `remote`.

    Args:
        extra_params: further arguments of `litellm.completion`, such as `api_version`.
    """

    extra_params: dict[str, JsonValue] = Field(default_factory=dict)


class Completed(Protocol):
    """litellm's `ModelResponse`."""

    def model_dump_json(self) -> str:
        """The reply as JSON, in OpenAI's form."""


class LiteLlm(Protocol):
    """The part of the module `litellm` that is used."""

    async def acompletion(self, **params: object) -> Completed:
        """One chat completion; raises litellm's own errors, which derive from those of `openai`."""

    def get_llm_provider(self, model: str) -> Sequence[object]:
        """(model, provider, ...); raises for a model that names no provider."""

    def validate_environment(self, model: str) -> Mapping[str, object]:
        """`missing_keys`: environment variables that the provider needs."""

    def cost_per_token(
        self, *, model: str, prompt_tokens: int, completion_tokens: int
    ) -> tuple[float, float]:
        """USD for prompt and output; raises for a model without a known price."""


class RemoteBackend:
    """Implements `ports.Backend`.

    Args:
        access: addresses, keys and limits, by engine id.
        library: stands in for litellm.
    """

    def __init__(self, access: Mapping[str, EngineAccess], *, library: LiteLlm | None = None) -> None:
        self._access = access
        self._library = library

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        """Import litellm and check what can be checked without a call.

        Raises:
            EngineLoadError: options, a missing package, an unknown provider or a missing key.
        """
        options = read_options(RemoteOptions, spec)
        _check_extra(spec, options)
        library = self._library or import_litellm()
        access = self._access.get(spec.id, LOCAL)
        fixed = _fixed_params(spec, options, access, library)

        from workers.backends.http.engine import RemoteEngine

        endpoint = RemoteEndpoint(
            library,
            models={None: spec.model, **{name: options.adapter_models.get(name, name) for name in adapters}},
            fixed=fixed,
            drop_params=options.drop_params,
            priced=access.priced,
        )
        return RemoteEngine(
            spec.id,
            endpoint,
            call_policy(options, access, spec.reasoning),
            max_model_len=spec.max_model_len,
            adapters=adapters,
            loop=_litellm_loop(),
        )


class RemoteEndpoint:
    """Implements `calls.Endpoint`.

    Args:
        models: litellm's name of the base model (None) and of each adapter.
        fixed: arguments of every call.
        priced: costs are computed elsewhere.
    """

    def __init__(
        self,
        library: LiteLlm,
        *,
        models: Mapping[str | None, str],
        fixed: Mapping[str, object],
        drop_params: frozenset[str],
        priced: bool,
    ) -> None:
        self._library = library
        self._models = models
        self._fixed = fixed
        self._drop_params = drop_params
        self._priced = priced

    async def complete(self, request: GenerationRequest, *, timeout_s: float, on_text: OnText) -> Reply:
        from workers.backends.http.wire import read_completion, sampling_params, wire_messages

        model = self._models[request.adapter]
        params = {
            **self._fixed,
            "model": model,
            "messages": wire_messages(request),
            **sampling_params(request, drop=self._drop_params),
            "timeout": timeout_s,
        }
        try:
            completed = await self._library.acompletion(**params)
        except Exception as error:
            raise self._call_error(error) from None
        body = completed.model_dump_json().encode("utf-8", "replace")
        reply = read_completion(body, prompt_chars=sum(m.n_chars for m in request.messages))
        on_text(reply.text)
        return reply._replace(usage=self._with_cost(reply.usage, model))

    async def close(self) -> None:
        """Connections belong to litellm."""

    def _with_cost(self, usage: Usage, model: str) -> Usage:
        if self._priced:
            return usage
        try:
            costs = self._library.cost_per_token(
                model=model, prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens
            )
        except Exception:  # litellm raises a bare Exception for a model without a price
            log.debug("litellm knows no price of %s", model)
            return usage
        return usage.model_copy(update={"cost_usd": sum(costs)})

    def _call_error(self, error: Exception) -> "CallError":
        """litellm's exceptions carry a status, and the provider's response where there was one."""
        from workers.backends.http.failures import bad_response, error_of_status, shortened

        message = str(error)
        key = self._fixed.get("api_key")
        if isinstance(key, str) and key != NO_KEY:
            message = message.replace(key, "[api_key]")
        status = getattr(error, "status_code", None)
        if not isinstance(status, int):
            return bad_response(f"{type(error).__name__}: {shortened(message)}")
        return error_of_status(status, _headers(error), message.encode("utf-8", "replace"))


def import_litellm() -> LiteLlm:
    """The module, with everything off that calls home or answers instead of the provider.

    Raises:
        EngineLoadError: the extra `remote` is not installed.
    """
    if find_spec("litellm") is None:
        raise EngineLoadError(
            "backend 'remote' needs litellm.",
            remedy="Install it: pip install 'muster[remote]'.",
            is_lasting=True,
        )
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # else it reads a .env file into the environment
    litellm = importlib.import_module("litellm")
    for name, value in QUIET.items():
        setattr(litellm, name, value)
    logging.getLogger("LiteLLM").setLevel(logging.WARNING)  # it logs requests at DEBUG and INFO
    return litellm


@cache
def _litellm_loop() -> "BackgroundLoop":
    """One loop for all engines: litellm keeps its connections per event loop, and drops none when a
    loop is closed."""
    from workers.backends.http.background import BackgroundLoop

    return BackgroundLoop("muster-litellm")


def _fixed_params(
    spec: EngineSpec, options: RemoteOptions, access: EngineAccess, library: LiteLlm
) -> dict[str, object]:
    provider = _provider(spec, library)
    key = access.api_key.get_secret_value() if access.api_key else None
    if key is None and access.api_base is not None and provider == "openai":
        key = NO_KEY
    if key is None and access.api_base is None:
        _check_environment(spec, library)
    where = {"api_base": access.api_base, "api_key": key}
    return {
        **options.extra_params,
        **{name: value for name, value in where.items() if value is not None},
        "stream": False,
        "num_retries": 0,
        "max_retries": 0,
        "drop_params": True,
    }


def _check_extra(spec: EngineSpec, options: RemoteOptions) -> None:
    clash = sorted(OURS & options.extra_params.keys())
    if clash:
        raise EngineLoadError(
            f"engine '{spec.id}': extra_params may not set '{clash[0]}'.",
            param=f"options.extra_params.{clash[0]}",
            remedy="Set it in litellm_params.",
            is_lasting=True,
        )


def _provider(spec: EngineSpec, library: LiteLlm) -> str:
    try:
        return str(library.get_llm_provider(spec.model)[1])
    except Exception as error:  # litellm's own kind of bad request
        raise EngineLoadError(
            f"engine '{spec.id}': litellm knows no provider of '{spec.model}'.",
            param="model",
            remedy="Write PROVIDER/MODEL, as in openai/gpt-4o-mini or anthropic/claude-sonnet-4-5.",
            is_lasting=True,
        ) from error


def _check_environment(spec: EngineSpec, library: LiteLlm) -> None:
    missing = library.validate_environment(spec.model).get("missing_keys")
    if isinstance(missing, list) and missing:
        raise EngineLoadError(
            f"engine '{spec.id}': no key for '{spec.model}'.",
            param="api_key",
            remedy=f"Set litellm_params.api_key, or export {' and '.join(map(str, missing))}.",
            is_lasting=True,
        )


def _headers(error: Exception) -> dict[str, str]:
    """The provider's, names in lower case."""
    response = getattr(error, "response", None)
    found = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None)
    return {str(k).lower(): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}
