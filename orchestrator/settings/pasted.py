"""Pasted files of LiteLLM: their other keys are taken out and named, values from the environment put in."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.settings import litellm_keys as known
from orchestrator.settings.environment import REFERENCE, referred
from orchestrator.settings.unfilled import NAMED, unfilled
from orchestrator.settings.yaml_lines import KeyPath

FREE = "x-"
"""Keys that begin so are the user's own, for anchors and notes."""

LEFT_OUT = "left out"

Mapped = dict[str, JsonValue]


class Fault(NamedTuple):
    """A mistake at a place of the file."""

    place: KeyPath
    message: str
    remedy: str = ""


class Pasted(NamedTuple):
    """A file without what Muster does not read.

    Attributes:
        idle: keys of LiteLLM's that do nothing, each once.
        left_out: names of members that answer no questions; LEFT_OUT stands in their places.
    """

    data: Mapped
    idle: tuple[str, ...]
    left_out: tuple[str, ...]
    faults: tuple[Fault, ...]


class Rules(NamedTuple):
    """Keys of one section that are not ours."""

    idle: frozenset[str]
    refused: Mapping[str, str] = {}


_RULES: Mapping[KeyPath, Rules] = {
    (): Rules(known.TOP, known.REFUSED_TOP),
    ("model_list",): Rules(known.MEMBER),
    ("model_list", "litellm_params"): Rules(known.PARAMS, known.REFUSED_PARAMS),
    ("model_list", "model_info"): Rules(known.INFO),
    ("model_list", "model_info", "muster"): Rules(frozenset()),
    ("router_settings",): Rules(known.ROUTER, known.REFUSED_ROUTER),
    ("general_settings",): Rules(known.GENERAL, known.REFUSED_GENERAL),
    ("litellm_settings",): Rules(frozenset(), known.REFUSED_LITELLM),
    ("muster",): Rules(frozenset()),
}


def litellms_keys(place: KeyPath) -> frozenset[str]:
    """Keys that LiteLLM knows beside ours in the section at a place of the file."""
    rules = _RULES.get(_section(place))
    return rules.idle | frozenset(rules.refused) if rules else frozenset()


def without_idle(data: Mapping[str, JsonValue]) -> Pasted:
    """The file's data without keys that do nothing, and without members that are no chat models."""
    stripped = _stripped(dict(data), ())
    assert isinstance(stripped, dict), "a mapping stays one"
    members = stripped.get("model_list")
    others = [member for member in members if _is_other(member)] if isinstance(members, list) else []
    if isinstance(members, list):
        # Members keep their places, which have lines in the file.
        stripped["model_list"] = [LEFT_OUT if _is_other(member) else member for member in members]
    return Pasted(
        stripped,
        idle=tuple(dict.fromkeys(_idle(data))),
        left_out=tuple(str(other.get("model_name")) for other in others if isinstance(other, dict)),
        faults=tuple(_refused(data)),
    )


def with_environment(
    data: JsonValue, environment: Mapping[str, str], elsewhere: Mapping[str, JsonValue], place: KeyPath = ()
) -> tuple[JsonValue, list[Fault]]:
    """`os.environ/NAME` replaced by the variable's value, wherever it stands.

    Args:
        elsewhere: LiteLLM's `environment_variables`, which Muster does not set.
    """
    if isinstance(data, dict):
        pairs = {k: with_environment(v, environment, elsewhere, (*place, k)) for k, v in data.items()}
        return {k: v for k, (v, _) in pairs.items()}, [f for _, faults in pairs.values() for f in faults]
    if isinstance(data, list):
        items = [with_environment(v, environment, elsewhere, (*place, i)) for i, v in enumerate(data)]
        return [v for v, _ in items], [f for _, faults in items for f in faults]
    name = unfilled(str(place[-1]) if place else "", data)
    if name is not None:
        return None, [_unfilled(name, place)]
    if not isinstance(data, str) or not data.startswith(REFERENCE):
        return data, []
    value = referred(data, environment)
    if value is not None:
        return value, []
    return None, [_missing(data.removeprefix(REFERENCE), elsewhere, place)]


def _missing(name: str, elsewhere: Mapping[str, JsonValue], place: KeyPath) -> Fault:
    if NAMED.fullmatch(name) is None:
        key = ".".join(str(part) for part in place)
        return Fault(place, f"{key}: what follows `{REFERENCE}` is no name.", f"Write {REFERENCE}NAME.")
    why = " (Muster does not set `environment_variables` of the file)" if name in elsewhere else ""
    key = ".".join(str(part) for part in place)
    return Fault(place, f"{key}: environment variable {name} is not set{why}.", "Export it before starting.")


def _unfilled(name: str, place: KeyPath) -> Fault:
    key = ".".join(str(part) for part in place)
    message = f"{key}: a variable in this form is not filled in here."
    return Fault(place, message, f"Write the whole value as `{REFERENCE}{name}`.")


def _section(place: KeyPath) -> KeyPath:
    return tuple(part for part in place if not isinstance(part, int))


def _walk(data: JsonValue, place: KeyPath) -> Iterator[tuple[KeyPath, str, Rules]]:
    """Each key of the sections that have rules, with its section."""
    if isinstance(data, list):
        for index, item in enumerate(data):
            yield from _walk(item, (*place, index))
    rules = _RULES.get(_section(place))
    if not isinstance(data, dict) or rules is None:
        return
    for key, value in data.items():
        yield place, key, rules
        yield from _walk(value, (*place, key))


def _refused(data: Mapping[str, JsonValue]) -> Iterator[Fault]:
    for section, key, rules in _walk(dict(data), ()):
        if key in rules.refused:
            full = (*section, key)
            name = ".".join(str(part) for part in full)
            yield Fault(full, f"{name} is LiteLLM's and not done here.", rules.refused[key])


def _idle(data: Mapping[str, JsonValue]) -> Iterator[str]:
    for section, key, rules in _walk(dict(data), ()):
        if key in rules.idle:
            yield ".".join((*(str(part) for part in _section(section)), key)).removeprefix("model_list.")


def _stripped(data: JsonValue, place: KeyPath) -> JsonValue:
    if isinstance(data, list):
        return [_stripped(item, (*place, index)) for index, item in enumerate(data)]
    rules = _RULES.get(_section(place))
    if not isinstance(data, dict) or rules is None:
        return data
    return {
        key: _stripped(value, (*place, key))
        for key, value in data.items()
        if key not in rules.idle and key not in rules.refused and not key.startswith(FREE)
    }


def _is_other(member: JsonValue) -> bool:
    info = member.get("model_info") if isinstance(member, dict) else None
    return isinstance(info, dict) and info.get("mode") in known.OTHER_MODES
