"""Parts that every command shares: the configuration, the wired app, and how results are printed."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console, RenderableType

from api.cli.plain import Plain, literal_console, plain
from api.cli.quiet import AT_WORK, Quiet
from orchestrator.redaction import redact, without_known

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.settings.schema import MusterSettings, Settings

log = logging.getLogger(__name__)

CONFIG_VARIABLE = "MUSTER_CONFIG"
DEFAULT_CONFIG = Path("muster.yaml")
PIPE_WIDTH = 120


@dataclass(frozen=True)
class Session:
    """Global options of one run. Results go to stdout; logs, progress and remarks to stderr."""

    config: Path | None = None
    as_json: bool = False
    debug: bool = False
    quiet: Quiet = field(default_factory=lambda: Quiet("muster"), compare=False)

    @property
    def is_configured(self) -> bool:
        """True if a configuration was named, or lies in its usual place."""
        return self.config is not None or bool(os.environ.get(CONFIG_VARIABLE)) or DEFAULT_CONFIG.is_file()

    def config_path(self) -> Path:
        """`--config`, else MUSTER_CONFIG, else ./muster.yaml.

        Raises:
            ConfigError: there is no such file.
        """
        from orchestrator.errors import ConfigError

        path = self.config or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
        if not path.is_file():
            raise ConfigError(
                f"no configuration at {path}.",
                remedy=f"Give --config FILE, set {CONFIG_VARIABLE}, or write {DEFAULT_CONFIG} "
                "(`muster config zoo` tells where one is).",
            )
        return path

    def settings(self) -> "Settings":
        """The configuration, with what it warns of in the log, which is written in its format from now on.

        Raises:
            ConfigError: there is none, or it cannot be used.
        """
        from orchestrator.runtime.logs import write_logs_as
        from orchestrator.settings.load import load_settings

        settings = load_settings(self.config_path())
        write_logs_as(settings.muster.log.format)
        for remark in settings.remarks:
            log.warning("%s", remark)
        return settings

    def stack_settings(self, *, models_dir: Path | None = None, waits: bool = False) -> "Settings":
        """The configuration of a process of the stack: of its pool file, or without one as published.

        Args:
            models_dir: see `muster.models_dir`. waits: until a pool is published.

        Raises:
            ConfigError: there is neither, or it cannot be used.
            StoreError: the database cannot be used.
        """
        from orchestrator.bootstrap.published import await_settings
        from orchestrator.runtime.logs import write_logs_as

        if self.is_configured:
            return self.settings()
        settings = await_settings(models_dir=models_dir, waits=waits)
        write_logs_as(settings.muster.log.format)
        return settings

    def muster_settings(self) -> "tuple[MusterSettings, Path]":
        """The `muster:` section of the configuration if there is one, with the folder its paths refer to;
        else the defaults and the environment.

        Raises:
            ConfigError: a configuration that was named is missing, or one cannot be used.
        """
        from orchestrator.settings.schema import MusterSettings

        if not self.is_configured:
            return MusterSettings(), Path()
        settings = self.settings()
        return settings.muster, settings.base_dir

    @contextmanager
    def app(self, *, background: bool = False) -> Iterator["App"]:
        """The wired app; `background`: its device loop runs in a thread."""
        from orchestrator.bootstrap.app import open_app

        self.quiet.doing("opening the pool")
        with open_app(self.settings(), background=background, serves=False) as app:
            self.quiet.doing(AT_WORK)
            yield app

    def emit(self, payload: object, *renderables: RenderableType) -> None:
        """The result of a command: `payload` as the JSON document with --json, else what is for people."""
        if self.as_json:
            print(without_known(json.dumps(payload, ensure_ascii=False, indent=2)), flush=True)
            return
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        console = literal_console(None if is_terminal else PIPE_WIDTH)
        for renderable in renderables:
            console.print(Plain(renderable))

    def remark(self, text: str) -> None:
        """A line for people, on stderr."""
        Console(stderr=True, soft_wrap=True, highlight=False).print(plain(redact(text)), markup=False)


def profile_path(settings: "Settings", given: Path | None) -> Path | None:
    """The labelled questions that were given, else `muster.profile_set`, which is relative to its file."""
    known = settings.muster.profile_set
    return given or (None if known is None else settings.base_dir / known)


def session_of(ctx: typer.Context) -> Session:
    """The session that the root command made for this run."""
    assert isinstance(ctx.obj, Session), "set by the root command"
    return ctx.obj
