"""The `muster` command line.

Exit codes: 0 done, 1 failed, 2 bad usage, configuration or input, 130 interrupted. With --json,
stdout holds one JSON document, `{"error": ...}` when it failed; logs and progress go to stderr.

Commands import what they work with when they run, so that `muster --help` needs no model library.
"""

import errno
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from api.cli import (
    ask,
    batch,
    bench,
    bench_compositions,
    demo,
    feedback,
    jobs,
    keys,
    knowledge,
    merge,
    plan,
    replay,
    serve,
    shadow,
    system,
    top,
    usage,
    worker,
)
from api.cli.leaving import sigterm_interrupts
from api.cli.plain import plain
from api.cli.quiet import Quiet
from api.cli.session import CONFIG_VARIABLE, Session
from orchestrator import __version__
from orchestrator.errors import ConfigError, InputError, InternalError, MistakesError, MusterError, SkillError
from orchestrator.redaction import remember_environment
from orchestrator.runtime.logs import safe_stderr, safe_traceback, setup_logs
from orchestrator.runtime.threads import wait_passively

FAILED, BAD_USAGE = 1, 2
OF_PATHS = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EROFS}
)
"""Errors of who named a file, wherever it is looked for."""
SWITCHES = frozenset({"--json", "--debug"})
CONFIG = "--config"
EVERYWHERE = "Everywhere: --config FILE, --json, --debug."

LASTING = frozenset({"worker", "beat", "top"})
"""Commands that last, and say themselves what they do."""

COMMANDS: Mapping[str, Callable[..., None]] = {
    "demo": demo.demo,
    "profile": knowledge.profile,
    "cards": knowledge.cards,
    "experts": knowledge.experts,
    "feedback": feedback.feedback,
    "route": ask.route,
    "ask": ask.ask,
    "batch": batch.batch,
    "plan": plan.plan,
    "top": top.top,
    "bench": bench.bench,
    "replay": replay.replay,
    "merge": merge.merge,
    "shadow": shadow.shadow,
    "serve": serve.serve,
    "worker": worker.worker,
    "beat": worker.beat,
    "usage": usage.usage,
    "vacuum": jobs.vacuum,
    "doctor": system.doctor,
    "migrate": system.migrate,
}
GROUPS: Mapping[str, tuple[str, Mapping[str, Callable[..., None]]]] = {
    "config": (
        "The configuration file.",
        {
            "check": system.config_check,
            "zoo": system.config_zoo,
            "example": system.config_example,
            "reference": system.config_reference,
        },
    ),
    "jobs": (
        "What was submitted.",
        {
            "list": jobs.jobs_list,
            "show": jobs.jobs_show,
            "cancel": jobs.jobs_cancel,
            "retry": jobs.jobs_retry,
            "delete": jobs.jobs_delete,
        },
    ),
    "keys": (
        "Keys of the API.",
        {"create": keys.keys_create, "list": keys.keys_list, "revoke": keys.keys_revoke},
    ),
    "models": (
        "Small models to try, and weights on the hosts of a stack.",
        {"list": system.models_list, "fetch": system.models_fetch, "forget": system.models_forget},
    ),
}
INNER: Mapping[str, Mapping[str, Callable[..., None]]] = {
    "bench": {"compositions": bench_compositions.compositions}
}
"""Commands within commands that also work alone."""
ITSELF = "itself"


USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Typer's own name of it moves from release to release."""


class Inner(TyperCommand):
    """A command that says what may be meant by words too many."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words that are left over.

        Raises:
            UsageError: the words are not those of the command.
        """
        try:
            return super().parse_args(ctx, args)
        except USAGE_ERROR as error:
            said = getattr(error, "message", "")
            if said.startswith("Got unexpected extra argument"):
                error.message = f"{said}. Words that belong together stand in quotes."  # type: ignore[attr-defined]
            raise


class Outer(TyperGroup):
    """A command that has others within: their names lead to them, all other words are its own."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of whichever is meant."""
        if args and args[0] in self.commands and args[0] != ITSELF:
            return super().make_context(info_name, args, parent, **extra)
        return self.commands[ITSELF].make_context(info_name, args, parent, **extra)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"muster {__version__}")
        raise typer.Exit


