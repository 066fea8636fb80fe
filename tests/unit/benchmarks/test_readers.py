"""Every reader of foreign text takes twice the steps for twice the text.

Steps are lines of Python; what patterns do inside is counted by `tests/unit/test_linear_patterns.py`.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from benchmarks.readers import READERS
from workers.backends.http.sse import SseDecoder

SIZE = 3_000
CASES = [(name, text) for name, reader in READERS.items() for text in reader.texts]


def n_lines(read: Callable[[str], object], text: str) -> int:
    """Lines of Python that run while a text is read."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(Exception):  # hostile texts are refused, as fast as good ones are read
            read(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.representatives(62)
@pytest.mark.parametrize(("name", "text"), CASES)
def test_twice_the_text_takes_twice_the_steps(name: str, text: str) -> None:
    reader = READERS[name]
    make = reader.texts[text]
    n_lines(reader.read, make(SIZE))  # what is imported, or made, at the first time
    one, two, four = (n_lines(reader.read, make(times * SIZE)) for times in (1, 2, 4))
    assert four - two <= 2.5 * max(0, two - one) + 500, (one, two, four)


def test_a_line_without_end_is_kept_in_pieces() -> None:
    """Joined once, when it ends: not at each of its pieces."""
    decoder, pieces = SseDecoder(), [b"data: ", *[b"x" * 10] * 1000]
    assert [decoder.feed(piece) for piece in pieces] == [[]] * 1001
    assert decoder.n_pieces == 1001
    assert decoder.feed(b"\n\n") == ["x" * 10_000]
    assert decoder.n_pieces == 1
