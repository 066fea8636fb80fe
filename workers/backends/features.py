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

OF_DECODING = SHAPING | {Feature.LOGPROBS, Feature.PREFILL}
OF_VLLM = SHAPING | {Feature.LOGPROBS, Feature.STRUCTURED_OUTPUT, Feature.PREFILL}
OF_SERVERS = frozenset(Feature)
OF_PROVIDERS = frozenset(Feature) - {Feature.TOP_K, Feature.MIN_P, Feature.REPETITION_PENALTY}
OF_SCRIPTED = frozenset(Feature)
