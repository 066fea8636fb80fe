"""Translation of what is asked of vLLM and of what it says. Runs in a child process."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.logprobs import TokenLogprob, TokenLogprobs
from orchestrator.domain.terms import SamplingExtras, StructuredOutput

if TYPE_CHECKING:
    from vllm.logprobs import Logprob
    from vllm.outputs import CompletionOutput

SEED_LIMIT = 2**63
LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot say (vLLM's own API writes the same)."""


def sampling_params(sampling: Sampling, *, streams: bool) -> SamplingParams:
    """vLLM's form of `sampling`. Args: streams: outputs hold what is new, else one holds everything at the
    end."""
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed % SEED_LIMIT,
        stop=[word for word in sampling.stop if word],
        **_extras(sampling.extras),
        logprobs=sampling.logprobs,
        structured_outputs=_structured(sampling.structured_output),
        output_kind=RequestOutputKind.DELTA if streams else RequestOutputKind.FINAL_ONLY,
    )


def _extras(extras: SamplingExtras | None) -> dict[str, Any]:
    if extras is None:
        return {}
    said = extras.model_dump(exclude_defaults=True)
    return {**said, "logit_bias": dict(extras.logit_bias)} if extras.logit_bias else said


def _structured(wanted: StructuredOutput | None) -> StructuredOutputsParams | None:
    if wanted is None:
        return None
    return StructuredOutputsParams(
        choice=list(wanted.choice) or None, regex=wanted.regex, json=wanted.json_schema
    )


def token_logprobs(news: "CompletionOutput", sampling: Sampling) -> list[TokenLogprobs]:
    """An entry per new token; none when they were not asked for."""
    if sampling.logprobs is None or news.logprobs is None:
        return []
    return [
        _token_logprobs(candidates, chosen, n_top=sampling.logprobs)
        for chosen, candidates in zip(news.token_ids, news.logprobs, strict=True)
    ]


def _token_logprobs(candidates: "Mapping[int, Logprob]", chosen: int, *, n_top: int) -> TokenLogprobs:
    """`candidates`: vLLM's Logprob by token id, the chosen token among them whatever its rank."""
    ranked = sorted(candidates.values(), key=lambda candidate: candidate.rank or 0)[:n_top]
    return TokenLogprobs(_logprob(candidates[chosen]), tuple(map(_logprob, ranked)))


def _logprob(candidate: "Logprob") -> TokenLogprob:
    return TokenLogprob(candidate.decoded_token or "", max(candidate.logprob, LOWEST_LOGPROB))
