"""Safe YAML that remembers where each key stood, so that an error can name file and line."""

from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import JsonValue

from orchestrator.errors import ConfigError

MAX_FILE_BYTES = 4_000_000
MAX_ALIASES = 64
MAX_DEPTH = 32
MAX_NODES = 1_000_000
"""Values of a file with its aliases written out."""
MAX_NUMBER_CHARS = 1000

KeyPath = tuple[str | int, ...]

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_NO_JSON = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("binary", "omap", "pairs", "set"))
"""What YAML can hold and a pool file has no use for."""


class Document(NamedTuple):
    """`lines` maps the path of each key to its 1-based line; `words` that of each value which stands without
    quotes to its text, as YAML may have made something else of it (`no`, `010`, `2024-01-01`)."""

    data: dict[str, JsonValue]
    lines: dict[KeyPath, int]
    words: dict[KeyPath, str]

    def line_of(self, path: KeyPath) -> int | None:
        """Line of the key, or of its nearest parent that stands in the file."""
        known = self.known(path)
        return self.lines[known] if known else None

    def known(self, path: KeyPath) -> KeyPath:
        """The key, or its nearest parent, that stands in the file; () = none."""
        return next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), ())


_Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
"""The same grammar; the one in C is ten times as fast."""


class _TextKeys(_Loader):  # type: ignore[misc,valid-type] # one of two classes
    """The safe loader, with keys as they are written: a composition may be called `no` or `4`."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = _TEXT
        return dict(super().construct_mapping(node, deep=deep))


def load_yaml(path: Path) -> Document:
    """Parse one YAML mapping with the safe loader.

    Raises:
        ConfigError: unreadable, not YAML, custom tags, duplicate keys, too large or too deep.
    """
    name = str(path)
    try:
        with path.open("rb") as file:  # a pipe may be; a device has no end
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read: {error.strerror}.", file=name) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"larger than {MAX_FILE_BYTES} bytes.", file=name)
    try:
        return _parsed(raw.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise _not_utf8(raw, error.start, name) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        remedy = _remedy_of(raw, line)
        message = f"is not valid YAML: {error.problem}."
        raise ConfigError(message, file=name, line=line, remedy=remedy) from error
    except yaml.reader.ReaderError as error:
        line = raw.decode("utf-8-sig")[: error.position].count("\n") + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        message = f"holds the control character U+{code:04X}."
        raise ConfigError(message, file=name, line=line, remedy="Remove it.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: of a date that is none
        raise ConfigError(f"is not valid YAML: {error}.", file=name) from error


def _not_utf8(raw: bytes, at: int, name: str) -> ConfigError:
    """The error of a file in another encoding; UTF-16 is what PowerShell's `>` and some editors write."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ConfigError("is UTF-16 text, not UTF-8.", file=name, remedy="Save it as UTF-8.")
    line = raw[:at].count(b"\n") + 1
    return ConfigError("is not UTF-8 text.", file=name, line=line, remedy="Save it as UTF-8.")


def _remedy_of(raw: bytes, line: int | None) -> str | None:
    """The remedy of what people write that YAML does not take; None = it is something else."""
    written = raw.splitlines()[line - 1] if line is not None and line <= len(raw.splitlines()) else b""
    if b"\t" in written[: len(written) - len(written.lstrip())]:
        return "Indent by blanks: YAML takes no tabs there."
    if written.lstrip().startswith(b"[") or b" = " in written:
        return "Write `key: value`; a pool file is YAML."
    if b"%" in written or b"`" in written or b"@" in written:
        return "Put the value in quotes."
    return None


def _parsed(text: str, name: str) -> Document:
    _refuse_bombs(text, name)
    loader = _TextKeys(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document({}, {}, {})
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError("must be a mapping with `model_list` at the top.", file=name, line=1)
        if _size(node, {}) > MAX_NODES:
            raise ConfigError("is too large with its aliases written out; write fewer.", file=name)
        document = Document({}, {}, {})
        _collect(node, (), document, name)
        document.data.update(loader.construct_document(node))
        return document
    finally:
        loader.dispose()


def _refuse_bombs(text: str, name: str) -> None:
    """Refuse what would grow, or nest without end, before anything is built of it."""
    n_aliases = depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        n_aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if n_aliases > MAX_ALIASES:
            raise ConfigError(f"uses more than {MAX_ALIASES} aliases; write the values out.", file=name)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else None
            raise ConfigError("is nested too deeply.", file=name, line=line)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Values in a node with its aliases written out: each node is looked at once, however often it stands."""
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # as long as it is not known: what holds itself has no end
        inside = [child for item in node.value for child in _children(item)] if _holds(node) else []
        known[id(node)] = min(MAX_NODES + 1, 1 + sum(_size(child, known) for child in inside))
    return known[id(node)]


def _holds(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode | yaml.SequenceNode)


def _children(item: yaml.Node | tuple[yaml.Node, yaml.Node]) -> tuple[yaml.Node, ...]:
    return item if isinstance(item, tuple) else (item,)


def _collect(node: yaml.Node, path: KeyPath, into: Document, name: str) -> None:
    """Lines and words of a node and of what is in it. What `<<` brings in stands at its own place, and is
    overruled by keys beside it."""
    if len(path) > MAX_DEPTH:
        raise ConfigError("is nested too deeply.", file=name, line=node.start_mark.line + 1)
    if node.tag in _NO_JSON:
        kind = node.tag.rpartition(":")[2]
        remedy = "Write plain keys, lists and texts."
        raise ConfigError(f"'!!{kind}' is not read.", file=name, line=node.start_mark.line + 1, remedy=remedy)
    if isinstance(node, yaml.MappingNode):
        merged = [value for key, value in node.value if key.tag == _MERGE]
        own = [(key, value) for key, value in node.value if key.tag != _MERGE]
        if len(merged) > 1:
            line = node.start_mark.line + 1
            raise ConfigError("key '<<' stands twice.", file=name, line=line, remedy="Give it a list.")
        _collect_keys(own, path, into, name)
        for value in merged:
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                brought = Document({}, {}, {})
                _collect(part, path, brought, name)
                for place, at in brought.lines.items():
                    into.lines.setdefault(place, at)
                for place, word in brought.words.items():
                    into.words.setdefault(place, word)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            into.lines[(*path, index)] = item.start_mark.line + 1
            _collect(item, (*path, index), into, name)
    elif isinstance(node, yaml.ScalarNode) and not node.style:
        if node.tag != _TEXT and len(node.value) > MAX_NUMBER_CHARS:  # `1:1:1…` takes time by its square
            raise ConfigError("is longer than any number.", file=name, line=node.start_mark.line + 1)
        into.words[path] = node.value


def _collect_keys(pairs: list[tuple[yaml.Node, yaml.Node]], path: KeyPath, into: Document, name: str) -> None:
    for key, value in pairs:
        place = (*path, str(key.value))
        line = key.start_mark.line + 1
        if place in into.lines:
            remedy = "Keep one of them."
            raise ConfigError(f"key '{key.value}' stands twice.", file=name, line=line, remedy=remedy)
        into.lines[place] = line
        _collect(value, place, into, name)
