"""Log of scripted engines: what they did, for tests that count it over processes."""

import json
import os
import time
from collections import Counter
from pathlib import Path


class EventLog:
    """Appends JSON lines, each in one write, so that processes may share the file and die at any time."""

    def __init__(self, path: Path | None, engine_id: str) -> None:
        self._path = path
        self._engine_id = engine_id

    @property
    def is_kept(self) -> bool:
        """False if what is written goes nowhere."""
        return self._path is not None

    def write(self, **fields: str | int | None) -> None:
        """Append an event with its fields, the engine's id, the time (seconds since 1970) and the process
        id."""
        if self._path is None:
            return
        line = json.dumps({"engine": self._engine_id, "time": time.time(), "pid": os.getpid(), **fields})
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)

    def rule_uses(self) -> Counter[int]:
        """Uses of each rule of this engine so far, in any process."""
        if self._path is None or not self._path.exists():
            return Counter()
        lines = (json.loads(line) for line in self._path.read_text().splitlines())
        return Counter(
            line["rule"] for line in lines if line["event"] == "rule" and line["engine"] == self._engine_id
        )
