"""Features: what an engine can do beside plain text, as far as a request may ask for it."""

from enum import StrEnum


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
