"""Runs: a question that is to have several choices is asked as many times, each with a seed of its own."""

from orchestrator.domain.queries import Query
from orchestrator.domain.terms import Terms
from orchestrator.domain.values import seed_of


def runs_of(query: Query, n: int, seed: int | None) -> tuple[Query, ...]:
    """The query n times. The first run is the one that a request for one choice has, so that it is answered
    alike; the seeds of the others follow from the request's, None = the server's."""
    if n == 1:
        return (query,)
    return (query, *(_run(query, number, seed) for number in range(2, n + 1)))


def _run(query: Query, number: int, seed: int | None) -> Query:
    drawn = seed_of(["run", number, seed])
    return query.model_copy(update={"id": f"{query.id}-{number}", "terms": Terms(seed=drawn)})
