"""Reading `EngineSpec.options`: each backend states its own model and refuses the rest."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError


class Options(BaseModel):
    """Base of the option models."""

    model_config = ConfigDict(frozen=True, extra="forbid")


O = TypeVar("O", bound=Options)  # noqa: E741 -- conventional one-letter type variable


def read_options(model: type[O], spec: EngineSpec) -> O:
    """The engine's options as `model`.

    Raises:
        EngineLoadError: an unknown or invalid option; `param` names it.
    """
    try:
        return model.model_validate(spec.options)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise EngineLoadError(
            f"engine '{spec.id}': option '{field}' of backend '{spec.backend}': {first['msg'].lower()}.",
            param=f"options.{field}",
            remedy=f"Valid options: {', '.join(sorted(model.model_fields))}.",
            is_lasting=True,
        ) from error
