"""Reading `EngineSpec.options`: each backend states its own model and refuses the rest."""

from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError


class Options(BaseModel):
    """Base of the option models."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def mistake(self, spec: EngineSpec) -> tuple[str, str] | None:
        """Option that does not fit the others or the engine, and why; None = all do."""
        del spec
        return None


class SpecMistake(NamedTuple):
    """Mistake in an engine's configuration, found without loading it.

    Attributes:
        param: place below the member: `options.NAME`, `max_model_len`, ...; or `model`.
    """

    param: str
    message: str
    remedy: str


O = TypeVar("O", bound=Options)  # noqa: E741 -- conventional one-letter type variable


def read_options(model: type[O], spec: EngineSpec) -> O:
    """The engine's options as `model`.

    Raises:
        EngineLoadError: an unknown or invalid option; `param` names it.
    """
    try:
        options = model.model_validate(spec.options)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise EngineLoadError(
            f"engine '{spec.id}': option '{field}' of backend '{spec.backend}': {_reason(first['msg'])}.",
            param=f"options.{field}",
            remedy=f"Valid options: {', '.join(sorted(model.model_fields))}.",
            is_lasting=True,
        ) from error
    wrong = options.mistake(spec)
    if wrong is not None:
        raise EngineLoadError(
            f"engine '{spec.id}': option '{wrong[0]}' of backend '{spec.backend}': {wrong[1]}",
            param=f"options.{wrong[0]}",
            is_lasting=True,
        )
    return options


def _reason(message: str) -> str:
    """In words of a YAML file, where pydantic speaks of Python."""
    plain = message.removeprefix("Value error, ").replace("valid tuple", "valid list")
    return plain[:1].lower() + plain[1:]
