"""Costs of questions before they are asked, as far as the pool tells them."""

from collections.abc import Callable, Sequence

from orchestrator.domain.assignments import Job
from orchestrator.domain.experts import Pool
from orchestrator.domain.spending import Costs, ExpertCost


def costs_of(pool: Callable[[], Pool], later_engines: Callable[[Job], Sequence[str]]) -> Costs:
    """Costs of calls to the experts of a pool that changes, and who may write the answers of a job.

    Args:
        pool: at the moment.
        later_engines: that a later stage of a job may need.
    """

    def known() -> dict[str, ExpertCost]:
        return {
            e.id: ExpertCost(e.input_cost_per_token, e.output_cost_per_token, e.max_tokens, e.engine.id)
            for e in pool().known.values()
        }

    def writers(job: Job) -> Sequence[str]:
        return [e.id for e in pool().aggregators] if later_engines(job) else []

    return Costs(known, writers)
