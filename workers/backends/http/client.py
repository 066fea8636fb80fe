"""An OpenAI-compatible server over httpx: one attempt at a time, bounded in bytes and seconds."""

import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import NamedTuple

import httpx
from pydantic import BaseModel, JsonValue, SecretStr, ValidationError

from orchestrator.ports.engines import GenerationRequest
from orchestrator.redaction import remember
from workers.backends.http.calls import OnText, Reply
from workers.backends.http.failures import (
    CallError,
    bad_response,
    cut_stream,
    error_of_status,
    timed_out,
    unreachable,
)
from workers.backends.http.pulse import Pulse
from workers.backends.http.sse import SseDecoder
from workers.backends.http.wire import (
    StreamReader,
    read_choices,
    read_completion,
    read_models,
    sampling_params,
    wire_prompt,
)
from workers.checkpoints.turns import ANYTHING, Takes, fitted

log = logging.getLogger(__name__)

SENT_ONLY_IF_UNDERSTOOD = ("stream_options", "stream")
_JOINED = Takes(late_system=False, neighbours=False)
STRICTER = (_JOINED, _JOINED._replace(system=False))
"""Turns that are tried where a server's template refuses them as they are."""
_OF_TURNS = re.compile(
    r"jinja|chat[ _]?template|template error|roles? (must|should)|alternat|system[ _]?(role|message|prompt)"
    r"|role .{0,20}not supported",
    re.IGNORECASE,
)
LONGEST_ERROR_BYTES = 65_536


class ServerAddress(NamedTuple):
    """Address of a server and how far it is trusted; times in seconds.

    Attributes:
        url: of its API, usually ending in `/v1`.
        model: name of the base weights there; `adapter_models` those of adapters.
        stall_timeout_s: longest silence inside a stream.
        extra_body: fields added to every request.
    """

    url: str
    api_key: SecretStr | None
    model: str
    adapter_models: Mapping[str, str]
    connect_timeout_s: float
    stall_timeout_s: float
    max_response_bytes: int
    stream: bool
    drop_params: frozenset[str]
    extra_body: Mapping[str, JsonValue]


