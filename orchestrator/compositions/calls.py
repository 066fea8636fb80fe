"""Calls: the messages and the sampling that ask an expert or an aggregator."""

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator import prompts
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import (
    MOST_TOKENS,
    Call,
    CallRole,
    Job,
    QueryState,
    Sampling,
)
from orchestrator.domain.experts import Expert
from orchestrator.domain.features import Feature
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.terms import LONGEST, NO_TERMS, StructuredOutput, Terms
from orchestrator.domain.values import seed_of

Worded = dict[tuple[str, str | None, bool], tuple[Message, ...]]
"""Messages of a query by all that makes one expert's differ from another's, where no shots come first."""

Sampled = dict[tuple[str, bool], tuple[Expert, Sampling]]
"""Sampling of calls on the same terms, by expert and whether somebody reads along, where there is no mixture;
whose it was made for. Only the seed differs from query to query."""


def expert_call(
    expert: Expert,
    query: Query,
    job: Job,
    *,
    sample_ix: int = 0,
    stream: bool = False,
    mixture: tuple[tuple[str, float], ...] = (),
    shots: Sequence[prompts.Shot] = (),
    worded: Worded | None = None,
    sampled: Sampled | None = None,
) -> Call:
    """The call that asks one expert a query; its seed depends on the job, query, expert and sample only.

    Args:
        shots: solved questions that it is shown before.
        worded: messages of the query's other calls, which those in the same words share; added to.
        sampled: of other calls on the terms of this `job`; added to.
    """
    worded = {} if worded is None else worded
    words = (expert.prompt, expert.system_prompt, Feature.TOOLS in expert.features)
    messages = None if shots else worded.get(words)
    if messages is None:
        messages = _messages(expert, query, job, shots)
        if not shots:
            worded[words] = messages
    sampling = _sampling(expert, job, stream=stream, mixture=mixture, sampled=sampled)
    seed = call_seed(job.seed, query, expert.id, sample_ix)
    return Call(
        expert_id=expert.id,
        role=CallRole.EXPERT,
        messages=messages,
        sampling=sampling.model_copy(update={"seed": seed}),
        sample_ix=sample_ix,
    )


def _sampling(
    expert: Expert,
    job: Job,
    *,
    stream: bool,
    mixture: tuple[tuple[str, float], ...],
    sampled: Sampled | None,
) -> Sampling:
    """Sampling of a call but for its seed."""
    sampled = {} if sampled is None or mixture else sampled
    made_for, known = sampled.get((expert.id, stream), (None, None))
    if known is not None and made_for is expert:
        return known
    made = Sampling(
        **length(expert, job.max_tokens)._asdict(),
        temperature=expert.temperature if job.temperature is None else job.temperature,
        top_p=1.0 if job.top_p is None else job.top_p,
        stop=job.stop,
        extras=job.extras,
        logprobs=job.logprobs,
        reasoning_effort=job.reasoning_effort if Feature.REASONING_EFFORT in expert.features else None,
        structured_output=_guide(job, expert),
        tools=prompts.defused_tools(job.tools),
        raw=job.raw,
        stream=stream,
        trace=job.trace,
        mixture=mixture,
    )
    sampled[expert.id, stream] = (expert, made)
    return made


def _guide(terms: Terms, expert: Expert) -> StructuredOutput | None:
    """The form that the expert's engine keeps to, where it can."""
    return terms.structured_output if Feature.STRUCTURED_OUTPUT in expert.features else None


def _form(terms: Terms) -> str:
    """Words that ask for the form of an output; where an engine can keep to it, the model still reads it."""
    wanted = terms.structured_output
    return "" if wanted is None or wanted.json_schema is None else prompts.form(wanted.json_schema)


