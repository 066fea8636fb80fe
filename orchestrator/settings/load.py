"""Loading: the file and the environment, checked, with file and line of all that is wrong."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, get_origin

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import ConfigError, MistakesError
from orchestrator.redaction import (
    COMMAND,
    is_secret,
    remember_environment,
    remember_mapping,
    secrets_in_command,
)
from orchestrator.settings.environment import (
    REFERENCE,
    malformed_variables,
    refused_variables,
    section_of,
    unknown_variables,
    variable_name,
    variable_of,
)
from orchestrator.settings.pasted import (
    LEFT_OUT,
    Fault,
    Mapped,
    Pasted,
    litellms_keys,
    with_environment,
    without_idle,
)
from orchestrator.settings.schema import MusterSettings, Settings
from orchestrator.settings.unfilled import unfilled
from orchestrator.settings.wording import words
from orchestrator.settings.yaml_lines import Document, KeyPath, load_yaml

INTERNAL = frozenset({"base_dir", "source", "remarks", "stated_weights", "unreached"})

_WANTS_TEXT = frozenset({"string_type", "path_type", "invalid-json-value", "literal_error"})


class Loaded(NamedTuple):
    """Settings, and the file that they were read from, for checks that name its lines."""

    settings: Settings
    document: Document


def load_settings(path: Path) -> Settings:
    """Read, check and merge the file and the environment.

    Raises:
        ConfigError: with file, line, and the nearest valid key or what is wrong with the value; a
            `MistakesError` where there are several.
    """
    return load_with_lines(path).settings


def load_with_lines(path: Path) -> Loaded:
    """Load settings as `load_settings` does, with the lines of the file."""
    document = load_yaml(path)
    return Loaded(_Reading(path, document, os.environ).settings(), document)


def load_published(data: Mapped, *, base_dir: Path, source: str, stated_weights: dict[str, str]) -> Settings:
    """Settings of a pool that was published, under this host's environment.

    Args:
        base_dir: folder that relative paths refer to here. source: what messages call it.
        stated_weights: see `Settings`.

    Raises:
        ConfigError: as of `load_settings`, without lines.
    """
    reading = _Reading(base_dir / "published", Document(data, {}, {}), os.environ, is_file=False)
    return reading.settings().model_copy(update={"source": source, "stated_weights": stated_weights})


class Rows(NamedTuple):
    """Rows of `model_list` as a file has them, without what it says in vain, and without secrets.

    Attributes:
        keyless: names of members whose secret stands in the file itself.
    """

    rows: tuple[Mapped, ...]
    keyless: tuple[str, ...]


def rows_of(path: Path) -> Rows:
    """Rows of a file that `load_settings` takes; `os.environ/NAME` is left as it is.

    Raises:
        ConfigError: the file cannot be read any more.
    """
    members = without_idle(load_yaml(path).data).data.get("model_list")
    rows = [member for member in members if isinstance(member, dict)] if isinstance(members, list) else []
    bare = tuple(_without_secrets(row) for row in rows)
    keyless = [str(row.get("model_name")) for row, kept in zip(rows, bare, strict=True) if row != kept]
    return Rows(bare, tuple(keyless))


def _without_secrets(row: Mapped) -> Mapped:
    """A row without literal secrets, whatever key they stand under."""
    secret = set(_secrets(dict(row), ()))

    def kept(data: JsonValue, place: KeyPath) -> JsonValue:
        if isinstance(data, dict):
            return {k: kept(v, (*place, k)) for k, v in data.items() if (*place, k) not in secret}
        if isinstance(data, list):
            return [kept(v, (*place, i)) for i, v in enumerate(data) if (*place, i) not in secret]
        return data

    bare = kept(row, ())
    assert isinstance(bare, dict), "a mapping stays one"
    return bare


def raise_all(mistakes: Iterable[ConfigError]) -> None:
    """Nothing without mistakes; one is raised as it is, several together in the order of their lines.

    Raises:
        ConfigError: there is a mistake.
    """
    found = sorted({str(mistake): mistake for mistake in mistakes}.values(), key=lambda m: m.line or 0)
    if len(found) == 1:
        raise found[0]
    if found:
        raise MistakesError(found)


def name_of(place: KeyPath) -> str:
    """A place as messages name it: `model_list.0.litellm_params.model`."""
    return ".".join(str(part) for part in place)


class _Reading:
    """One reading of a file, and the mistakes that were found so far."""

    def __init__(
        self, path: Path, document: Document, environment: Mapping[str, str], *, is_file: bool = True
    ) -> None:
        self._path = path
        self._is_file = is_file
        self._document = document
        self._environment = environment
        self._mistakes: list[ConfigError] = []
        self._told: set[KeyPath] = set()

    def settings(self) -> Settings:
        """The settings, or a ConfigError that holds all mistakes."""
        remember_environment(self._environment)
        remember_mapping(self._document.data)
        pasted = without_idle(self._document.data)
        shared = _shared_secrets(self._path, self._document.data) if self._is_file else ()
        for fault in (*pasted.faults, *shared):
            if fault.place not in self._told:
                self._tell(fault)
        data = without_empty(self._with_environment(pasted.data), Settings)
        assert isinstance(data, dict), "a mapping stays one"
        muster = self._section(without_empty(data.pop("muster", None) or {}, MusterSettings))
        settings = self._whole(data, muster, self._remarks(pasted))
        raise_all(self._mistakes)
        assert settings is not None, "there was no mistake"
        return settings

    def _with_environment(self, data: Mapped) -> Mapped:
        theirs = self._document.data.get("environment_variables")
        filled, missing = with_environment(
            data, self._environment, theirs if isinstance(theirs, dict) else {}
        )
        remember_mapping(filled)
        for fault in missing:
            self._tell(fault)
        assert isinstance(filled, dict), "a mapping stays one"
        return filled

    def _section(self, section: JsonValue) -> MusterSettings:
        """The `muster` section under its variables; the defaults where it has mistakes."""
        malformed = malformed_variables(self._environment, MusterSettings)
        malformed += refused_variables(self._environment, MusterSettings)
        self._mistakes += malformed
        if not isinstance(section, dict):
            self._tell(Fault(("muster",), "`muster` must be a mapping."))
        elif not malformed:
            try:
                return MusterSettings(**section)  # type: ignore[arg-type]
            except ValidationError as error:
                self._tell_all(error, MusterSettings, ("muster",))
        return MusterSettings.model_construct()

    def _whole(self, data: Mapped, muster: MusterSettings, remarks: tuple[str, ...]) -> Settings | None:
        for key in sorted(INTERNAL & data.keys()):
            self._unknown_key((key,), Settings)
            del data[key]
        members = data.get("model_list")
        places: list[int] = []
        if isinstance(members, list):
            places = [index for index, member in enumerate(members) if member != LEFT_OUT]
            data["model_list"] = [members[index] for index in places]
        origin = {"base_dir": self._path.resolve().parent, "source": str(self._path), "remarks": remarks}
        try:
            return Settings.model_validate({**data, "muster": muster, **origin})
        except ValidationError as error:
            self._tell_all(error, Settings, (), places=places)
            return None

    def _remarks(self, pasted: Pasted) -> tuple[str, ...]:
        lines = unknown_variables(self._environment, MusterSettings)
        if pasted.idle:
            lines.append(f"{self._path}: these keys of LiteLLM do nothing here: {', '.join(pasted.idle)}.")
        if pasted.left_out:
            lines.append(
                f"{self._path}: left out, as their mode answers no questions: {', '.join(pasted.left_out)}."
            )
        return tuple(lines)

    def _tell(self, fault: Fault) -> None:
        self._told.add(fault.place)
        self._mistakes.append(
            ConfigError(
                fault.message,
                file=str(self._path),
                line=self._document.line_of(fault.place),
                param=name_of(fault.place),
                remedy=fault.remedy or None,
            )
        )

    def _tell_all(
        self,
        error: ValidationError,
        model: type[BaseModel],
        prefix: KeyPath,
        *,
        places: Iterable[int] = (),
    ) -> None:
        """The mistakes that validation found, but for places that were told already.

        Args:
            places: of the members that were validated, in the file.
        """
        index = list(places)
        errors = error.errors(include_url=False)
        for details in errors:
            inner = tuple(details["loc"])
            if details["type"] == "too_short" and len(errors) > 1:
                continue  # pydantic counts members that are sound
            if inner[:1] == ("model_list",) and len(inner) > 1 and isinstance(inner[1], int):
                inner = ("model_list", index[inner[1]], *inner[2:])
            place = (*prefix, *inner)
            if place in self._told:
                continue
            variable = self._variable(prefix, inner)
            if details["type"] == "extra_forbidden":
                self._unknown_key(place, _model_at(model, inner[:-1]), variable)
            elif variable is not None:
                where = f" ({name_of(inner)})" if variable != variable_name(inner) else ""
                what, remedy = words(details)
                message = f"{variable}: {what}{where}."
                self._mistakes.append(ConfigError(message, param=variable, remedy=remedy or None))
            else:
                self._tell(self._fault(place, details))

    def _variable(self, prefix: KeyPath, inner: KeyPath) -> str | None:
        """The variable that a mistake in the `muster` section stands in; None = it stands in the file."""
        if not prefix:
            return None
        place = (*prefix, *inner)
        return variable_of(inner, self._environment, stands_in_file=self._document.known(place) == place)

    def _fault(self, place: KeyPath, details: ErrorDetails) -> Fault:
        known, kind = self._document.known(place), details["type"]
        if kind in ("missing", "too_short") and place == ("model_list",):
            reason = "is missing" if kind == "missing" else "has no member"
            if kind == "too_short" and self._document.data.get("model_list"):
                reason = "has members of other modes only (`embedding`, …), which answer no questions"
            return Fault(place, f"the pool is empty: `model_list` {reason}. List at least one model.")
        if not place and "model_name" in details["msg"]:
            return Fault(self._second_of_a_name(), f"model_list: {words(details)[0]}.")
        if kind == "missing":
            return Fault(place, f"{name_of(place)} is missing.")
        if kind in _WANTS_TEXT and not isinstance(details["input"], str | list | dict):
            without_quotes = self._document.words.get(known)
            if without_quotes is not None:
                return Fault(known, *_quotes_missing(known, without_quotes, details["input"]))
        what, remedy = words(details)
        if place == ("model_list",):
            remedy = "Begin each member by `- model_name: NAME`."
        return Fault(place, f"{name_of(place) or 'file'}: {what}.", remedy)

    def _second_of_a_name(self) -> KeyPath:
        """Place of the first member whose name stands before it already."""
        rows = self._document.data.get("model_list")
        seen: set[str] = set()
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            name = str(row.get("model_name")) if isinstance(row, dict) else ""
            if name in seen:
                return ("model_list", index, "model_name")
            seen.add(name)
        return ("model_list",)

    def _unknown_key(
        self, place: KeyPath, model: type[BaseModel] | None, variable: str | None = None
    ) -> None:
        """`variable`: the one that holds the key."""
        key = str(place[-1])
        ours = sorted(set(model.model_fields) - INTERNAL) if model else []
        near = get_close_matches(key, ours, n=1, cutoff=0.4)
        near = get_close_matches(key, [*ours, *litellms_keys(place[:-1])], n=1, cutoff=0.75) or near
        hint = f"Did you mean '{near[0]}'?" if near else f"Valid here: {', '.join(ours)}."
        if variable is None:
            self._tell(Fault(place, f"unknown key '{name_of(place)}'.", hint))
        else:
            self._told.add(place)
            message = f"{variable}: unknown key '{name_of(place)}'."
            self._mistakes.append(ConfigError(message, param=variable, remedy=hint))


def without_empty(data: JsonValue, annotation: object) -> JsonValue:
    """A section without keys that have no value (`rpm:`): they are not set. Options are left as they are."""
    section = section_of(annotation)
    if section is None:
        return data
    if isinstance(data, list):
        return [without_empty(item, section) for item in data]
    if not isinstance(data, dict):
        return data
    if get_origin(annotation) is dict:
        return {key: without_empty(value, section) for key, value in data.items()}
    types = {key: field.annotation for key, field in section.model_fields.items()}
    return {
        key: without_empty(value, types.get(key))
        for key, value in data.items()
        if value is not None or key not in types
    }


def _quotes_missing(place: KeyPath, word: str, value: object) -> tuple[str, str]:
    """Message and remedy for a word that YAML took for something else than text."""
    kinds = {bool: "a yes or no", int: "a number", float: "a number", type(None): "nothing"}
    key, kind = place[-1], kinds.get(type(value), "a date")
    written = "its value" if "key" in str(key) else f"`{word}`"
    quoted = '"…"' if "key" in str(key) else f'"{word}"'
    item = f"- {quoted}" if isinstance(key, int) else f"{key}: {quoted}"
    return (
        f"{name_of(place)}: quotes are missing: without them YAML reads {written} as {kind}.",
        f"Write `{item}`.",
    )


def _model_at(model: type[BaseModel], place: KeyPath) -> type[BaseModel] | None:
    """The section that the path leads to, through lists, free names and optional sections."""
    current: type[BaseModel] | None = model
    is_free = False
    for part in place:
        if isinstance(part, int) or current is None or is_free:
            is_free = False
            continue
        field = current.model_fields.get(part)
        current = section_of(field.annotation) if field else None
        is_free = field is not None and getattr(field.annotation, "__origin__", None) is dict
    return current


def _shared_secrets(path: Path, data: Mapping[str, JsonValue]) -> Iterator[Fault]:
    """A file that holds a literal secret, under whatever key, must not be readable by other users."""
    is_private = not path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    for place in () if is_private else _secrets(dict(data), ()):
        yield Fault(
            place,
            f"holds {_kind(place)} and other users can read it.",
            f"Use `{_named(place)}: os.environ/NAME`, or `chmod 600` the file.",
        )


def _secrets(data: JsonValue, place: KeyPath) -> Iterator[KeyPath]:
    """Places of literal secrets; a command with one among its words is one."""
    if place[-1:] == (COMMAND,) and any(secrets_in_command(data)):
        yield place
        return
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield from _secrets(value, (*place, key))
    is_literal = (
        isinstance(data, str) and not data.startswith(REFERENCE) and not unfilled(_named(place), data)
    )
    if is_literal and _named(place) != "api_base" and is_secret(_named(place), str(data)):
        yield place  # credentials in an api_base are refused in any file


def _named(place: KeyPath) -> str:
    """The key that a value stands under."""
    return next((part for part in reversed(place) if isinstance(part, str)), "")


def _kind(place: KeyPath) -> str:
    name = _named(place)
    if name == COMMAND:
        return "a secret in a command"
    return f"{'an' if name[:1].lower() in tuple('aeiou') else 'a'} {name}"
