"""Backends that misbehave inside their child in ways that a script cannot express."""

import os
import sys
import time
from collections.abc import Sequence
from typing import ClassVar

from orchestrator.domain.experts import EngineSpec
from orchestrator.ports.engines import Engine, EngineEvent
from workers.backends.scripted import ScriptedBackend

ROGUES = "tests.unit.workers.engine_host.rogues"


class ChattyBackend(ScriptedBackend):
    """Prints to standard output by every way there is, as libraries do."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        print("loading", flush=True)  # noqa: T201
        sys.stdout.write("more\n")
        os.write(1, b"\x00\x00\x00\x01{")
        os.system("echo from a subprocess")
        return super().load(spec, adapters)


class HoardingBackend(ScriptedBackend):
    """Keeps memory of every engine that it loaded."""

    kept: ClassVar[list[bytes]] = []

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        self.kept.append(b"\x01" * (1 << 27))
        return super().load(spec, adapters)


class RaisingBackend(ScriptedBackend):
    """Raises what no contract names: at load, or at the first step."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        if spec.model == "broken":
            raise RuntimeError("a tensor has the wrong shape")
        engine = super().load(spec, adapters)

        def poll(timeout_s: float) -> list[EngineEvent]:
            raise ValueError("illegal memory access")

        engine.poll = poll  # type: ignore[method-assign]
        return engine


class SleepyBackend(ScriptedBackend):
    """Its engines can sleep, wake, and take adapters."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        engine = super().load(spec, adapters)
        engine.sleep = self.sleep  # type: ignore[attr-defined]
        engine.wake = lambda: None  # type: ignore[attr-defined]
        return engine

    def sleep(self, level: int) -> None:
        if level > 2:
            raise ValueError(f"no level {level}")


class StuckBackend(ScriptedBackend):
    """Never finishes a load."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        time.sleep(3600)
        raise AssertionError