def _messages(expert: Expert, query: Query, job: Job, shots: Sequence[prompts.Shot]) -> tuple[Message, ...]:
    """Messages that ask an expert a query; a raw one is asked in its own words alone."""
    if job.raw:
        return (Message(role="user", content=query.question),)
    if shots:
        return prompts.with_shots(query, shots, style=expert.prompt, system_prompt=expert.system_prompt)
    return prompts.expert(
        query,
        style=expert.prompt,
        system_prompt=expert.system_prompt,
        form=_form(job),
        calls_tools=Feature.TOOLS in expert.features,
    )


class Length(NamedTuple):
    """Longest output, in tokens; `fits`: or what the context leaves beside the prompt, if that is less."""

    max_tokens: int
    fits: bool = False


def length(expert: Expert, wanted: int | None) -> Length:
    """The longest output of a call that asks for `wanted` tokens, `LONGEST` = as many as fit, None = it says
    nothing: no more than the pool gives, and where it sets no limit, than the context holds."""
    most = expert.most_tokens
    if wanted is None:
        return Length(expert.max_tokens)
    if most is not None:
        return Length(most if wanted == LONGEST else min(wanted, most))
    if wanted != LONGEST and wanted <= expert.max_tokens:
        return Length(wanted)
    context = min(expert.engine.max_model_len, MOST_TOKENS)
    return Length(context if wanted == LONGEST else min(wanted, context), fits=True)


def length_notes(job: Job, experts: Sequence[Expert]) -> tuple[str, ...]:
    """Note where a request asks for longer responses than the pool gives: these end at the pool's limit."""
    limits = {e.id: e.most_tokens for e in experts if (e.most_tokens or MOST_TOKENS) < (job.max_tokens or 0)}
    if not limits:
        return ()
    said = ", ".join(f"{expert_id} {limit}" for expert_id, limit in limits.items())
    return (f"max_tokens {job.max_tokens} is more than the pool gives, in tokens: {said}",)


def aggregate_call(
    expert: Expert,
    query: Query,
    candidates: Sequence[str],
    *,
    seed: int,
    terms: Terms = NO_TERMS,
    stream: bool = False,
) -> Call:
    """The call that asks an aggregator to write the final answer from candidate answers.

    Its fence is new with every call, and its seed is not.

    Args:
        terms: that hold for the query; of them, what the final text must keep to.
        stream: somebody reads it while it is written.
    """
    return Call(
        expert_id=expert.id,
        role=CallRole.AGGREGATE,
        messages=prompts.synthesize(
            query,
            candidates,
            style=expert.synthesize_prompt,
            fence=prompts.draw_fence(),
            form=_form(terms),
        ),
        sampling=Sampling(
            max_tokens=expert.max_tokens,
            temperature=expert.temperature,
            stop=terms.stop,
            structured_output=terms.structured_output
            if Feature.STRUCTURED_OUTPUT in expert.features
            else None,
            seed=call_seed(seed, query, expert.id, 0),
            stream=stream,
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
    asked = length(expert, state.max_tokens) if own_words else Length(expert.max_tokens)
    drawn = seed_of([seed, state.query.content_hash, expert.id, role, state.stage, sample_ix])
    return Call(
        expert_id=expert.id,
        role=role,
        messages=messages,
        sampling=Sampling(
            **asked._asdict(),
            temperature=expert.temperature if temperature is None else temperature,
            top_p=(state.terms.top_p or 1.0) if own_words else 1.0,
            stop=state.terms.stop if own_words else (),
            seed=drawn,
        ),
        sample_ix=sample_ix,
    )


def call_seed(seed: int, query: Query, expert_id: str, sample_ix: int) -> int:
    """31-bit seed of one generation: equal inputs, equal text, whatever else runs in the batch."""
    return seed_of([seed, query.content_hash, expert_id, sample_ix])


def error_answer(code: str, message: str) -> Answer:
    """An answer without text that says why there is none.

    Args:
        code: of an error of ours (`errors`), by which callers tell kinds apart.
    """
    return Answer(text="", error_code=code, error=message)
