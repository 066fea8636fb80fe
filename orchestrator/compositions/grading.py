"""Grading: a judge reads responses to open questions, one by one or each beside an anchor's."""

from collections.abc import Sequence

from orchestrator import prompts
from orchestrator.compositions.calls import error_answer, length
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, Job, QueryState, Sampling, Step
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.values import seed_of

GRADING, REGRADING = "grading", "regrading"
"""Compositions of profiling, by name: the judge reads; it reads once more, in the other order."""

TOP_LOGPROBS = 10
"""Likeliest tokens whose probabilities are asked for, so that most grades are among them."""


class GradingRound:
    """Ask one judge about one response; its replies are what is wanted, the answer only closes the query.

    The query's `candidates` are the response, and that of the anchor where it is compared; two candidates are
    shown in both orders.
    """

    def __init__(self, name: str, *, pool: Pool, job: Job) -> None:
        self.name = name
        self._pool = pool
        self._job = job

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [self._step(state) for state in states]

    def _step(self, state: QueryState) -> Step:
        if state.stage > 0:
            return Done(answer=Answer(text="", aggregator=self.name, n_calls=len(state.responses)))
        judge = next((self._pool.by_id[i] for i in self._job.experts if i in self._pool.by_id), None)
        if judge is None:
            return Done(answer=error_answer("expert_unavailable", "its judge is not in the pool."))
        return Ask(calls=grading_calls(judge, state.query, self._job, is_turned=self.name == REGRADING))


def grading_calls(judge: Expert, query: Query, job: Job, *, is_turned: bool) -> tuple[Call, ...]:
    """Calls that grade `query.candidates[0]`: one, or two beside an anchor's response (`candidates[1]`).

    Args:
        job: says whether log probabilities are asked for.
    """
    drawn = seed_of([job.seed, query.content_hash, judge.id, is_turned])
    fence = prompts.draw_fence()
    if len(query.candidates) == 2:
        first, second = query.candidates
        orders = ((first, second), (second, first))
        asked = [prompts.compare(query, pair, style="full", fence=fence) for pair in orders]
    elif query.rubric:
        asked = [prompts.check(query, query.candidates[0], fence=fence, seed=drawn, is_turned=is_turned)]
    else:
        asked = [prompts.grade(query, query.candidates[0], fence=fence, is_turned=is_turned)]
    return tuple(_call(judge, messages, place, drawn, job.logprobs) for place, messages in enumerate(asked))


def _call(judge: Expert, messages: tuple[Message, ...], place: int, seed: int, logprobs: int | None) -> Call:
    return Call(
        expert_id=judge.id,
        role=CallRole.JUDGE,
        messages=messages,
        sampling=Sampling(
            **length(judge, None)._asdict(),
            temperature=judge.temperature,
            logprobs=logprobs,
            seed=seed,
        ),
        sample_ix=place,
    )
