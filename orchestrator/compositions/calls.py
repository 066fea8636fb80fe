"""Calls: the messages and the sampling that ask an expert or an aggregator."""

from collections.abc import Sequence

from orchestrator import prompts
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import (
    Call,
    CallRole,
    Job,
    QueryState,
    Sampling,
)
from orchestrator.domain.experts import Expert
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.values import seed_of


def expert_call(
    expert: Expert,
    query: Query,
    job: Job,
    *,
    sample_ix: int = 0,
    stream: bool = False,
    mixture: tuple[tuple[str, float], ...] = (),
) -> Call:
    """The call that asks one expert a query; its seed depends on the job, query, expert and sample only."""
    return Call(
        expert_id=expert.id,
        role=CallRole.EXPERT,
        messages=prompts.expert(query, style=expert.prompt, system_prompt=expert.system_prompt),
        sampling=Sampling(
            max_tokens=min(job.max_tokens or expert.max_tokens, expert.max_tokens),
            temperature=expert.temperature if job.temperature is None else job.temperature,
            top_p=1.0 if job.top_p is None else job.top_p,
            stop=job.stop,
            structured_output=job.structured_output,
            seed=call_seed(job.seed, query, expert.id, sample_ix),
            stream=stream,
            trace=job.trace,
            mixture=mixture,
        ),
        sample_ix=sample_ix,
    )


def length_notes(job: Job, experts: Sequence[Expert]) -> tuple[str, ...]:
    """Note where a request asks for longer responses than the pool gives: these end at the pool's limit."""
    limits = {e.id: e.max_tokens for e in experts if e.max_tokens < (job.max_tokens or 0)}
    if not limits:
        return ()
    said = ", ".join(f"{expert_id} {limit}" for expert_id, limit in limits.items())
    return (f"max_tokens {job.max_tokens} is more than the pool gives, in tokens: {said}",)


def aggregate_call(expert: Expert, query: Query, candidates: Sequence[str], *, seed: int) -> Call:
    """The call that asks an aggregator to write the final answer from candidate answers.

    Its fence is new with every call, and its seed is not.
    """
    return Call(
        expert_id=expert.id,
        role=CallRole.AGGREGATE,
        messages=prompts.synthesize(
            query, candidates, style=expert.synthesize_prompt, fence=prompts.draw_fence()
        ),
        sampling=Sampling(
            max_tokens=expert.max_tokens,
            temperature=expert.temperature,
            seed=call_seed(seed, query, expert.id, 0),
        ),
    )


def further_call(
    expert: Expert,
    state: QueryState,
    messages: tuple[Message, ...],
    *,
    role: CallRole,
    sample_ix: int,
    seed: int,
    temperature: float | None = None,
) -> Call:
    """A call that an aggregator asks for beside the experts' own.

    Args:
        sample_ix: place of the call among those of its step: what tells replies apart.
        seed: the job's.
        temperature: None = the expert's.
    """
    own_words = role in (CallRole.SAMPLE, CallRole.DISCUSS)
    limit = state.max_tokens if own_words and state.max_tokens else expert.max_tokens
    drawn = seed_of([seed, state.query.content_hash, expert.id, role, state.stage, sample_ix])
    return Call(
        expert_id=expert.id,
        role=role,
        messages=messages,
        sampling=Sampling(
            max_tokens=min(limit, expert.max_tokens),
            temperature=expert.temperature if temperature is None else temperature,
            seed=drawn,
        ),
        sample_ix=sample_ix,
    )


def call_seed(seed: int, query: Query, expert_id: str, sample_ix: int) -> int:
    """31-bit seed of one generation: equal inputs, equal text, whatever else runs in the batch."""
    return seed_of([seed, query.content_hash, expert_id, sample_ix])


def error_answer(code: str, message: str) -> Answer:
    return Answer(text="", error_code=code, error=message)
