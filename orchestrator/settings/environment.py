"""Variables of the environment: which are settings, which are somebody else's, what is wrong with them."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import accumulate
from typing import get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic_settings import EnvSettingsSource

from orchestrator.errors import ConfigError

ENV_PREFIX = "MUSTER_"
NESTED = "__"
MAX_DEPTH = 32
REFERENCE = "os.environ/"
OTHER_VARIABLES = frozenset(
    {
        "MUSTER_CHOSEN_DEVICE",
        "MUSTER_CONFIG",
        "MUSTER_MERGEKIT_PYTHON",
        "MUSTER_REPLAY_DIR",
        "MUSTER_TEST_POSTGRES_URL",
        "MUSTER_TEST_VLLM",
        "MUSTER_VLLM_PYTHON",
        "MUSTER_ZOO_MODELS",
    }
)

_SERVICE = re.compile(
    r"MUSTER(_[A-Z0-9_]+?)??_"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_ADDRESS = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)


class KnownVariables(EnvSettingsSource):
    """The environment, but for names that are no settings and values that are empty (these are not set)."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        model = self.settings_cls
        return {
            name: value
            for name, value in super()._load_env_vars().items()
            if value and name.upper().startswith(ENV_PREFIX) and is_setting(name, model)
        }


def is_setting(name: str, model: type[BaseModel]) -> bool:
    """True if a variable names a field of the settings, or one inside it."""
    return _annotation(_path(name), model) is not None


def unknown_variables(environment: Mapping[str, str], model: type[BaseModel]) -> list[str]:
    """A line for each variable that looks like a setting and is none, with the nearest one.

    Kubernetes injects `MUSTER_PORT=tcp://…` and others for services called `muster…`: left alone.
    """
    valid = sorted(variables(model))
    lines = []
    for name, value in sorted(environment.items()):
        if not name.startswith(ENV_PREFIX) or not value or name in OTHER_VARIABLES:
            continue
        if is_setting(name, model) or _is_of_a_service(name, value):
            continue
        near = _nearest(name.upper(), valid)
        hint = f"did you mean {near}?" if near else "unset it."
        lines.append(f"environment variable {name} is not known and does nothing; {hint}")
    return lines


def _nearest(name: str, valid: Sequence[str]) -> str | None:
    """The setting that ends in the same words, or else the one that is spelled most alike."""
    ending = NESTED + name.removeprefix(ENV_PREFIX)
    same = [setting for setting in valid if setting.endswith(ending)]
    return next(iter(same or get_close_matches(name, valid, n=1, cutoff=0.4)), None)


def malformed_variables(environment: Mapping[str, str], model: type[BaseModel]) -> list[ConfigError]:
    """Variables that hold several values, and not as the JSON that they need."""
    return [
        ConfigError(f"{name}: {expected}", param=name)
        for name, value in sorted(environment.items())
        if value and name.upper().startswith(ENV_PREFIX)
        if (expected := _expected(name, value, model)) is not None
    ]


_PROTECTING = re.compile(
    r"MUSTER_(?:[A-Z0-9_]*_)?(?:KEYS?|TOKENS?|PASSWORDS?|SECRETS?|AUTH|AUTHORIZATION|CREDENTIALS?|TLS|SSL|CERT"
    r"|ALLOWED_IPS|ACL)"
)
"""Variables that would protect the server if anybody read them."""


def refused_variables(environment: Mapping[str, str], model: type[BaseModel]) -> list[ConfigError]:
    """Variables that would protect something and are read by nobody."""
    return [
        ConfigError(
            f"{name}: nobody reads it, and so nothing is protected by it.",
            param=name,
            remedy="Unset it; keys are made with `muster keys create`.",
        )
        for name, value in sorted(environment.items())
        if value and _PROTECTING.fullmatch(name.upper()) and name.upper() not in OTHER_VARIABLES
        if not is_setting(name, model)
    ]


