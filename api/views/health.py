"""Diagnoses as they are shown."""

from collections.abc import Iterable

from api.schemas.health import CheckView, ReadyView
from api.views.experts import engine_views
from orchestrator.domain.diagnoses import Diagnosis
from orchestrator.domain.engines import EngineState


def ready_view(diagnoses: Iterable[Diagnosis], engines: Iterable[EngineState] = ()) -> ReadyView:
    """Ready where nothing fails that a question needs; degraded where anything does."""
    checks = [CheckView(**diagnosis._asdict()) for diagnosis in diagnoses]
    is_ready = all(check.ok or not check.required for check in checks)
    return ReadyView(
        status="ready" if is_ready else "not_ready",
        degraded=not all(check.ok for check in checks),
        checks=checks,
        engines=engine_views(engines),
    )
