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

from orchestrator.domain.experts import EngineSpec, ThoughtMarks
from orchestrator.domain.queries import Message
from orchestrator.errors import EngineLoadError, InputError
from orchestrator.ports.engines import GenerationRequest
from orchestrator.prompts import is_control
from workers.backends.stop_strings import cut_at_stop
from workers.backends.thoughts import Said, Thoughts
from workers.checkpoints.templates import ChatTemplate, TemplateFaultError, chosen
from workers.checkpoints.turns import ANYTHING, Takes, fitted, question_for, taken_by, turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Tokens beyond the stop string's own bytes that are decoded when looking for it: special tokens
# yield no text, and the first token of a slice may lose its leading blank.
STOP_MARGIN = 8

TIDIED = 8
"""Last characters of a text that tidying may still change: "n't" and others, with the blanks before them."""
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


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
        template: in place of the tokenizer's own, or the name of one of these.
        marks: around thoughts; None = those that the tokenizer or the template shows.
        n_embedded: token ids that the model has an embedding for; None = all.

    Raises:
        TemplateFaultError: no template of that name, or none that can be read.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        *,
        template: str | None = None,
        marks: ThoughtMarks | None = None,
        n_embedded: int | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._n_embedded = len(tokenizer) if n_embedded is None else n_embedded
        text = chosen(tokenizer.chat_template, template)
        self._template = None if text is None else ChatTemplate(text, _special_texts(tokenizer))
        self._marks = marks

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the rendered prompt, of messages in a form that the template takes. Without a template
        the contents are joined by blank lines.

        Raises:
            InputError: the template refuses the messages, or nothing is left to read.
        """
        try:
            ids = self._render(fitted(messages, self.takes))
        except TemplateFaultError as error:
            raise InputError(
                f"its chat template cannot render the messages: {error}.",
                param="messages",
                remedy="Change the messages, or ask another expert.",
            ) from error
        if not ids:
            raise InputError("the prompt has no tokens.", param="messages", remedy="Write a question.")
        self._require_embedded(ids, param="messages")
        return ids

    def encode_raw(self, prompt: str) -> list[int]:
        """Token ids of a prompt as it is, with those that the tokenizer puts around any text.

        Raises:
            InputError: nothing is left to read.
        """
        ids: list[int] = self._tokenizer.encode(prompt)
        if not ids:
            raise InputError("the prompt has no tokens.", param="prompt", remedy="Write something.")
        self._require_embedded(ids, param="prompt")
        return ids

    def _require_embedded(self, ids: Sequence[int], *, param: str) -> None:
        """
        Raises:
            InputError: a token that was added to the tokenizer, and not to the model.
        """
        if (worst := max(ids)) >= self._n_embedded:
            raise InputError(
                f"the prompt holds the token '{self.piece(worst)}' (id {worst}), and the model has "
                f"{self._n_embedded} ids: it was added to its tokenizer alone.",
                param=param,
                remedy="Leave it out, or resize the model's embedding.",
            )

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
            as_text = self.takes.as_text
            turns = [turn(m.role, part, as_text=as_text) for m, part in zip(messages, parts, strict=True)]
            text = self._template.render(turns, begun=begun)
        first, *rest = text.split(seam)
        # A chat template writes the special tokens itself.
        ids: list[int] = self._tokenizer.encode(first, add_special_tokens=self._template is None)
        for part in rest:
            ids += self._tokenizer.encode(part, add_special_tokens=False)
        return ids

    @cached_property
    def takes(self) -> Takes:
        """Conversations that the template takes as they are; any, if it renders no question."""
        try:
            return self.tried()
        except TemplateFaultError:
            return ANYTHING

    def tried(self) -> Takes:
        """Conversations that the template takes as they are.

        Raises:
            TemplateFaultError: it renders no question.
        """
        return ANYTHING if self._template is None else taken_by(self._template)

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
    def _added_controls(self) -> set[str]:
        """Special tokens, others that were added in the form of control strings (`<tool_call>`), and those
        that the model does not know."""
        return {
            token.content
            for number, token in self._tokenizer.added_tokens_decoder.items()
            if token.special or is_control(token.content) or number >= self._n_embedded
        }

    @cached_property
    def _control_words(self) -> set[str]:
        words = self._added_controls | set(self._tokenizer.all_special_tokens)
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
        if not any(token.normalized and token.content in self._added_controls for token in added):
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
        """Marks around thoughts: those that were given, or that the tokenizer or the template shows."""
        added = {token.content: number for number, token in self._tokenizer.added_tokens_decoder.items()}
        return Thoughts(
            added,
            template=None if self._template is None else self._template.text,
            marks=self._marks,
            decode=self.decode,
            decode_all=lambda ids: str(self._tokenizer.decode(ids, skip_special_tokens=False)),
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens, thoughts and all, without control tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def said(self, ids: Sequence[int], *, after: Sequence[int]) -> Said:
        """Speech of an output apart from its thoughts. Args: after: the prompt."""
        return self.thoughts.split(ids, begun=self.thoughts.begun(after))

    def settled(self, ids: Sequence[int], *, after: Sequence[int]) -> str:
        """Speech of an unfinished output that later tokens do not change. Args: after: the prompt.

        Not settled are bytes that may become another character, blanks that a thought may follow, and, where
        the tokenizer tidies blanks ("do n't"), the last few characters.
        """
        n_open = 0
        if self._byte_ids:
            n_open = next(
                (n for n, token in enumerate(reversed(ids)) if token not in self._byte_ids), len(ids)
            )
        text = self.said(ids[: len(ids) - n_open], after=after).text
        if text.isspace() and self.thoughts.are_marked:
            return ""
        return text[: max(0, len(text) - TIDIED)] if self.tidies else text

    @cached_property
    def _byte_ids(self) -> frozenset[int]:
        """Tokens that stand for one byte: a run of them becomes one text at its end."""
        tokens = self._tokenizer.convert_ids_to_tokens(range(len(self._tokenizer)))
        return frozenset(n for n, token in enumerate(tokens) if token and _BYTE.fullmatch(token))

    @cached_property
    def tidies(self) -> bool:
        """True if decoding takes blanks away before punctuation, or may."""
        if not getattr(self._tokenizer, "clean_up_tokenization_spaces", False):
            return False
        return " ! " not in self.decode(self._tokenizer.encode("a ! a", add_special_tokens=False))

    def hits_stop(self, ids: Sequence[int], stop: Sequence[str], *, after: Sequence[int]) -> bool:
        """True if the newest tokens complete a stop string, outside of thoughts."""
        if not stop:
            return False
        ids = self.thoughts.spoken(ids, begun=self.thoughts.begun(after))
        n_tail = max(len(word.encode()) for word in stop) + STOP_MARGIN
        return cut_at_stop(self.decode(ids[-n_tail:]), stop).stopped


def texts_of(
    spec: EngineSpec,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    template: str | None = None,
    n_embedded: int | None = None,
) -> Texts:
    """Texts of an engine that is loaded: its template renders a question, in tokens that its model has.

    Args:
        template: in place of the engine's own choice.
        n_embedded: as `Texts` takes it.

    Raises:
        EngineLoadError: it does not.
    """
    wanted = template or spec.chat_template
    try:
        texts = Texts(tokenizer, template=wanted, marks=spec.reasoning, n_embedded=n_embedded)
        takes = texts.tried()
        texts.encode(question_for(takes))
    except (TemplateFaultError, InputError) as error:
        raise EngineLoadError(
            f"engine '{spec.id}': the chat template of '{spec.model}' cannot be used: {error}.",
            param="chat_template",
            remedy="Name another one in chat_template: a text, a file, or one of the model's by its name.",
            is_lasting=True,
        ) from error
    return texts


def _special_texts(tokenizer: "PreTrainedTokenizerFast") -> dict[str, str]:
    """Special tokens by what templates call them."""
    named = tokenizer.special_tokens_map
    return {name: str(text) for name, text in named.items() if not isinstance(text, list)}


def _seam(messages: Sequence[Message]) -> str:
    """Text that stands in no message and is cut out again before anything is encoded."""
    while True:
        seam = f"\ue000{secrets.token_hex(8)}\ue001"
        if not any(seam in message.content for message in messages):
            return seam
