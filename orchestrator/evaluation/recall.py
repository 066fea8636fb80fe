"""Calls that were made already: a composition that asks for nothing else is answered from them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from orchestrator.domain.assignments import Call, CallRole, Response
from orchestrator.domain.queries import Query
from orchestrator.errors import UnsupportedError
from orchestrator.evaluation.replay.player import CHUNK, Played, play
from orchestrator.ports.composing import Composition
from orchestrator.ports.jobs import AnsweredCall

CallsOfJob = Iterator[tuple[Query, tuple[AnsweredCall, ...]]]
"""As `JobStore.calls`: a job's queries in submission order, with the calls that were answered."""


class Recall:
    """Responses to calls that were made: same expert, same messages, same sampling, its seed included.

    What says nothing about the expert (an engine that died) is not repeated.
    """

    def __init__(self, made: Iterable[tuple[Query, Sequence[AnsweredCall]]]) -> None:
        self._made: dict[tuple[str, str, CallRole], list[AnsweredCall]] = defaultdict(list)
        for query, calls in made:
            for one in calls:
                if one.response.is_experts_own:
                    self._made[query.id, one.call.expert_id, one.call.role].append(one)

    def respond(self, call: Call, query: Query, *, stage: int) -> Response:
        """The response to an equal call.

        Args:
            stage: of the query, as the response tells it.

        Raises:
            UnsupportedError: none was made.
        """
        for one in self._made.get((query.id, call.expert_id, call.role), ()):
            if one.call.sampling == call.sampling and one.call.messages == call.messages:
                return one.response.model_copy(update={"stage": stage, "sample_ix": call.sample_ix})
        raise UnsupportedError(f"expert '{call.expert_id}' was not asked this about query '{query.id}'.")


def derived(
    composition: Composition, queries: Sequence[Query], jobs: Sequence[CallsOfJob]
) -> list[Played] | None:
    """Answers in the order of `queries`; None = the composition asks for what no job has asked.

    Args:
        jobs: calls of jobs over the same queries, in the same order.
    """
    played: list[Played] = []
    for start in range(0, len(queries), CHUNK):
        chunk = queries[start : start + CHUNK]
        known = Recall(made for job in jobs for made in islice(job, len(chunk)))
        try:
            played += play(composition, chunk, known)
        except UnsupportedError:
            return None
    return played
