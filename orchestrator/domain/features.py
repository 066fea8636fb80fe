"""Features: what an engine can do beside plain text, as far as a request may ask for it."""

from enum import StrEnum
from typing import NamedTuple


class Feature(StrEnum):
    """A thing that some engines can do; where it is a parameter of OpenAI's API, by the name it has there."""

    TOP_K = "top_k"
    MIN_P = "min_p"
    FREQUENCY_PENALTY = "frequency_penalty"
    PRESENCE_PENALTY = "presence_penalty"
    REPETITION_PENALTY = "repetition_penalty"
    LOGIT_BIAS = "logit_bias"
    LOGPROBS = "logprobs"
    STRUCTURED_OUTPUT = "structured_output"
    GUIDED_CHOICE = "guided_choice"
    """One of given texts, or a text that a pattern matches."""
    REASONING_EFFORT = "reasoning_effort"
    TOOLS = "tools"
    PROMPT = "prompt"
    """Reading a prompt as it is, without a chat template."""
    PREFILL = "prefill"
    """Going on with an answer that the conversation ends in."""


NO_FEATURES: frozenset[Feature] = frozenset()


class Rendering(NamedTuple):
    """Conversations that the chat template of an engine's model renders, as far as that can be told.

    Attributes:
        prefill: those that end in an answer that is begun.
        assistant_first: those that an assistant's turn begins.
    """

    prefill: bool = True
    assistant_first: bool = True


RENDERS_ALL = Rendering()
