"""Loading: the file and the environment, checked, with file and line of what is wrong."""

import os
import stat
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from pydantic import (
    BaseModel,
    JsonValue,
    ValidationError,
)

from orchestrator.errors import ConfigError
from orchestrator.settings.schema import ENV_PREFIX, MusterSettings, Settings, _members
from orchestrator.settings.yaml_lines import Document, KeyPath, load_yaml

OTHER_VARIABLES = frozenset(
    {
        "MUSTER_CONFIG",
        "MUSTER_REPLAY_DIR",
        "MUSTER_TEST_POSTGRES_URL",
        "MUSTER_VLLM_PYTHON",
        "MUSTER_ZOO_MODELS",
    }
)


def load_settings(path: Path) -> Settings:
    """Read, check and merge the file and the environment.

    Raises:
        ConfigError: with file, line, and the nearest valid key or what is wrong with the value.
    """
    document = load_yaml(path)
    _check_environment(os.environ)
    _refuse_shared_secrets(path, document)
    data: dict[str, object] = dict(document.data)
    try:
        section = data.pop("muster", None) or {}
        if not isinstance(section, dict):
            raise ConfigError(
                "`muster` must be a mapping.", file=str(path), line=document.line_of(("muster",))
            )
        muster = _validated_section(section, document, path)
        if "base_dir" in data or "source" in data:
            raise _unknown_key(("base_dir" if "base_dir" in data else "source",), Settings, document, path)
        return Settings.model_validate(
            {**data, "muster": muster, "base_dir": path.resolve().parent, "source": str(path)}
        )
    except ValidationError as error:
        raise _config_error(error, (), Settings, document, path) from error


def _validated_section(section: Mapping[str, JsonValue], document: Document, path: Path) -> MusterSettings:
    try:
        return MusterSettings(**section)  # type: ignore[arg-type]
    except ValidationError as error:
        raise _config_error(error, ("muster",), MusterSettings, document, path) from error


def _config_error(
    error: ValidationError, prefix: KeyPath, model: type[BaseModel], document: Document, path: Path
) -> ConfigError:
    first = error.errors(include_url=False, include_input=False)[0]
    inner = tuple(first["loc"])
    place: KeyPath = prefix + inner
    if first["type"] == "extra_forbidden":
        return _unknown_key(place, _model_at(model, inner[:-1]), document, path)
    in_file = document.line_of(place)
    if in_file is None and prefix:
        variable = ENV_PREFIX + "__".join(str(part).upper() for part in inner)
        return ConfigError(f"{variable}: {first['msg']}.", param=variable)
    key = ".".join(str(part) for part in place) or "file"
    if not place and "model_name" in first["msg"]:
        key = "model_list"
    if first["type"] in ("missing", "too_short") and place == ("model_list",):
        reason = "is missing" if first["type"] == "missing" else "has no member"
        message = f"the pool is empty: `model_list` {reason}. List at least one model."
        return ConfigError(message, file=str(path), line=in_file, param=key)
    return ConfigError(f"{key}: {_plain(first['msg'])}.", file=str(path), line=in_file, param=key)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".")


def _unknown_key(
    place: KeyPath, model: type[BaseModel] | None, document: Document, path: Path
) -> ConfigError:
    key = str(place[-1])
    valid = sorted(set(model.model_fields) - {"base_dir", "source"}) if model else []
    near = get_close_matches(key, valid, n=1, cutoff=0.4)
    hint = f"Did you mean '{near[0]}'?" if near else f"Valid here: {', '.join(valid)}."
    full = ".".join(str(part) for part in place)
    return ConfigError(
        f"unknown key '{full}'.", file=str(path), line=document.line_of(place), param=full, remedy=hint
    )


def _model_at(model: type[BaseModel], place: KeyPath) -> type[BaseModel] | None:
    """The section that the path leads to, through lists and optional sections."""
    current: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        current = _section_of(field.annotation) if field else None
        if field is None and model is Settings and part == "muster":
            current = MusterSettings
    return current


def _section_of(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_of(inner)
        if found is not None:
            return found
    return None


def _check_environment(environment: Mapping[str, str]) -> None:
    """Refuse misspelt MUSTER_ variables: a setting that silently does nothing is worse than an error."""
    valid = set(_variables())
    for name in environment:
        if not name.startswith(ENV_PREFIX) or name in OTHER_VARIABLES or name.upper() in valid:
            continue
        if name.upper().startswith(f"{ENV_PREFIX}COMPOSITIONS__"):
            continue
        near = get_close_matches(name, sorted(valid), n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]}?" if near else "Unset it."
        raise ConfigError(f"unknown environment variable {name}.", param=name, remedy=hint)


def _variables() -> Iterable[str]:
    for name, field in MusterSettings.model_fields.items():
        variable = ENV_PREFIX + name.upper()
        yield variable
        section = _section_of(field.annotation)
        for inner in section.model_fields if section else ():
            yield f"{variable}__{inner.upper()}"


def _refuse_shared_secrets(path: Path, document: Document) -> None:
    """A file that holds a literal key must not be readable by everyone on the machine."""
    for index, member in enumerate(_members(document.data)):
        params = member.get("litellm_params")
        key = params.get("api_key") if isinstance(params, dict) else None
        if not isinstance(key, str) or key.startswith("os.environ/"):
            continue
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise ConfigError(
                "holds an api_key and other users can read it.",
                file=str(path),
                line=document.line_of(("model_list", index, "litellm_params", "api_key")),
                remedy="Use `api_key: os.environ/NAME`, or `chmod 600` the file.",
            )
