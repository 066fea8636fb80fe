"""Code fences, against the pattern that says what they are (and takes time by the square of the text)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills.grading.fences import fenced_blocks

TAGS = {
    "code": (
        r"[ \t]*(?:python3?|py)?[ \t]*",
        re.compile(r"\A[ \t]*(?:(?:python3?|py)[ \t]*)?\Z", re.IGNORECASE),
    ),
    "json": (r"[A-Za-z0-9_-]*[ \t]*", re.compile(r"\A[A-Za-z0-9_-]*[ \t]*\Z")),
}
PARTS = st.lists(
    st.sampled_from(["```", "`", "python", "py", "js", "\n", " ", "\t", "x = 1", "```\n", "\n```\n", "````"]),
    max_size=14,
)


@pytest.mark.parametrize("kind", TAGS)
@given(parts=PARTS)
def test_blocks_are_those_of_the_pattern(kind: str, parts: list[str]) -> None:
    said, opens = TAGS[kind]
    text = "".join(parts)
    pattern = re.compile(f"```{said}\\n(.*?)```", re.DOTALL | re.IGNORECASE)
    assert list(fenced_blocks(text, opens=opens)) == pattern.findall(text)
