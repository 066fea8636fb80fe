"""`GET /v1/models`: the names that a request's `model` may be."""

from fastapi import APIRouter

from api.deps import AppDep, CallerDep, StartedDep
from api.schemas.models import ModelList, ModelView
from api.views.models import model_owners, model_view
from orchestrator.domain.keys import Caller
from orchestrator.errors import UnknownNameError
from orchestrator.services.asking import Asking
from orchestrator.services.experts import Experts

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
def list_models(app: AppDep, caller: CallerDep, started: StartedDep) -> ModelList:
    """Compositions, and the experts that the key may ask."""
    owners = _owners(app.asking, app.experts, caller)
    return ModelList(data=[model_view(i, owner, created=started) for i, owner in owners.items()])


@router.get("/{model_id:path}")
def get_model(model_id: str, app: AppDep, caller: CallerDep, started: StartedDep) -> ModelView:
    """Show one composition or expert."""
    owners = _owners(app.asking, app.experts, caller)
    if model_id not in owners:
        raise UnknownNameError("model", model_id, owners, param="model")
    return model_view(model_id, owners[model_id], created=started)


def _owners(asking: Asking, experts: Experts, caller: Caller) -> dict[str, str]:
    return model_owners(asking.compositions, experts.of(caller))
