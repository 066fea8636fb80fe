"""The child of `sandbox`: takes its own rights away, then parts into the tester and the program.

Run by file path in an isolated interpreter. Reads the task as JSON from standard input and writes two JSON
lines to standard output: which layers are missing; whether the tests passed, and why not.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

sys.path.append(sys.argv[2])  # last: packages of that folder must not hide the standard library

from skills.grading.confined import kernel, landlock, namespaces, privileges, seccomp, view
from skills.grading.confined.channel import Channel
from skills.grading.confined.peer import Peer
from skills.grading.confined.program import Program
from skills.grading.confined.tester import Tester, verdict

sys.path.pop()


def main() -> None:
    config = Config(**json.loads(sys.argv[1]))
    sys.argv = [""]
    missing = isolate(config)
    _report(1, {"missing": missing})
    if missing and not config.lenient:
        return
    _end_with(config.grader)
    child = os.fork()
    if child == 0:
        _first_process(filtered="seccomp" not in missing)
    os.waitpid(child, 0)
    os._exit(0)


class Config(NamedTuple):
    """As the grader writes it: `sandbox.Sandbox`."""

    grader: int
    off: list[str]
    lenient: bool
    limits: dict[str, int]
    disk_bytes: int
    files: int
    libraries: dict[str, list[str]]
    workspace: str


def isolate(config: Config) -> dict[str, str]:
    """Take every right away that the process has no use for; returns layer -> why it is missing."""
    missing = dict.fromkeys(config.off, "switched off")
    paths = view.interpreter_paths(config.libraries)
    _enter(config, paths, missing)
    _quietly(_without_root)
    limits = dict(config.limits)
    if "user" in missing:
        del limits["NPROC"]  # it would count all processes of the account, and a busy one could do nothing
    _attempt("limits", lambda: privileges.limit(limits), missing)
    _attempt("privileges", privileges.drop, missing)
    _attempt("landlock", lambda: landlock.restrict([*paths, *view.DEVICES], os.getcwd()), missing)
    _attempt("seccomp", seccomp.check, missing)
    return missing


def _enter(config: Config, paths: list[str], missing: dict[str, str]) -> None:
    """The namespaces, and in the one of mounts the new view of files."""
    trees: list[view.Tree] = []

    def take_hold() -> None:
        trees.extend(view.take_hold(paths))

    def build() -> None:
        if not trees:
            take_hold()
        view.build(trees, config.libraries, size_bytes=config.disk_bytes, n_files=config.files)

    if os.geteuid() == 0 and "mount" not in missing:
        _quietly(namespaces.private_mounts)
        _quietly(take_hold)  # the interpreter may lie where only root may look
    if "user" not in missing:
        _quietly(_without_root)
    missing.update(namespaces.enter(frozenset(namespaces.FLAGS) - missing.keys()))
    _attempt("mount", build, missing)
    if "mount" in missing and config.workspace:
        os.chdir(config.workspace)


def _end_with(grader: int) -> None:
    """End when the grader does: it keeps the time. Giving up rights clears this, so it comes last."""
    kernel.prctl("pdeathsig", kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != grader:
        os._exit(1)


def _without_root() -> None:
    if os.geteuid() == 0:
        namespaces.become_nobody()


def _attempt(layer: str, step: Callable[[], None], missing: dict[str, str]) -> None:
    if layer in missing:
        return
    try:
        step()
    except OSError as error:
        missing[layer] = error.strerror or str(error)


def _quietly(step: Callable[[], None]) -> None:
    """Do what shows later as a missing layer if it fails."""
    with contextlib.suppress(OSError):
        step()


def _first_process(*, filtered: bool) -> NoReturn:
    """Process 1 of its namespace: when it ends, the kernel ends every other one. It is the tester."""
    kernel.prctl("pdeathsig", kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    # From inside, signals without a handler do not reach process 1.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    to_program, to_tester = os.pipe(), os.pipe()
    if os.fork() == 0:
        _run_program(Channel(*_keep(to_program[0], to_tester[1])), filtered=filtered)
    os.close(to_program[0])
    os.close(to_tester[1])
    report = os.dup(1)
    task = json.loads(sys.stdin.buffer.read())
    _silence()
    _close_up(filtered=filtered)
    tester = Tester()
    peer = Peer(Channel(to_tester[0], to_program[1]), tester, is_tester=True)
    reason = verdict(tester, peer, task["code"], task["tests"])
    _report(report, {"passed": reason is None, "reason": reason})
    os._exit(0)


def _run_program(channel: Channel, *, filtered: bool) -> NoReturn:
    kernel.prctl("pdeathsig", kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    _close_up(filtered=filtered)
    program = Program()
    program.serve(Peer(channel, program, is_tester=False))
    os._exit(0)


def _close_up(*, filtered: bool) -> None:
    """No process may look into this one, filter or not; the host's handler of core dumps is not called."""
    kernel.prctl("dumpable", kernel.PR_SET_DUMPABLE, 0)
    if filtered:
        seccomp.install()


def _keep(*descriptors: int) -> tuple[int, int]:
    """Close everything else: the task and the report above all."""
    receive, send = (os.dup(d) for d in descriptors)
    receive, send = os.dup2(receive, 60), os.dup2(send, 61)
    os.closerange(3, 60)
    _silence()
    return receive, send


def _silence() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    if null > 2:
        os.close(null)


def _report(descriptor: int, report: Mapping[str, object]) -> None:
    os.write(descriptor, json.dumps(report).encode() + b"\n")


if __name__ == "__main__":
    main()
