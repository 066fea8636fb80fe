"""Messages as kombu's Redis transport hands them on, without a server: only its reading is looked at."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from kombu.transport.virtual.base import Base64, Message

from workers.stack.redis_transport import Transport


class FakeChannel:
    """As much of a channel as reading a message needs."""

    codecs: Mapping[str, object] = {"base64": Base64()}

    def decode_body(self, body: str, encoding: str | None = None) -> Any:
        return body if encoding in (None, "utf-8") else self.codecs[encoding].decode(body)  # type: ignore[attr-defined]


class QuietTransport(Transport):
    """Hands messages to a list instead of to consumers."""

    def __init__(self) -> None:
        self.channels = [FakeChannel()]
        self.heard: list[Any] = []
        self._callbacks = {"steps": self.heard.append}

    class Channel:
        Message = Message


def envelope(content: object = None, **changes: object) -> dict[str, object]:
    body = base64.b64encode(json.dumps([[{"v": 1}], {}, {}] if content is None else content).encode())
    properties = {"delivery_tag": "1", "delivery_info": {}, "body_encoding": "base64"}
    message = {
        "body": body.decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": properties,
    }
    return {**message, **changes}


def heard(message: object) -> list[Any]:
    transport = QuietTransport()
    transport._deliver(message, "steps")
    return transport.heard


def test_a_bell_is_handed_on() -> None:
    assert heard(envelope()) == [envelope()]


@pytest.mark.parametrize(
    "message",
    [
        [],
        "text",
        {"body": 1},
        envelope(properties={"delivery_tag": "1", "body_encoding": "rot13"}),
        envelope(body="!!!"),
        envelope(content="a string"),
        envelope(**{"content-type": "application/x-python-serialize"}),
    ],
)
def test_what_cannot_be_read_is_dropped(message: object, caplog: pytest.LogCaptureFixture) -> None:
    assert heard(message) == []
    assert "dropped" in caplog.text
