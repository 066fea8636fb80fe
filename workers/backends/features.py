"""Features of each kind of engine: what a request may ask of it beside plain text."""

from orchestrator.domain.features import Feature

SHAPING = frozenset(
    {
        Feature.TOP_K,
        Feature.MIN_P,
        Feature.FREQUENCY_PENALTY,
        Feature.PRESENCE_PENALTY,
        Feature.REPETITION_PENALTY,
        Feature.LOGIT_BIAS,
    }
)
"""Parameters that change the distribution of the next token."""

OF_DECODING = SHAPING | {Feature.LOGPROBS, Feature.PREFILL, Feature.PROMPT}
OF_VLLM = OF_DECODING | {Feature.STRUCTURED_OUTPUT, Feature.GUIDED_CHOICE}
OF_SERVERS = frozenset(Feature) - {Feature.GUIDED_CHOICE}
OF_PROVIDERS = OF_SERVERS - {Feature.TOP_K, Feature.MIN_P, Feature.REPETITION_PENALTY, Feature.PROMPT}
OF_COMMANDS = OF_SERVERS
OF_SCRIPTED = OF_SERVERS
