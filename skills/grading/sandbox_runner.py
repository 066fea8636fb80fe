"""The child of `sandbox`: locks its own process down, then runs one program and its tests.

Run by file path in an isolated interpreter; imports nothing of this project. Reads one JSON task
from stdin and writes `TOKEN passed` or `TOKEN failed` and a reason to stdout.
"""

import _posixsubprocess
import contextlib
import ctypes
import gc
import json
import os
import resource
import struct
import sys
import threading
from collections.abc import Callable

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_ALL = (1 << 13) - 1
_LANDLOCK_READ = 0b1101  # execute, read a file, read a directory
_LANDLOCK_DEVICE = 0b0110  # write and read a file
_STACK_BYTES = 64 << 20

# fmt: off
_DENIED_PREFIXES = (
    "socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "os.kill",
    "os.startfile", "os.ch", "os.link", "os.symlink", "os.setxattr", "pty.", "ctypes.", "signal.", "gc.",
    "sys.settrace", "sys.setprofile", "sys._current", "syslog.", "fcntl.", "resource.", "sqlite3.",
    "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "cpython.run_",
)
# fmt: on
_PATH_EVENTS = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "shutil.")
_ALLOWED = ("socket.__new__",)  # asyncio wakes itself through a socket pair; connecting stays refused
_DENIED_MODULES = ("_ctypes", "ctypes", "multiprocessing", "_multiprocessing")


def main() -> None:
    task = json.loads(sys.stdin.buffer.read())
    report = os.dup(1)
    _silence()
    workspace = os.path.realpath(os.curdir)
    _limit(task)
    _isolate(workspace, processes=task["processes"])
    outcome = _outcome_of(task["code"], task["tests"], lambda: _install_audit_hook(workspace))
    verdict = "failed" if outcome else "passed"
    os.write(report, f"{task['token']} {verdict}\n{(outcome or '')[:300]}".encode(errors="replace"))


def _silence() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)


def _limit(task: dict[str, int]) -> None:
    for limit, value in (
        (resource.RLIMIT_CPU, task["cpu_s"]),
        (resource.RLIMIT_AS, task["memory_bytes"]),
        (resource.RLIMIT_FSIZE, task["file_bytes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        _set_limit(limit, value)


def _set_limit(limit: int, value: int) -> None:
    # A limit that the host already keeps lower stays.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(limit, (value, value))


def _isolate(workspace: str, *, processes: int) -> None:
    """What the kernel lets an ordinary user do against itself; each step is best effort."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        # Outside a user namespace this would count all processes of the account, and a busy one
        # could then not even start the program's thread.
        _set_limit(resource.RLIMIT_NPROC, processes)
    else:
        libc.unshare(_CLONE_NEWNET)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _landlock(libc, workspace)


def _landlock(libc: ctypes.CDLL, workspace: str) -> None:
    """Files: write in the workspace, read the interpreter, nothing else. https://landlock.io"""
    rules = ctypes.create_string_buffer(struct.pack("=Q", _LANDLOCK_ALL))
    ruleset = libc.syscall(_SYS_LANDLOCK_CREATE, rules, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return
    allowed = [(workspace, _LANDLOCK_ALL), (os.devnull, _LANDLOCK_DEVICE)]
    for path, rights in [*allowed, *((path, _LANDLOCK_READ) for path in _readable())]:
        with contextlib.suppress(OSError):
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, beneath))
            libc.syscall(_SYS_LANDLOCK_ADD, ruleset, 1, rule, 0)
            os.close(beneath)
    libc.syscall(_SYS_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def _readable() -> list[str]:
    """Directories that imports need; the system's library folders for what extensions load."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)}
    system = {"/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo"}
    return sorted(os.path.realpath(path) for path in prefixes | system)


def _install_audit_hook(workspace: str) -> None:
    """Refuse what the kernel may have been unable to refuse. Cannot be removed once installed."""
    readable = tuple(f"{path}/" for path in _readable())
    writable = f"{workspace}/"
    real, is_path, join = os.path.realpath, (str, bytes), os.path.join
    decode = os.fsdecode

    def inside(path: object, roots: tuple[str, ...]) -> bool:
        if not isinstance(path, is_path):
            return isinstance(path, int) and path > 2
        full = real(join(workspace, decode(path)))
        return full == os.devnull or f"{full}/".startswith(roots)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _mode, flags = arguments
            writes = not isinstance(flags, int) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if not inside(path, (writable,) if writes else (writable, *readable)):
                raise PermissionError(f"no access to {path!r} in the sandbox")
        elif event == "import":
            if str(arguments[0]).split(".")[0] in _DENIED_MODULES:
                raise ImportError(f"{arguments[0]} is not available in the sandbox")
        elif event.startswith(_PATH_EVENTS):
            if not all(inside(a, (writable,)) for a in arguments if isinstance(a, is_path)):
                raise PermissionError(f"{event} is outside the sandbox")
        elif event.startswith(_DENIED_PREFIXES) and event not in _ALLOWED:
            raise PermissionError(f"{event} is not allowed in the sandbox")

    _forget_tools()
    sys.addaudithook(hook)


def _forget_tools() -> None:
    """The runner's own tools are not left lying about for the program to pick up.

    `_posixsubprocess` can start a process without an audit event, and asyncio needs to import it.
    """

    def refuse(*_: object) -> None:
        raise PermissionError("no processes in the sandbox")

    vars(_posixsubprocess)["fork_exec"] = refuse
    for name in list(sys.modules):
        if name.split(".")[0] in (*_DENIED_MODULES, "resource", "__main__"):
            del sys.modules[name]
    gc.collect()


def _outcome_of(code: str, tests: str, lock_down: Callable[[], None]) -> str | None:
    """None when code and tests ran to their end, else what stopped them.

    They run in a thread of their own, so that no frame above the program's holds the token.
    """
    outcome: list[str | None] = ["left before the tests ended"]
    namespace: dict[str, object] = {"__name__": "solution", "__builtins__": __builtins__}

    def run() -> None:
        try:
            programs = (compile(code, "solution.py", "exec"), compile(tests, "tests.py", "exec"))
            for program in programs:
                exec(program, namespace)  # noqa: S102  (the sandbox's purpose)
        except BaseException as error:  # SystemExit is one way of leaving early
            outcome[0] = f"{type(error).__name__}: {error}"
        else:
            outcome[0] = None

    threading.stack_size(_STACK_BYTES)
    thread = threading.Thread(target=run)
    lock_down()
    thread.start()
    thread.join()
    return outcome[0]


if __name__ == "__main__":
    main()