class ServerEndpoint:
    """Implements `calls.Endpoint`. What the server does not understand of streaming, or its chat template of
    turns, is not sent again.

    Args:
        pulse: told of every call, and of every piece of a reply that arrives.
        is_own: it runs on this machine, below this process: no proxy of the environment leads there.
        takes: conversations that its template takes, as far as that is known.
    """

    def __init__(
        self,
        address: ServerAddress,
        *,
        pulse: Pulse | None = None,
        is_own: bool = False,
        takes: Takes = ANYTHING,
    ) -> None:
        self._address = address
        self._pulse = pulse
        self._takes = takes
        self._not_understood: set[str] = set() if address.stream else set(SENT_ONLY_IF_UNDERSTOOD)
        key = address.api_key.get_secret_value() if address.api_key else None
        # Compressed replies are not asked for: their size would be known only after unpacking.
        headers = {"accept-encoding": "identity", **({"authorization": f"Bearer {key}"} if key else {})}
        self._secret = key
        if key:
            remember(key, shown="[api_key]")
        self._client = httpx.AsyncClient(
            headers=headers,
            follow_redirects=False,
            trust_env=not is_own,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
        )

    async def models(self, *, timeout_s: float) -> list[str]:
        """Names of the models that the server offers.

        Raises:
            CallError: it does not say.
        """
        async with self._replies("GET", "/models", None, timeout_s=timeout_s) as response:
            return list(read_models(await self._body(response)))

    async def slots(self, *, timeout_s: float) -> int | None:
        """Requests that the server works on at once, >= 1, where it says so as llama.cpp's does (`/props`
        beside `/v1`); None = it does not."""
        url = self._address.url.removesuffix("/v1") + "/props"
        try:
            async with self._replies("GET", url, None, timeout_s=timeout_s) as response:
                return _slots_in(await self._body(response))
        except CallError:
            return None

    async def write_one_token(self, *, timeout_s: float) -> None:
        """Have the model write one token, whatever that is.

        Raises:
            CallError: it did not.
        """
        payload: dict[str, JsonValue] = {"max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        payload = {name: value for name, value in payload.items() if name not in self._address.drop_params}
        payload = {**self._address.extra_body, "model": self._address.model, **payload}
        async with self._replies("POST", "/chat/completions", payload, timeout_s=timeout_s) as response:
            read_choices(await self._body(response))

    async def complete(self, request: GenerationRequest, *, timeout_s: float, on_text: OnText) -> Reply:
        takes, refusal = self._takes, None
        while True:
            said = _fitting(request, takes)
            payload = self._payload(said)
            try:
                reply = await self._complete(said, payload, timeout_s=timeout_s, on_text=on_text)
            except CallError as error:
                refused = _refused_param(error, payload)
                if refused is not None:
                    log.info("%s does not understand %s; going on without", self._address.url, refused)
                    self._not_understood.add(refused)
                    continue
                if not _OF_TURNS.search(str(error)):
                    raise
                refusal = refusal or error
                stricter = _stricter(request, said)
                if stricter is None:
                    raise refusal from None
                takes = stricter
            else:
                if takes != self._takes:
                    log.info("%s takes turns only as %s", self._address.url, takes)
                    self._takes = takes
                return reply

    async def close(self) -> None:
        await self._client.aclose()

    def _payload(self, request: GenerationRequest) -> dict[str, JsonValue]:
        address = self._address
        model = address.model if request.adapter is None else address.adapter_models[request.adapter]
        streaming: dict[str, JsonValue] = {"stream": True, "stream_options": {"include_usage": True}}
        if "stream" in self._not_understood:
            streaming = {}
        return {
            **address.extra_body,
            "model": model,
            **wire_prompt(request),
            **sampling_params(request, drop=address.drop_params),
            **{name: value for name, value in streaming.items() if name not in self._not_understood},
        }

    async def _complete(
        self,
        request: GenerationRequest,
        payload: dict[str, JsonValue],
        *,
        timeout_s: float,
        on_text: OnText,
    ) -> Reply:
        read_timeout_s = min(timeout_s, self._address.stall_timeout_s) if "stream" in payload else timeout_s
        prompt_chars = sum(message.n_chars for message in request.messages)
        path = "/completions" if request.sampling.raw else "/chat/completions"
        async with self._replies("POST", path, payload, timeout_s=read_timeout_s) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                return read_completion(await self._body(response), prompt_chars=prompt_chars)
            reader = StreamReader(prompt_chars=prompt_chars, on_text=on_text)
            return await self._stream(response, reader)

    async def _stream(self, response: httpx.Response, reader: StreamReader) -> Reply:
        decoder = SseDecoder()
        try:
            async for chunk in self._chunks(response):
                for data in decoder.feed(chunk):
                    reader.feed(data)
                if reader.is_done:
                    break
        except UnicodeDecodeError:
            raise bad_response("a stream that is not UTF-8.") from None
        except httpx.TimeoutException:
            raise
        except httpx.TransportError as error:
            return _reply_after_cut(reader, error)
        return reader.reply()

    @asynccontextmanager
    async def _replies(
        self, method: str, path: str, payload: dict[str, JsonValue] | None, *, timeout_s: float
    ) -> AsyncIterator[httpx.Response]:
        """A response of status 200, its body not yet read; every failure inside is a CallError."""
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, self._address.connect_timeout_s))
        try:
            url = path if path.startswith("http") else self._address.url + path
            with self._pulse.call() if self._pulse else nullcontext():
                async with self._client.stream(method, url, json=payload, timeout=timeout) as response:
                    if response.status_code != 200:
                        self._heard()  # it may have no body
                        body = await self._body(response, most=LONGEST_ERROR_BYTES)
                        raise error_of_status(response.status_code, response.headers, body)
                    yield response
        except CallError as error:
            raise self._without_secret(error) from None
        except httpx.TimeoutException as error:
            raise timed_out(f"{type(error).__name__}: nothing came for too long.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(str(error) or type(error).__name__) from None

    async def _body(self, response: httpx.Response, *, most: int | None = None) -> bytes:
        """The whole body, or its first `most` bytes."""
        body = bytearray()
        async for chunk in self._chunks(response):
            body += chunk
            if most is not None and len(body) >= most:
                return bytes(body[:most])
        return bytes(body)

    async def _chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise bad_response("a compressed body, which was not asked for.")
        n_bytes = 0
        async for chunk in response.aiter_raw():
            n_bytes += len(chunk)
            if n_bytes > self._address.max_response_bytes:
                raise bad_response(f"a body of more than {self._address.max_response_bytes} bytes.")
            self._heard()
            yield chunk

    def _heard(self) -> None:
        if self._pulse is not None:
            self._pulse.beat()

    def _without_secret(self, error: CallError) -> CallError:
        """An error body may quote the request's key."""
        if self._secret:
            error.message = error.message.replace(self._secret, "[api_key]")
            error.args = (error.message,)
        return error


def _fitting(request: GenerationRequest, takes: Takes) -> GenerationRequest:
    """The request with its turns in a form that the server's chat template takes.

    Calls of tools and their results are told apart by fields of their own: conversations with them stay.
    """
    if request.sampling.raw or any(turn.tool_calls or turn.tool_call_id for turn in request.messages):
        return request
    return request._replace(messages=tuple(fitted(request.messages, takes)))


def _stricter(request: GenerationRequest, said: GenerationRequest) -> Takes | None:
    """A way to say a request less freely than it was said; None = there is none."""
    ways = [(takes, _fitting(request, takes).messages) for takes in STRICTER]
    tried = [messages for _, messages in ways]
    after = tried.index(said.messages) + 1 if said.messages in tried else 0
    return next((takes for takes, messages in ways[after:] if messages != said.messages), None)


def _reply_after_cut(reader: StreamReader, error: Exception) -> Reply:
    """The text had ended before the connection did, or it is no answer."""
    try:
        return reader.reply()
    except CallError:
        raise cut_stream() from error


def _refused_param(error: CallError, payload: Mapping[str, JsonValue]) -> str | None:
    """The streaming parameter that the server does not know, if that is what the error is about."""
    if error.code != "request_refused":
        return None
    named = [name for name in SENT_ONLY_IF_UNDERSTOOD if name in payload]
    by_param = next((name for name in named if error.param == name), None)
    return by_param or next((name for name in named if _mentions(str(error), name)), None)


def _mentions(message: str, name: str) -> bool:
    words = message.replace("`", " ").replace("'", " ").replace('"', " ").replace(":", " ").split()
    return name in words


class _Props(BaseModel):
    """Of what llama.cpp's server says of itself: how many requests it works on at once."""

    total_slots: int | None = None


def _slots_in(body: bytes) -> int | None:
    """Slots of `/props`, >= 1; None = not told."""
    try:
        slots = _Props.model_validate_json(body).total_slots
    except ValidationError:
        return None
    return slots if slots is not None and slots >= 1 else None
