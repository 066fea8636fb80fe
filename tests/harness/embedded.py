"""The server as users run it without a stack: one process of `muster serve` over a pool file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.processes import ROOT, Process, free_port


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Process, str]]:
    """A server over the `pool.yaml` of a folder, which listens, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "api.cli.main", "--config", "pool.yaml", "serve", "--port", str(port)]
    process = Process(
        "serve",
        command,
        env={"PYTHONPATH": str(ROOT)},
        log=folder / "serve.log",
        cwd=folder,
        ready="Muster listens",
    ).start()
    try:
        process.await_ready()
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
