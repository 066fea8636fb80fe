"""Options of plug-ins: each row of a name table declares them as a frozen model; unknown ones are refused."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.errors import ConfigError


class Options(BaseModel):
    """Base of all option models."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


OptionsT = TypeVar("OptionsT", bound=Options)


def parse_options(owner: str, model: type[OptionsT], options: Mapping[str, object]) -> OptionsT:
    """Validate the options of `owner` (e.g. "router 'symbolic'").

    Raises:
        ConfigError: an unknown option (the message lists the valid ones) or a value out of range.
    """
    for name in options:
        if name not in model.model_fields:
            raise _unknown(owner, name, list(model.model_fields))
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{owner}: option '{name}': {first['msg']}.", param=name) from None


def _unknown(owner: str, name: str, valid: list[str]) -> ConfigError:
    near = get_close_matches(name, valid, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    return ConfigError(
        f"{owner} has no option '{name}'.",
        param=name,
        remedy=f"{hint}Valid: {', '.join(sorted(valid)) or '(none)'}.",
    )
