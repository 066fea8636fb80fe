"""Waiting work of an engine, as the books tell it."""

from orchestrator.domain.assignments import EngineBacklog


def item(engine_id: str, n: int = 10, *, tokens: int | None = None, **fields: float) -> EngineBacklog:
    return EngineBacklog(
        engine_id=engine_id, n_waiting=n, est_tokens=100 * n if tokens is None else tokens, **fields
    )
