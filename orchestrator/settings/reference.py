"""Reference of the pool file: every key with its type, default and meaning, made from the settings models."""

import types
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from orchestrator.settings.environment import section_of
from orchestrator.settings.load import INTERNAL
from orchestrator.settings.schema import Settings

_INTRODUCTION = """\
# Configuration

Made by `muster config reference`; the descriptions are those of `schema.py`, `members.py` and `shots.py` in
`orchestrator/settings/`.
`muster config example` prints a pool file with comments to start from, `muster config check` tells all
mistakes of one with their lines.

A pool file has LiteLLM's form and a section `muster`. LiteLLM's own keys that Muster does not read are
accepted and named once; those that would protect something and do not (`general_settings.master_key`,
budgets, guardrails) are refused. Other unknown keys are refused with the nearest. Keys that begin with
`x-` are free, for anchors; `os.environ/NAME` stands for a variable anywhere; `~` and `$VAR` work in
paths. A key without a value is not set.

Over the file stand variables of the environment: `MUSTER_` and the path below `muster`, nested with
`__`, as in `MUSTER_SERVER__PORT=9000`; lists and objects as JSON. An empty variable is not set; an
unknown one is told and does nothing. `MUSTER_CONFIG` names the file, where `--config` does not.
"""
WHOLE = "The file"
_TITLES = {"model_list": "model_list[]", "compositions": "compositions.*"}


class Key(NamedTuple):
    """One row of the reference."""

    name: str
    kind: str
    default: str
    meaning: str


class Part(NamedTuple):
    """One section of the file."""

    title: str
    about: str
    keys: tuple[Key, ...]


def reference() -> str:
    """The reference in Markdown."""
    return _INTRODUCTION + "".join(map(_table, parts()))


def example() -> str:
    """A pool file with comments that `muster config check` accepts."""
    return resources.files("orchestrator.settings").joinpath("example.yaml").read_text(encoding="utf-8")


def parts(model: type[BaseModel] = Settings, title: str = "") -> Iterator[Part]:
    """The sections of a model, outer ones first."""
    fields = {name: field for name, field in model.model_fields.items() if name not in INTERNAL}
    about = " ".join((model.__doc__ or "").split("\n\n")[0].split())
    yield Part(title or WHOLE, about if title else "", tuple(_key(n, f) for n, f in fields.items()))
    for name, field in fields.items():
        section = section_of(field.annotation)
        if section is not None:
            yield from parts(section, f"{title}.{_TITLES.get(name, name)}".removeprefix("."))


def _table(part: Part) -> str:
    rows = [f"| `{key.name}` | {key.kind} | {key.default} | {key.meaning} |\n" for key in part.keys]
    title = part.title if part.title == WHOLE else f"`{part.title}`"
    about = f"{part.about}\n\n" if part.about else ""
    return f"\n## {title}\n\n{about}| key | type | default | meaning |\n|---|---|---|---|\n{''.join(rows)}"


def _key(name: str, field: FieldInfo) -> Key:
    kind = _kind(field.annotation)
    meaning = " ".join((field.description or "").split()).replace("|", "\\|")
    return Key(name, f"{kind}{_range(field)}".replace("|", "\\|"), _default(field), meaning)


def _kind(annotation: object) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if section_of(annotation) is not None:
        return "list of sections" if origin is tuple else "sections" if origin is dict else "section"
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal:
        return " | ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " | ".join(_kind(part) for part in inner if part is not types.NoneType)
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return "mapping"
    if annotation is bool:
        return "`true` | `false`"
    names = {str: "text", int: "whole number", float: "number", Path: "path", SecretStr: "secret"}
    return names[annotation] if isinstance(annotation, type) else str(annotation)


def _range(field: FieldInfo) -> str:
    signs = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le")}
    bounds = [
        f"{sign} {getattr(limit, attribute):,}".replace(",", " ")
        for limit in field.metadata
        for kind, (sign, attribute) in signs.items()
        if isinstance(limit, kind)
    ]
    return f" {', '.join(bounds)}" if bounds else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    if section_of(field.annotation) is not None:
        return ""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else "" if value == {} else str(value)
    return f"`{shown}`" if shown else "empty"
