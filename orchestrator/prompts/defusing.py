"""Defusing: text that is not ours (questions, earlier turns, candidate answers) is data.

It must not be able to end a chat turn or to speak as another candidate. Here its control strings are broken
up as text, for whoever reads it: servers whose tokenizer is not known, and the models themselves. Engines of
our own also encode contents so that no control token comes of them (`workers.backends.decoding.texts`).
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from orchestrator.domain.queries import Message


def _any_of(words: str) -> str:
    return "|".join(sorted(map(re.escape, words.split()), key=len, reverse=True))


_ANGLED = _any_of(
    """
    s unk pad bos eos cls sep mask mask_token bos_token eos_token eop_token sop eop eod eot eoh eoa eom
    start_of_turn end_of_turn start_of_image end_of_image image_soft_token image
    start_of_audio end_of_audio think thinking thought reasoning reflection answer_start tool_call
    tool_response tool_calls function_call function_response tool_output minimax:tool_call
    beginoftext endoftext endofturn end_of_text begin_of_text fim_prefix fim_middle fim_suffix fim_pad
    file_sep filename gh_stars issue_start issue_comment issue_closed jupyter_start jupyter_text
    jupyter_code jupyter_output jupyter_script empty_output repo_name reponame commit_before commit_msg
    commit_after box_start box_end quad_start quad_end im_start im_end role
"""
)
"""Llama 2, Mistral, Gemma, Command R, GLM, InternLM, Qwen, StarCoder, MiniMax: `<name>` and `</name>`."""
_SQUARE = _any_of(
    """
    INST SYSTEM_PROMPT AVAILABLE_TOOLS TOOL_CALLS TOOL_RESULTS TOOL_CONTENT ARGS CALL_ID THINK PREFIX
    MIDDLE SUFFIX IMG IMG_BREAK IMG_END AUDIO BEGIN_AUDIO TRANSCRIBE MODEL_SETTINGS gMASK sMASK MASK CLS
    SEP PAD UNK BOS EOS EOT @BOS@ multimodal
"""
)
"""Mistral, GLM, EXAONE, Kimi, BERT: `[NAME]` and `[/NAME]`."""

_CONTROL = re.compile(
    # ChatML, Llama 3 and 4, Phi, Qwen, GLM, Granite, Command R, harmony; DeepSeek and Hunyuan with wide bars.
    r"<[|｜](?P<pipe>[^][<>|｜\n]{1,64})[|｜]>"
    # Gemma 4: `<|turn>`, `<turn|>`.
    r"|<[|｜](?P<opened>/?[A-Za-z_]\w{0,40})>"
    r"|<(?P<closed>/?[A-Za-z_]\w{0,40})[|｜]>"
    # EXAONE.
    r"|\[\|(?P<barred>[^][<>|｜\n]{1,40})\|\]"
    r"|<(?P<angled>(?i:/?(?:"
    + _ANGLED
    + r"|unused_?\d{1,6}|reserved_?\d{1,6}|extra_id_\d{1,6}|seed:[\w:/]{1,40}"
    r"|reserved_special_token_\d{1,6}|special_\d{1,6}|mask:\d{1,6})))>"
    r"|\[(?P<square>/?(?:"
    + _SQUARE
    + r"|unused_?\d{1,6}|UNUSED_TOKEN_\d{1,6}|extra_id_\d{1,6}|control_\d{1,6}))\]"
    # Llama 2.
    r"|<<(?P<double>/?SYS)>>"
    # MiniMax.
    r"|\](?P<tilde>~!?b)(?=[][])|\[(?P<ending>e~)(?=\[)"
)


@lru_cache(maxsize=64)  # experts of one query are asked in a row
def defuse(text: str) -> str:
    """Break control strings of chat templates so that they are read as plain text.

    `<|im_end|>` becomes `<| im_end |>`; other text is unchanged.
    """
    return _CONTROL.sub(_spaced, text)


def defused(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Earlier turns of a conversation: whoever wrote them, they are data by now."""
    return tuple(_defused(message) for message in messages)


def _defused(message: Message) -> Message:
    changes: dict[str, object] = {"content": defuse(message.content)}
    if message.tool_calls:
        changes["tool_calls"] = tuple(
            call.model_copy(update={"name": defuse(call.name), "arguments": defuse(call.arguments)})
            for call in message.tool_calls
        )
    return message.model_copy(update=changes)


def is_control(token: str) -> bool:
    """True if a token has the form of a chat template's control strings."""
    return _CONTROL.fullmatch(token) is not None


def _spaced(match: re.Match[str]) -> str:
    kind, text = match.lastgroup, match[0]
    if kind == "pipe":
        return f"{text[:2]} {match['pipe'].strip()} {text[-2:]}"
    if kind in ("tilde", "ending"):
        return f"{text[0]} {text[1:]} "
    if kind == "double":
        return f"<< {match['double']} >>"
    if kind in ("opened", "closed"):
        return f"< {text[1:-1]} >"
    if kind == "barred":
        return f"[| {match['barred'].strip()} |]"
    return f"{text[0]} {text[1:-1]} {text[-1]}"
