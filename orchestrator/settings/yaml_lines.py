"""Safe YAML that remembers where each key stood, so that an error can name file and line."""

from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import JsonValue

from orchestrator.errors import ConfigError

MAX_FILE_BYTES = 4_000_000
MAX_ALIASES = 64
MAX_DEPTH = 32

KeyPath = tuple[str | int, ...]


class Document(NamedTuple):
    """`lines` maps the path of each key to its 1-based line."""

    data: dict[str, JsonValue]
    lines: dict[KeyPath, int]

    def line_of(self, path: KeyPath) -> int | None:
        """Line of the key, or of its nearest parent that stands in the file."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


def load_yaml(path: Path) -> Document:
    """Parse one YAML mapping with the safe loader.

    Raises:
        ConfigError: unreadable, not YAML, custom tags, duplicate keys, too large or too deep.
    """
    name = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read: {error.strerror}.", file=name) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"larger than {MAX_FILE_BYTES} bytes.", file=name)
    try:
        text = raw.decode("utf-8-sig")
        _refuse_alias_bombs(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text.", file=name) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError(f"is not valid YAML: {error.problem}.", file=name, line=line) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"is not valid YAML: {error}.", file=name) from error
    if node is None:
        return Document({}, {})
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError("must be a mapping with `model_list` at the top.", file=name, line=1)
    lines: dict[KeyPath, int] = {}
    _collect_lines(node, (), lines, name)
    return Document(data, lines)


def _refuse_alias_bombs(text: str, name: str) -> None:
    aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader))
    if aliases > MAX_ALIASES:
        raise ConfigError(f"uses more than {MAX_ALIASES} aliases; write the values out.", file=name)


def _collect_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str) -> None:
    if len(path) > MAX_DEPTH:
        raise ConfigError("is nested too deeply.", file=name, line=node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*path, str(key.value))
            if place in lines:
                raise ConfigError(
                    f"key '{key.value}' stands twice.",
                    file=name,
                    line=key.start_mark.line + 1,
                    remedy="Keep one of them.",
                )
            lines[place] = key.start_mark.line + 1
            _collect_lines(value, place, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _collect_lines(item, (*path, index), lines, name)
