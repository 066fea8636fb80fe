"""An OpenAI-compatible server that someone else runs: vLLM, llama.cpp, SGLang, another Muster.

"Loading" checks that the server is there and offers the model; the weights are its own affair.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field, JsonValue

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.pool import LOCAL, EngineAccess
from orchestrator.ports.engines import Engine
from workers.backends.http.calls import CallOptions, call_policy
from workers.backends.options import read_options

if TYPE_CHECKING:
    from workers.backends.http.client import ServerAddress

PROVIDER_PREFIXES = ("openai/", "hosted_vllm/", "llamafile/", "lm_studio/")
"""What a pool file in LiteLLM's form writes before the name that the server knows."""

SHOWN_MODELS = 20
SLOTS_TIMEOUT_S = 2.0


class ServerOptions(CallOptions):
    """`options` of an engine with backend `server`. Times in seconds.

    Args:
        served_model: the model's name at the server, if the pool calls it otherwise.
        connect_timeout_s: longest time to connect.
        stall_timeout_s: longest silence inside a stream.
        max_response_bytes: largest reply that is read.
        stream: ask for streams; a server that refuses them gets plain requests anyway.
        check_models: at load, require that the server lists the model.
        extra_body: fields added to every request, for what only this server knows.
    """

    served_model: str | None = Field(default=None, min_length=1)
    connect_timeout_s: float = Field(default=10.0, gt=0)
    stall_timeout_s: float = Field(default=60.0, gt=0)
    max_response_bytes: int = Field(default=8 << 20, ge=1024)
    stream: bool = True
    check_models: bool = True
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)


class ServerBackend:
    """Implements `ports.Backend`.

    Args:
        access: addresses, keys and limits, by engine id.
    """

    def __init__(self, access: Mapping[str, EngineAccess]) -> None:
        self._access = access

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        """Check that the server answers and offers the model and the adapters.

        Raises:
            EngineLoadError: options, an address or a server that cannot be used.
        """
        options = read_options(ServerOptions, spec)
        access = self._access.get(spec.id, LOCAL)
        address = _address(spec, options, access, adapters)

        from workers.backends.http.client import ServerEndpoint
        from workers.backends.http.engine import RemoteEngine
        from workers.backends.http.failures import CallError

        endpoint = ServerEndpoint(address)

        async def check() -> int | None:
            if options.check_models:
                wanted = [address.model, *address.adapter_models.values()]
                offered = await endpoint.models(timeout_s=options.connect_timeout_s)
                _check_offered(spec, wanted, offered)
            if "max_concurrent" in options.model_fields_set:
                return None
            return await endpoint.slots(timeout_s=min(SLOTS_TIMEOUT_S, options.connect_timeout_s))

        try:
            return RemoteEngine(
                spec.id,
                endpoint,
                call_policy(options, access, spec.reasoning),
                max_model_len=spec.max_model_len,
                adapters=adapters,
                check=check,
            )
        except CallError as error:
            raise EngineLoadError(
                f"engine '{spec.id}': {address.url}/models: {error}",
                param="api_base",
                remedy="Start the server, or correct api_base (it usually ends in /v1) and api_key.",
                is_lasting=error.lasting,
            ) from error


def _address(
    spec: EngineSpec, options: ServerOptions, access: EngineAccess, adapters: Sequence[str]
) -> "ServerAddress":
    from workers.backends.http.client import ServerAddress

    return ServerAddress(
        url=_checked_url(spec, access.api_base),
        api_key=access.api_key,
        model=options.served_model or _without_provider(spec.model),
        adapter_models={name: options.adapter_models.get(name, name) for name in adapters},
        connect_timeout_s=options.connect_timeout_s,
        stall_timeout_s=options.stall_timeout_s,
        max_response_bytes=options.max_response_bytes,
        stream=options.stream,
        drop_params=options.drop_params,
        extra_body=options.extra_body,
    )


def _checked_url(spec: EngineSpec, url: str | None) -> str:
    parts = urlsplit(url or "")
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise EngineLoadError(
            f"engine '{spec.id}': "
            + ("api_base is missing." if not url else "api_base is no plain http URL."),
            param="api_base",
            remedy="Set litellm_params.api_base to the server's address, like http://host:8000/v1.",
            is_lasting=True,
        )
    return parts.geturl().rstrip("/")


def _without_provider(model: str) -> str:
    prefix = next((prefix for prefix in PROVIDER_PREFIXES if model.startswith(prefix)), "")
    return model.removeprefix(prefix)


def _check_offered(spec: EngineSpec, wanted: Sequence[str], offered: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in offered]
    if missing:
        listed = ", ".join(sorted(offered)[:SHOWN_MODELS]) or "none"
        raise EngineLoadError(
            f"engine '{spec.id}': the server does not offer '{missing[0]}'. It offers: {listed}.",
            param="model",
            remedy="Name one of these in litellm_params.model, or load the model there.",
            is_lasting=True,
        )
