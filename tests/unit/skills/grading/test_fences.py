"""Code fences, as CommonMark has them and as models write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills.grading.fences import Block, fenced_blocks

PARTS = st.lists(
    st.sampled_from(["```", "~~~", "`", "python", "> ", "\n", "\r\n", " ", "\t", "x = 1", "```\n", "````"]),
    max_size=20,
)


def bodies(text: str) -> list[str]:
    return [block.body for block in fenced_blocks(text)]


@pytest.mark.parametrize(
    ("text", "tag", "body"),
    [
        ("```python\nx = 1\n```", "python", "x = 1"),
        ("```python\r\nx = 1\r\ny = 2\r\n```\r\n", "python", "x = 1\ny = 2"),
        ("~~~python3.11\nx = 1\n~~~", "python3.11", "x = 1"),
        ("~~~ a`b\nx\n~~~", "a`b", "x"),
        ('``` py title="a.py"\nx = 1\n```', 'py title="a.py"', "x = 1"),
        ("````md\n```python\nx\n```\n````", "md", "```python\nx\n```"),
        ("```\nx\n`````   ", "", "x"),
        ("```\n~~~\n```", "", "~~~"),
        ("   ```\n   if x:\n       y\n   ```", "", "if x:\n    y"),
        ("1. So:\n\n    ```py\n    if x:\n        y\n    ```\n", "py", "if x:\n    y"),
        ("\t```py\n\tif x:\n\t    y\n\t```", "py", "if x:\n    y"),
        ("- ```py\n  x\n  ```", "py", "x"),
        ("> ```py\n> if x:\n>     y\n> ```", "py", "if x:\n    y"),
        ("> ```py\n> x\n\nprose", "py", "x"),
        ("Here it is: ```py\nx\n```", "py", "x"),
        ('```py\ndef f():\n    """\n    ```\n    """\n```', "py", 'def f():\n    """\n    ```\n    """'),
        ("```py\nx = 1```\nDone.", "py", "x = 1"),
        ("```\n\n```", "", ""),
        ("```\n```", "", ""),
    ],
)
def test_a_block_has_its_tag_and_its_lines(text: str, tag: str, body: str) -> None:
    assert list(fenced_blocks(text)) == [Block(tag, body)]


@pytest.mark.parametrize("text", ["", "``", "a ```x``` b", "``` a`b", "`` ` ``", "~~ x ~~", "about ~~~5"])
def test_other_marks_open_no_block(text: str) -> None:
    assert bodies(text) == []


def test_a_block_without_an_end_runs_to_the_end_of_the_text() -> None:
    assert list(fenced_blocks("```py\nx\n~~~\n``")) == [Block("py", "x\n~~~\n``", is_closed=False)]


def test_a_fence_deeper_in_than_its_opening_closes_nothing() -> None:
    assert bodies("```\na\n    ```\nb\n```") == ["a\n    ```\nb"]


def test_blocks_come_in_order() -> None:
    assert bodies("```\na\n```\nthen\n~~~\nb\n~~~\nand ```\nc\n```") == ["a", "b", "c"]


def test_a_block_that_is_not_whole_goes_on_to_a_later_fence() -> None:
    text = '```py\n"""\n```\nf()\n```\n"""\nx = 1\n```\n```\nz\n```'
    found = fenced_blocks(text, lambda _tag, body: body.count('"""') != 1)
    assert [block.body for block in found] == ['"""\n```\nf()\n```\n"""\nx = 1', "z"]


def test_a_block_that_is_whole_at_no_fence_ends_at_the_first() -> None:
    assert [b.body for b in fenced_blocks("```\na\n```\nb\n```\nc\n```", lambda *_: False)] == ["a", "c"]


def test_a_fence_at_the_end_of_a_line_counts_where_the_block_is_whole_there() -> None:
    text = "```py\nx = 1```\nThen:\n```py\ny = 2\n```"
    found = fenced_blocks(text, lambda _tag, body: "`" not in body)
    assert [block.body for block in found] == ["x = 1", "y = 2"]


@given(parts=PARTS)
def test_nothing_is_in_two_blocks(parts: list[str]) -> None:
    text = "".join(parts)
    assert sum(len(body) for body in bodies(text)) <= 4 * len(text)  # a tab may become four blanks


@given(
    lines=st.lists(st.text('ab `~>="', max_size=12), min_size=1, max_size=5),
    char=st.sampled_from("`~"),
    more=st.integers(0, 3),
    indent=st.integers(0, 6),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_lines_come_back_whatever_fence_is_around_them(
    lines: list[str], char: str, more: int, indent: int, line_end: str
) -> None:
    """A fence longer than any inside; the lines keep their own indentation."""
    fence, margin = char * (15 + more), " " * indent
    text = line_end.join(["Look:", *(margin + line for line in [f"{fence}py", *lines, fence]), "Done."])
    [body] = bodies(text)
    assert [line if line.strip() else "" for line in body.split("\n")] == [
        line if line.strip() else "" for line in lines
    ]
