"""Messages to prompts, tokens to text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.domain.queries import Message
from orchestrator.errors import InputError
from workers.backends.stop_strings import cut_at_stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Tokens beyond the stop string's own bytes that are decoded when looking for it: special tokens
# yield no text, and the first token of a slice may lose its leading blank.
STOP_MARGIN = 8


class Texts:
    """One tokenizer, with the chat template in force.

    Args:
        template: overrides the tokenizer's own template.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", *, template: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._template = template or tokenizer.chat_template

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

    def _render(self, messages: Sequence[Message]) -> list[int]:
        if self._template is None:
            text = "\n\n".join(message.content for message in messages)
        else:
            text = self._tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in messages],
                chat_template=self._template,
                add_generation_prompt=True,
                tokenize=False,
            )
        # A chat template writes the special tokens itself.
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=self._template is None)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def hits_stop(self, ids: Sequence[int], stop: Sequence[str]) -> bool:
        """True if the newest tokens complete a stop string."""
        if not stop:
            return False
        n_tail = max(len(word.encode()) for word in stop) + STOP_MARGIN
        return cut_at_stop(self.decode(ids[-n_tail:]), stop).stopped
