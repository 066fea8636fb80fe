"""Defusing: text that is not ours (questions, candidate answers) is data.

It must not be able to end a chat turn or to speak as another candidate.
"""

import re
from functools import lru_cache

_CONTROL_TOKENS = re.compile(
    r"<\|([A-Za-z0-9_ -]{1,40})\|>|<(/?(?:s|start_of_turn|end_of_turn|bos|eos|pad|think))>|\[(/?INST)\]"
)


@lru_cache(maxsize=64)  # experts of one query are asked in a row
def defuse(text: str) -> str:
    """Break chat-template control tokens so that a tokenizer reads them as plain text.

    `<|im_end|>` becomes `<| im_end |>`; other text is unchanged.
    """

    def spaced(match: re.Match[str]) -> str:
        pipe, tag, inst = match.groups()
        if pipe is not None:
            return f"<| {pipe.strip()} |>"
        return f"< {tag} >" if tag is not None else f"[ {inst} ]"

    return _CONTROL_TOKENS.sub(spaced, text)
