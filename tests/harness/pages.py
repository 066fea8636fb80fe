"""Whoever types what a page of the documentation says, and looks at what is printed."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from api.cli.main import main
from tests.harness.processes import ROOT, Process, free_port

HERE = re.compile(r"(localhost|127\.0\.0\.1):8321")
"""Where the server of a page listens."""
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SHELL = re.compile(r"[|&;<>$`\\*]|^\w+=")

StandIn = str | Callable[[], str]


class Typed(NamedTuple):
    """A command of a page, as it stands in a line, and the lines below it: lines that are printed begin so,
    up to an ellipsis. A comment that says `exit code N` means it."""

    line: int
    command: str
    comment: str
    shown: tuple[str, ...]

    @property
    def code(self) -> int:
        """The exit code that is promised."""
        said = re.search(r"exit code (\d+)", self.comment)
        return int(said[1]) if said else 0


def typed(text: str) -> Iterator[Typed]:
    """Commands of a page in order."""
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1)) + 1
        for part in re.split(r"^(?=\$ )", block[1], flags=re.MULTILINE):
            if part.startswith("$ "):
                yield _typed(line, part[2:])
            line += part.count("\n")


def _typed(line: int, part: str) -> Typed:
    words, rest = part.partition("\n")[::2]
    lines = [words]
    shown = rest.splitlines()
    while lines[-1].partition("  #")[0].rstrip().endswith("\\") and shown:
        lines.append(shown.pop(0))
    command, _, comment = "\n".join(lines).partition("  #")
    return Typed(line, command.strip(), comment.strip(), tuple(one for one in shown if one.strip()))


def files(text: str) -> dict[str, str]:
    """Files that a page has its reader write, by name."""
    return dict(re.findall(r"Write `(\S+\.jsonl)`:\n\n```json\n(.*?)```", text, re.DOTALL))


def alike(line: str) -> str:
    """A line without its percentages and seconds, whose last digit is a matter of the machine."""
    return re.sub(r"\d+\.\d+ (%|s\b)", r"… \1", line)


class Reader:
    """
    Args:
        folder: where the commands are typed.

    Attributes:
        stand_ins: what is put in the place of names that a page leaves open, such as JOB; a function is
            called each time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        patch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.folder = folder
        self._patch = patch
        self._capsys = capsys
        self.stand_ins: Mapping[str, StandIn] = {}
        self._server: Process | None = None
        self._address = ""
        programs = folder / ".programs"
        programs.mkdir()
        for name, start in (
            ("muster", f'{sys.executable} -m muster "$@"'),
            ("python", f'{sys.executable} "$@"'),
        ):
            (programs / name).write_text(f"#!/bin/sh\nexec {start}\n")
            (programs / name).chmod(0o755)
        patch.chdir(folder)
        patch.setenv("COLUMNS", "200")
        patch.setenv("PATH", str(programs), prepend=os.pathsep)
        patch.setenv("PYTHONPATH", str(ROOT))

    def types(self, one: Typed) -> None:
        """Run a command, and compare what it prints with what the page shows below it."""
        command = self._completed(one.command)
        if re.search(r"(^| )serve( |$)", command) and command.startswith("muster"):
            self.serve(shlex.split(command)[1:])
            return
        code, printed = (
            self._shell(command)
            if _SHELL.search(command) or not command.startswith("muster ")
            else (self.muster(*shlex.split(command)[1:]))
        )
        assert code == one.code, f"line {one.line}: {command} ended with {code}:\n{printed}"
        lines = [alike(line) for line in printed.splitlines()]
        for line in one.shown:
            beginning = alike(self._completed(line.partition("  #")[0]).partition("…")[0].rstrip())
            assert any(found.startswith(beginning) for found in lines), (one.line, command, line, printed)

    def muster(self, *arguments: str) -> tuple[int, str]:
        """Exit code and all output of a command of ours, run in this process."""
        code = main(list(arguments))
        return code, "".join(self._capsys.readouterr())

    def told(self, *arguments: str) -> object:
        """The JSON document of a command of ours."""
        self._capsys.readouterr()
        assert main([*arguments, "--json"]) == 0
        return json.loads(self._capsys.readouterr().out)

    def serve(self, arguments: list[str] | None = None) -> None:
        """Start the page's server, which listens elsewhere than the page says; an earlier one ends."""
        self.close()
        port = free_port()
        self._address = f"127.0.0.1:{port}"
        self._patch.setenv("OPENAI_BASE_URL", f"http://{self._address}/v1")
        self._server = Process(
            "serve",
            [sys.executable, "-m", "muster", *(arguments or ["serve"]), "--port", str(port)],
            env={"PYTHONPATH": str(ROOT)},
            log=self.folder / "serve.log",
            cwd=self.folder,
            ready="Muster listens",
        ).start()
        self._server.await_ready()

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.kill()

    def _completed(self, text: str) -> str:
        for name, value in self.stand_ins.items():
            if name in text:
                text = text.replace(name, value if isinstance(value, str) else value())
        return HERE.sub(self._address, text) if self._address else text

    def _shell(self, command: str) -> tuple[int, str]:
        command = re.sub(r"^curl ", "curl --silent --show-error --fail-with-body --max-time 60 ", command)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr
