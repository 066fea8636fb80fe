"""`GET /v1/models`: the names that a request's `model` may be."""

from fastapi import APIRouter

from api.deps import AppDep, StartedDep
from api.schemas.models import ModelList, ModelView
from orchestrator.errors import UnknownNameError
from orchestrator.services.service import Service

router = APIRouter(prefix="/v1/models", tags=["models"])

AUTO = "auto"


def model_owners(service: Service) -> dict[str, str]:
    """Model id to owner: `auto`, `muster/<composition>`, then the experts."""
    virtual = [AUTO, *(f"muster/{name}" for name in service.composition_names if name != AUTO)]
    experts = {expert.id: "pool" for expert in service.pool.experts}
    return {**experts, **dict.fromkeys(virtual, "muster")}


@router.get("")
def list_models(app: AppDep, started: StartedDep) -> ModelList:
    owners = model_owners(app.service)
    return ModelList(data=[ModelView(id=i, created=started, owned_by=o) for i, o in owners.items()])


@router.get("/{model_id:path}")
def get_model(model_id: str, app: AppDep, started: StartedDep) -> ModelView:
    owners = model_owners(app.service)
    if model_id not in owners:
        raise UnknownNameError("model", model_id, owners, param="model")
    return ModelView(id=model_id, created=started, owned_by=owners[model_id])