app = typer.Typer(name="muster", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(CONFIG, help=f"Pool file. Default: ${CONFIG_VARIABLE}, ./muster.yaml.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Log more; show stack traces.")] = False,
    version: Annotated[  # noqa: ARG001 -- shown by its callback
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A symbolic mixture of experts: recruit the right language models for each question.

    These options may stand anywhere on the line.
    """
    setup_logs(level=logging.INFO if debug else logging.WARNING)
    quiet = Quiet(ctx.invoked_subcommand or "muster")
    if ctx.invoked_subcommand not in LASTING:
        quiet.begin()
        ctx.call_on_close(quiet.end)
    ctx.obj = Session(config=config, as_json=as_json, debug=debug, quiet=quiet)


def _outer(name: str, itself: Callable[..., None]) -> typer.Typer:
    summary = (itself.__doc__ or "").splitlines()[0]
    group = typer.Typer(cls=Outer, help=summary, no_args_is_help=False)
    more = ", ".join(f"muster {name} {inner}" for inner in INNER[name])
    group.command(ITSELF, cls=Inner, epilog=f"{EVERYWHERE} See also: {more} --help.")(itself)
    for inner, command in INNER[name].items():
        group.command(inner, cls=Inner, epilog=EVERYWHERE)(command)
    return group


def _register() -> None:
    for name, command in COMMANDS.items():
        if name in INNER:
            app.add_typer(_outer(name, command), name=name)
        else:
            app.command(name, cls=Inner, epilog=EVERYWHERE)(command)
    for name, (text, commands) in GROUPS.items():
        group = typer.Typer(no_args_is_help=True, help=text)
        for inner, command in commands.items():
            group.command(inner, cls=Inner, epilog=EVERYWHERE)(command)
        app.add_typer(group, name=name)


_register()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code and never raises."""
    remember_environment(os.environ)
    with safe_stderr(), sigterm_interrupts():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    line = hoisted(sys.argv[1:] if argv is None else argv)
    as_json, debug = "--json" in line.front, "--debug" in line.front
    # Progress bars of libraries would mix with ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    wait_passively()
    try:
        app([*line.front, *line.rest], prog_name="muster")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else FAILED
        if as_json and code == BAD_USAGE:
            _print_error(InputError("bad usage; see stderr."))
        return code
    except MusterError as error:
        if as_json:
            _print_error(error)
        print(f"Error: {plain(str(error))}", file=sys.stderr)
        return BAD_USAGE if isinstance(error, ConfigError | InputError | SkillError) else FAILED
    except BrokenPipeError:  # whoever read the output has enough
        _forget_output()
        return FAILED
    except Exception as error:  # the user gets a line to act on, not our stack
        return _report_bug(error, as_json=as_json, debug=debug)
    return 0


class Line(NamedTuple):
    """A command line: the global options, and the rest in its order."""

    front: list[str]
    rest: list[str]


def hoisted(argv: Sequence[str]) -> Line:
    """Takes the global options out of wherever they stand; what follows `--` stays.

    `["ask", "q", "--json"]` -> `["--json"]`, `["ask", "q"]`.
    """
    front, rest = line = Line([], [])
    words = iter(argv)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in SWITCHES or word.startswith(f"{CONFIG}="):
            front.append(word)
        elif word == CONFIG:
            front += [word, *([value] if (value := next(words, None)) is not None else [])]
        else:
            rest.append(word)
    return line


def _print_error(error: MusterError) -> None:
    told: dict[str, object] = {"code": error.code, "message": str(error), "param": error.param}
    if isinstance(error, MistakesError):
        told["mistakes"] = [
            {
                "message": str(one),
                "file": one.file,
                "line": one.line,
                "param": one.param,
                "remedy": one.remedy,
            }
            for one in error.mistakes
        ]
    print(json.dumps({"error": told}, indent=2))


def _report_bug(error: Exception, *, as_json: bool, debug: bool) -> int:
    if debug:
        print(safe_traceback(error), file=sys.stderr, end="")
    hint = "" if debug else " Run it again with --debug for details."
    failure: MusterError = InternalError(f"unexpected {type(error).__name__}: {error}.{hint}")
    is_path = isinstance(error, OSError) and error.filename is not None and error.errno in OF_PATHS
    if is_path:
        assert isinstance(error, OSError)
        remedy = "Give this user access to it." if isinstance(error, PermissionError) else None
        failure = InputError(f"{error.filename}: {error.strerror}.", remedy=remedy)
    if as_json:
        with suppress(OSError):  # perhaps it is the output that cannot be written
            _print_error(failure)
    print(f"Error: {plain(str(failure))}", file=sys.stderr)
    _forget_output()
    return BAD_USAGE if is_path else FAILED


def _forget_output() -> None:
    """What could not be written is not tried again when the interpreter ends."""
    if sys.stdout is None:  # it was closed before we began
        return
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
