"""Code fences of Markdown, in time linear in the text, whatever fences it holds."""

import re
from collections.abc import Iterator

FENCE = "```"


def fenced_blocks(text: str, *, opens: re.Pattern[str]) -> Iterator[str]:
    """Texts between a fence whose rest of the line `opens` matches and the next fence, in order.

    A fence with another rest opens no block. A block that is never closed is none.
    """
    start, line_end = text.find(FENCE), -1
    while start >= 0:
        head = start + len(FENCE)
        if line_end < head:
            line_end = text.find("\n", head)
        if line_end < 0:
            return
        next_fence = text.find(FENCE, start + 1)
        if next_fence < 0:
            return
        # A rest of a line with a fence in it is none that opens a block.
        if next_fence < line_end or opens.match(text[head:line_end]) is None:
            start = next_fence
            continue
        end = text.find(FENCE, line_end + 1)
        if end < 0:
            return
        yield text[line_end + 1 : end]
        start = text.find(FENCE, end + len(FENCE))
