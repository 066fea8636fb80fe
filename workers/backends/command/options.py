"""Options of engines that a command starts, and the command with its placeholders filled in."""

import os
import re
import shlex
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, JsonValue, SecretStr, field_validator

from orchestrator.domain.experts import LONGEST_CONTEXT, EngineSpec
from orchestrator.redaction import SHORTEST, remember, remember_mapping
from orchestrator.settings.environment import REFERENCE, referred
from workers.backends.command.ports import LOOPBACK
from workers.backends.command.process import MARK, Launch
from workers.backends.http.calls import CallOptions

FOR_EVER_S = 1e9
"""Longer than anything runs: the worker bounds requests, and a silent server is ended after `hang_s`."""
OURS = "MUSTER_"
"""Beginning of variables that configure this process, and nothing that it starts."""

_PLACEHOLDER = re.compile(r"\{\{(?P<literal>[A-Za-z_]\w*)\}\}|\{(?P<name>[A-Za-z_]\w*)\}")


class CommandOptions(CallOptions):
    """`options` of an engine with backend `command`. Times in seconds.

    Args:
        command: the program and its arguments: one line, taken apart as a shell would take it, or a list. No
            shell runs it. `{port}`, `{host}`, `{model}`, `{name}`, `{api_key}`, `{concurrent}` and
            `{max_model_len}` are filled in, each within its argument; `{{word}}` stands for `{word}`.
        env: variables of its process over those of this one; placeholders are filled in, and
            `os.environ/NAME` stands for a variable of this process, as it is.
        health: path whose status 200 says that the server is ready, such as `/health`; null = none. One token
            that it writes is asked for in any case.
        api_path: beginning of the paths of its API.
        ready_s: longest time from its start to its first token.
        stop: signal that asks it to end; after `stop_s` it is killed.
        hang_s: a server that has requests and sends nothing for so long is ended and started anew.
        model_id: `model` of the requests; null = what the server lists, or the pool's name.
        memory_gib: memory that it will take, until that was measured; null = `gpu_memory_gib`, or an
            estimate from a GGUF file's header.
        concurrent: requests at the same time: its slots.
        max_response_bytes: largest reply that is read.
        stall_timeout_s: longest silence inside one stream.
        stream: ask for streams; without them, `hang_s` must be longer than any response takes.
        extra_body: fields added to every request, for what only this server knows.
    """

    command: str | tuple[str, ...] = Field(min_length=1)
    env: dict[str, str] = Field(default_factory=dict)
    health: str | None = Field(default=None, pattern=r"^/[^\s#]*$")
    api_path: str = Field(default="/v1", pattern=r"^(/[^\s?#]*[^\s?#/])?$")
    ready_s: float = Field(default=600.0, gt=0)
    stop: str = "TERM"
    stop_s: float = Field(default=10.0, gt=0, le=600)
    hang_s: float = Field(default=300.0, gt=0)
    model_id: str | None = Field(default=None, min_length=1)
    memory_gib: float | None = Field(default=None, gt=0)
    concurrent: int = Field(default=8, ge=1, le=4096)
    max_response_bytes: int = Field(default=8 << 20, ge=1024)
    stall_timeout_s: float = Field(default=FOR_EVER_S, gt=0)
    stream: bool = True
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)
    timeout_s: float = Field(default=FOR_EVER_S, gt=0)
    deadline_s: float = Field(default=FOR_EVER_S, gt=0)

    @field_validator("stop")
    @classmethod
    def _is_signal(cls, name: str) -> str:
        short = name.upper().removeprefix("SIG")
        if not hasattr(signal.Signals, f"SIG{short}"):
            raise ValueError(f"there is no signal '{name}'; the usual ones are TERM, INT and QUIT")
        return short

    def mistake(self, spec: EngineSpec) -> tuple[str, str] | None:
        if "max_concurrent" in self.model_fields_set:
            return "max_concurrent", "is called `concurrent` here."
        return super().mistake(spec)

    @property
    def signal_number(self) -> int:
        """`stop` as the number that the system knows it by."""
        return int(signal.Signals[f"SIG{self.stop}"])


class Filling(NamedTuple):
    """Values of placeholders; `max_model_len` None = the pool file does not say."""

    model: str
    name: str
    port: int
    api_key: SecretStr
    concurrent: int
    max_model_len: int | None

    def values(self) -> Mapping[str, str]:
        """Texts by the name of their placeholder; `max_model_len` is missing where nobody knows it."""
        known = {
            "host": LOOPBACK,
            "port": str(self.port),
            "model": self.model,
            "name": self.name,
            "api_key": self.api_key.get_secret_value(),
            "concurrent": str(self.concurrent),
        }
        return known if self.max_model_len is None else {**known, "max_model_len": str(self.max_model_len)}


PLACEHOLDERS = ("port", "host", "model", "name", "api_key", "concurrent", "max_model_len")


def words_of(command: str | tuple[str, ...]) -> list[str]:
    """The program and its arguments.

    Raises:
        ValueError: a quote that is not closed, or a backslash at the end.
    """
    return shlex.split(command) if isinstance(command, str) else list(command)


def placeholders_in(text: str) -> Iterator[str]:
    """Names in `{…}`, in order and as often as they stand there, known or not; those in `{{…}}` are plain
    text."""
    return (match["name"] for match in _PLACEHOLDER.finditer(text) if match["name"] is not None)


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders filled in, once: what stands in a value is left as it is."""
    return _PLACEHOLDER.sub(lambda m: f"{{{m['literal']}}}" if m["literal"] else values[m["name"]], text)


def program_of(word: str) -> str:
    """The first word of a command: `~` and `$VAR` stand there for what they do elsewhere in the pool file."""
    return os.path.expandvars(Path(word).expanduser()) if word.startswith("~") else os.path.expandvars(word)


def environment(options: CommandOptions, values: Mapping[str, str]) -> dict[str, str]:
    """Variables of the process; those that hold secrets are shown nowhere from now on."""
    references = {
        name: referred(text) or "" for name, text in options.env.items() if text.startswith(REFERENCE)
    }
    own = {name: filled(text, values) for name, text in options.env.items() if name not in references}
    own |= references
    remember_mapping(own)
    for text in references.values():
        # Kept out of the file; but a path, or a number of threads, stands in texts that have nothing to hide.
        if len(text) >= SHORTEST and not text.startswith("/"):
            remember(text)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(OURS) and k != MARK}
    return {**inherited, **own}


def launch_of(options: CommandOptions, filling: Filling) -> Launch:
    """The command as it is run; its placeholders and its words were checked."""
    values = filling.values()
    program, *arguments = words_of(options.command)
    argv = (filled(program_of(program), values), *(filled(word, values) for word in arguments))
    return Launch(argv, environment(options, values), options.signal_number, options.stop_s)


def stated_context(spec: EngineSpec) -> int | None:
    """`max_model_len` where the pool file says it."""
    return None if spec.max_model_len >= LONGEST_CONTEXT else spec.max_model_len
