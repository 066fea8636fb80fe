"""Model names as they are shown."""

from collections.abc import Collection

from api.schemas.models import ModelView
from orchestrator.domain.names import EMBED, model_names


def model_owners(compositions: Collection[str], experts: Collection[str]) -> dict[str, str]:
    """Every name that a request's `model` may be, with its owner."""
    names = (*model_names(compositions, experts), EMBED)
    return {name: "pool" if name in experts else "muster" for name in names}


def model_view(model_id: str, owner: str, *, created: int) -> ModelView:
    """A name that can be asked, in OpenAI's form.

    Args:
        owner: who answers under it.
        created: seconds since 1970.
    """
    return ModelView(id=model_id, created=created, owned_by=owner)
