"""Extras of sampling as changes of logits, and log probabilities of tokens. Pure tensor functions.

V: vocabulary. The order is vLLM's: biases, penalties, temperature, then what is cut off.
"""

import torch
from torch import Tensor

from orchestrator.domain.logprobs import TokenLogprob, TokenLogprobs
from orchestrator.domain.terms import SamplingExtras
from workers.backends.decoding.texts import Texts

LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot say."""


def shaped(
    logits: Tensor, extras: SamplingExtras, *, prompt: Tensor, output: Tensor, temperature: float
) -> Tensor:
    """One row's logits, float32, as the extras leave them.

    Penalties: frequency and presence as OpenAI defines them, of the output; repetition as in CTRL (Keskar
    et al. 2019), of prompt and output. `top_k` and `min_p` cut off what a draw at
    `temperature` may not take; they change no greedy choice.

    Args:
        logits: float, [V]; not modified.
        prompt, output: int64, token ids so far.
    """
    row = logits.float().clone()
    for token, bias in extras.logit_bias:
        row[token] += bias  # ids are checked when a request comes
    _penalise(row, extras, prompt=prompt, output=output)
    if temperature > 0:
        _cut_off(row, extras, temperature=temperature)
    return row


def _penalise(row: Tensor, extras: SamplingExtras, *, prompt: Tensor, output: Tensor) -> None:
    if extras.repetition_penalty is not None:
        seen = torch.bincount(torch.cat([prompt, output]), minlength=row.numel()) > 0
        scores, penalty = row[seen], extras.repetition_penalty
        row[seen] = torch.where(scores > 0, scores / penalty, scores * penalty)
    if output.numel() and (extras.frequency_penalty or extras.presence_penalty):
        counts = torch.bincount(output, minlength=row.numel())
        row -= (extras.frequency_penalty or 0.0) * counts + (extras.presence_penalty or 0.0) * (counts > 0)


def _cut_off(row: Tensor, extras: SamplingExtras, *, temperature: float) -> None:
    if extras.min_p is not None:
        least = row.max() + temperature * torch.log(row.new_tensor(extras.min_p))
        row[row < least] = -torch.inf
    if extras.top_k is not None and extras.top_k < row.numel():
        least = row.topk(extras.top_k).values[-1]
        row[row < least] = -torch.inf


def token_logprobs(logits: Tensor, token: int, *, n_top: int, texts: Texts) -> TokenLogprobs:
    """The chosen token and the likeliest ones, by the model's own distribution.

    Args:
        logits: float, [V].
    """
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    values, ids = logprobs.topk(n_top) if n_top else (logprobs[:0], torch.empty(0, dtype=torch.int64))
    top = tuple(_logprob(i, v, texts) for i, v in zip(ids.tolist(), values.tolist(), strict=True))
    return TokenLogprobs(_logprob(token, logprobs[token].item(), texts), top)


def _logprob(token: int, logprob: float, texts: Texts) -> TokenLogprob:
    return TokenLogprob(texts.piece(token), max(logprob, LOWEST_LOGPROB))
