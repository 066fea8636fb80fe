"""Messages to prompts, tokens to text.

Control tokens come from the chat template only. What a message holds is data: where it spells out a control
string of the tokenizer, it is encoded in parts, so that ordinary tokens come of it. Other messages are
encoded as ever, token for token.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from orchestrator.domain.experts import ThoughtMarks
from orchestrator.domain.queries import Message
from orchestrator.errors import InputError
from orchestrator.ports.engines import GenerationRequest
from orchestrator.prompts import is_control
from workers.backends.stop_strings import cut_at_stop
from workers.backends.thoughts import Said, Thoughts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Tokens beyond the stop string's own bytes that are decoded when looking for it: special tokens
# yield no text, and the first token of a slice may lose its leading blank.
STOP_MARGIN = 8


class Prompter(Protocol):
    """Writer of prompts: messages to token ids."""

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the rendered prompt.

        Raises:
            InputError: messages that cannot be rendered, or nothing to read.
        """


class Texts:
    """One tokenizer, with the chat template in force.

    Args:
        template: overrides the tokenizer's own template.
        marks: around thoughts; None = those that the tokenizer or the template shows.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        *,
        template: str | None = None,
        marks: ThoughtMarks | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template or tokenizer.chat_template
        self._marks = marks

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the rendered prompt. Without a template the contents are joined by blank lines.

        Raises:
            InputError: the template refuses the messages, or nothing is left to read.
        """
        try:
            ids = self._render(messages)
        except Exception as error:  # templates are arbitrary programs and raise anything
            raise InputError(
                f"the prompt cannot be rendered: {error}.", param="messages", remedy="Change the messages."
            ) from error
        if not ids:
            raise InputError("the prompt has no tokens.", param="messages", remedy="Write a question.")
        return ids

    def encode_raw(self, prompt: str) -> list[int]:
        """Token ids of a prompt as it is, with those that the tokenizer puts around any text.

        Raises:
            InputError: nothing is left to read.
        """
        ids: list[int] = self._tokenizer.encode(prompt)
        if not ids:
            raise InputError("the prompt has no tokens.", param="prompt", remedy="Write something.")
        return ids

    def encode_request(self, request: GenerationRequest) -> list[int]:
        """Token ids of what a request asks to be read.

        Raises:
            InputError: as `encode`.
        """
        if request.sampling.raw:
            return self.encode_raw(request.messages[-1].content)
        return self.encode(request.messages)

    def _render(self, messages: Sequence[Message]) -> list[int]:
        seam = _seam(messages)
        parts = [self._in_parts(message.content, seam) for message in messages]
        begun = messages[-1].role == "assistant"  # the model goes on with it
        if self._template is None:
            text = "\n\n".join(parts)
        else:
            text = self._tokenizer.apply_chat_template(
                [{"role": m.role, "content": part} for m, part in zip(messages, parts, strict=True)],
                chat_template=self._template,
                add_generation_prompt=not begun,
                continue_final_message=begun,
                tokenize=False,
            )
        first, *rest = text.split(seam)
        # A chat template writes the special tokens itself.
        ids: list[int] = self._tokenizer.encode(first, add_special_tokens=self._template is None)
        for part in rest:
            ids += self._tokenizer.encode(part, add_special_tokens=False)
        return ids

    def _in_parts(self, content: str, seam: str) -> str:
        """The content with a seam inside each control string of the tokenizer."""
        if self._controls is None:
            return content
        text = self._normalized(content)
        if self._controls.search(text) is None:
            return content
        return self._controls.sub(lambda match: f"{match[0]}{seam}", text)

    @cached_property
    def _controls(self) -> "re.Pattern[str] | None":
        """Finds where a control string begins: its first character, with the rest ahead.

        So those that overlap are all found, and no part holds one.
        """
        rests: dict[str, set[str]] = {}
        for word in self._control_words:
            rests.setdefault(word[0], set()).add(word[1:])
        if not rests:
            return None
        return re.compile(
            "|".join(
                f"{re.escape(first)}(?={'|'.join(map(re.escape, sorted(found)))})"
                for first, found in sorted(rests.items())
            )
        )

    @cached_property
    def _control_words(self) -> set[str]:
        """Special tokens, and others that were added in the form of control strings (`<tool_call>`)."""
        added = self._tokenizer.added_tokens_decoder.values()
        words = {token.content for token in added if token.special or is_control(token.content)}
        words |= set(self._tokenizer.all_special_tokens)
        if self._normalize is not None:
            words |= {self._normalize(word) for word in words}
        return {word for word in words if len(word) > 1 and not word.isspace()}

    def _normalized(self, content: str) -> str:
        """The text in which the tokenizer looks for control strings, where it finds some there only."""
        if self._normalize is None or self._controls is None:
            return content
        text = self._normalize(content)
        return text if self._controls.search(text) else content

    @cached_property
    def _normalize(self) -> Callable[[str], str] | None:
        """How texts are rewritten (wide letters, capitals) before control strings are looked for."""
        added = self._tokenizer.added_tokens_decoder.values()
        if not any(token.normalized and (token.special or is_control(token.content)) for token in added):
            return None
        backend = getattr(self._tokenizer, "backend_tokenizer", None)  # of those that are written in Python
        return None if backend is None or backend.normalizer is None else backend.normalizer.normalize_str

    @property
    def n_tokens(self) -> int:
        """Tokens of the vocabulary; their ids are below it."""
        return len(self._tokenizer)

    def piece(self, token: int) -> str:
        """Text of one token by itself."""
        return str(self._tokenizer.decode([token], skip_special_tokens=False))

    @cached_property
    def thoughts(self) -> Thoughts:
        added = {token.content: number for number, token in self._tokenizer.added_tokens_decoder.items()}
        return Thoughts(
            added,
            template=self._template if isinstance(self._template, str) else None,
            marks=self._marks,
            decode=self.decode,
            decode_all=lambda ids: str(self._tokenizer.decode(ids, skip_special_tokens=False)),
        )

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def said(self, ids: Sequence[int], *, after: Sequence[int]) -> Said:
        """Speech of an output apart from its thoughts. Args: after: the prompt."""
        return self.thoughts.split(ids, begun=self.thoughts.begun(after))

    def hits_stop(self, ids: Sequence[int], stop: Sequence[str], *, after: Sequence[int]) -> bool:
        """True if the newest tokens complete a stop string, outside of thoughts."""
        if not stop:
            return False
        ids = self.thoughts.spoken(ids, begun=self.thoughts.begun(after))
        n_tail = max(len(word.encode()) for word in stop) + STOP_MARGIN
        return cut_at_stop(self.decode(ids[-n_tail:]), stop).stopped


def _seam(messages: Sequence[Message]) -> str:
    """Text that stands in no message and is cut out again before anything is encoded."""
    while True:
        seam = f"\ue000{secrets.token_hex(8)}\ue001"
        if not any(seam in message.content for message in messages):
            return seam
