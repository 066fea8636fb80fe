"""Pauses of experts: whom an admin has taken out of recruiting."""

from collections.abc import Iterable, Mapping

from orchestrator.domain.experts import Pool
from orchestrator.domain.values import Value


class ExpertPause(Value):
    """Pause of one expert. `since`: seconds since the epoch by the database's clock, and `for_s` seconds ago
    by the same, when it was read; `reason`: an admin's."""

    expert_id: str
    since: float
    for_s: float = 0.0
    reason: str = ""


def paused_engines(pool: Pool, pauses: Iterable[ExpertPause]) -> Mapping[str, float]:
    """Engines all of whose experts are paused, and for how many seconds that has been so."""
    for_s = {pause.expert_id: pause.for_s for pause in pauses}
    by_engine: dict[str, list[float | None]] = {}
    for expert in pool.experts:
        by_engine.setdefault(expert.engine.id, []).append(for_s.get(expert.id))
    return {
        engine_id: min(times)
        for engine_id, found in by_engine.items()
        if len(times := [at for at in found if at is not None]) == len(found)
    }