def variable_of(
    place: tuple[str | int, ...], environment: Mapping[str, str], *, stands_in_file: bool
) -> str | None:
    """The variable that sets a place in the `muster` section: its own, one whose JSON holds it, or one of the
    sections around it where the file does not hold it either."""
    upper = {name.upper(): (name, value) for name, value in environment.items() if value}
    around = [
        (*upper[variable_name(place[:end])], place[end:])
        for end in range(len(place), 0, -1)
        if variable_name(place[:end]) in upper
    ]
    holding = [name for name, value, rest in around if _holds(value, rest)]
    candidates = holding or ([] if stands_in_file else [name for name, _, _ in around])
    return candidates[0] if candidates else None


def variable_name(place: tuple[str | int, ...]) -> str:
    """The variable of a place in the `muster` section."""
    return ENV_PREFIX + NESTED.join(str(part) for part in place).upper()


def referred(value: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Value that `os.environ/NAME` stands for; None = it is not set, or empty."""
    return environment.get(value.removeprefix(REFERENCE)) or None


def variables(model: type[BaseModel], prefix: str = ENV_PREFIX) -> Iterator[str]:
    """Names of all variables, sections before their members; free names are left out."""
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        yield variable
        section = section_of(field.annotation)
        if section is not None and get_origin(field.annotation) is not dict:
            yield from variables(section, f"{variable}{NESTED}")


def section_of(annotation: object) -> type[BaseModel] | None:
    """The settings model that an annotation is, or holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = section_of(inner)
        if found is not None:
            return found
    return None


def _path(name: str) -> list[str]:
    return name[len(ENV_PREFIX) :].lower().split(NESTED)


def _annotation(path: list[str], model: type[BaseModel]) -> object | None:
    """Annotation of the field that a path leads to, through sections and free names; None = there is none."""
    current: object = model
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(part)
            if field is None:
                return None
            current = field.annotation
        elif (mapping := _mapping_in(current)) is not None and part:
            current = get_args(mapping)[1]
        elif current is not JsonValue:
            return None
    return current


def _mapping_in(annotation: object) -> object | None:
    if get_origin(annotation) is dict:
        return annotation
    return next((inner for inner in get_args(annotation) if get_origin(inner) is dict), None)


def _expected(name: str, value: str, model: type[BaseModel]) -> str | None:
    """Form that a variable should have, where it does not hold JSON of that kind."""
    annotation = _annotation(_path(name), model)
    if annotation is None:
        return None
    if _is_nested_deeply(value):
        return f"is nested deeper than {MAX_DEPTH} levels."
    if annotation is JsonValue or not (kind := _json_kind(annotation)):
        return None
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict if kind == "object" else list):
        return None
    if kind == "list":
        return 'must be a JSON list, such as ["a", "b"].'
    section = section_of(annotation)
    inner = (
        "NAME" if _mapping_in(annotation) is not None or section is None else next(iter(section.model_fields))
    )
    return (
        f'must be a JSON object, such as {{"{inner}": …}}; or set one member: {name}{NESTED}{inner.upper()}=…'
    )


def _holds(value: str, rest: tuple[str | int, ...]) -> bool:
    """Whether a variable's JSON has something at a place; every value has something at its own."""
    if not rest:
        return True
    try:
        inner = json.loads(value)
    except (ValueError, RecursionError):
        return False
    try:
        for part in rest:
            inner = inner[part]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _is_nested_deeply(value: str) -> bool:
    """Of JSON; brackets inside its texts count, too."""
    if not value.lstrip().startswith(("[", "{")):
        return False
    depths = accumulate((char in "[{") - (char in "]}") for char in value)
    return max(depths) > MAX_DEPTH


def _json_kind(annotation: object) -> str:
    if section_of(annotation) is not None or _mapping_in(annotation) is not None:
        return "object"
    kinds = (annotation, *get_args(annotation))
    return "list" if any(get_origin(kind) in (tuple, list) for kind in kinds) else ""


def _is_of_a_service(name: str, value: str) -> bool:
    is_address = name.endswith("_PORT") and _ADDRESS.match(value) is not None
    return is_address or _SERVICE.fullmatch(name) is not None
