"""Only who shares the key is heard, and each message once."""

import json
import logging

import pytest

from workers.stack.seals import LONGEST_BYTES, MOST_REMEMBERED, Seals

KEY = b"k" * 32


def heard(message: str, *, channel: str = "c", key: bytes = KEY) -> object:
    return Seals(key).unseal(channel, message.encode())


@pytest.mark.parametrize("data", [["a"], [], [["job", "w", 0, "Ja ☕\ud83d"]], {"a": None}])
def test_a_sealed_message_says_what_it_said(data: object) -> None:
    assert heard(Seals(KEY).seal("c", data)) == data


def test_a_message_of_another_key_channel_or_content_is_refused_and_counted() -> None:
    message = Seals(KEY).seal("c", ["a"])
    seals = Seals(KEY)
    forged = [
        (b"", "c"),
        (b"garbage", "c"),
        (b"\xff" * 100, "c"),
        (b'["a"]', "c"),
        (message.encode()[:-1] + b" ", "c"),
        (message.replace('"a"', '"b"').encode(), "c"),
        (b"0" + message.encode()[1:] if message[0] != "0" else b"1" + message.encode()[1:], "c"),
        (message.encode(), "d"),
        (Seals(b"x" * 32).seal("c", ["a"]).encode(), "c"),
        (b"a" * (LONGEST_BYTES + 1), "c"),
    ]
    assert [seals.unseal(channel, data) for data, channel in forged] == [None] * len(forged)
    assert seals.n_refused == len(forged)
    assert seals.unseal("c", message.encode()) == ["a"]


def test_a_message_heard_before_is_refused_and_counted() -> None:
    seals, message = Seals(KEY), Seals(KEY).seal("c", ["a"]).encode()
    assert [seals.unseal("c", message) for _ in range(3)] == [["a"], None, None]
    assert seals.n_refused == 2


def test_the_same_news_twice_are_two_messages() -> None:
    teller, listener = Seals(KEY), Seals(KEY)
    for _ in range(3):
        assert listener.unseal("c", teller.seal("c", ["a"]).encode()) == ["a"]


def test_what_is_remembered_is_bounded() -> None:
    seals = Seals(KEY)
    for number in range(MOST_REMEMBERED + 10):
        seals.unseal("c", seals.seal("c", number).encode())
    assert len(seals._seen) == MOST_REMEMBERED


def test_refusals_are_told_without_a_flood_and_without_what_they_hold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seals = Seals(KEY)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            seals.unseal("c", json.dumps(["secret"]).encode())
    assert len(caplog.records) == 10
    assert "secret" not in caplog.text
