"""Parts of the settings' sections: their base class, paths and URLs."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from orchestrator.redaction import redact, remember_url

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
        raise ValueError(f"environment variable {unset[1].strip('{}')} is not set; export it before starting")
    return full


def _remembered(url: object) -> object:
    """A URL whose password is shown nowhere."""
    if isinstance(url, str):
        remember_url(url)
    return url


UserPath = Annotated[Path, BeforeValidator(_expanded)]
PathOrName = Annotated[str, BeforeValidator(_expanded)]
SecretUrl = Annotated[str, BeforeValidator(_remembered)]


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    def __repr__(self) -> str:
        return redact(super().__repr__())

    def __str__(self) -> str:
        return redact(super().__str__())
