"""Parts of the settings' sections: their base class, paths and URLs."""

import os
import re
from pathlib import Path
from typing import Annotated, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from orchestrator.redaction import redact, remember_url
from orchestrator.settings.unfilled import why_unset

_UNSET = re.compile(r"\$(\w+|\{[^${}]*\})")
MAX_PATH_CHARS = 4096


def _expanded(path: object) -> object:
    """A path with its `~` and `$VAR`."""
    if not isinstance(path, str):
        return path
    if len(path) > MAX_PATH_CHARS:
        raise ValueError(f"longer than {MAX_PATH_CHARS} characters, which no path is")
    full = os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111 -- what may be a hub id is no Path
    unset = _UNSET.search(full)
    if unset is not None:
        raise ValueError(why_unset(unset[1].strip("{}"), os.environ))
    if "\0" in full:
        raise ValueError("holds a NUL character, which no path does")
    return full


def _remembered(url: object) -> object:
    """A URL whose password is shown nowhere."""
    if isinstance(url, str):
        remember_url(url)
    return url


UserPath = Annotated[Path, BeforeValidator(_expanded)]
PathOrName = Annotated[str, BeforeValidator(_expanded)]
SecretUrl = Annotated[str, BeforeValidator(_remembered)]


def counted(model: type[BaseModel], value: object, name: str | None) -> object:
    """The value of a field: `yes` and `on` are no 1, as pydantic takes them.

    Raises:
        ValueError: true or false where a number is wanted.
    """
    if isinstance(value, bool) and name is not None:
        kinds = {model.model_fields[name].annotation, *get_args(model.model_fields[name].annotation)}
        if kinds & {int, float} and bool not in kinds:
            raise ValueError("must be a number, and YAML reads yes, no, on and off as true and false")
    return value


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_true(cls, value: object, info: ValidationInfo) -> object:
        return counted(cls, value, info.field_name)

    def __repr__(self) -> str:
        return redact(super().__repr__())

    def __str__(self) -> str:
        return redact(super().__str__())
