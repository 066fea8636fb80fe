"""Devices: what they say of themselves, and what their engines were measured to cost."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, NamedTuple

from orchestrator.domain.values import Value

LIVE_S = 15.0
"""A device that was not heard of for this many seconds counts as gone: three of its reports are missing."""

REMOTE = "remote"
"""The device of engines that run elsewhere."""

STEPS = "steps"
"""The device of processes that only take steps: none."""

DeviceState = Literal["idle", "loading", "resident", "cooling", "down"]


class DeviceMemory(Value):
    """Memory of a device as one of its places last measured it, GiB; None = not known.

    `held_gib`: of the engine there; `free_gib`: what the device has left; `asleep`: engines whose weights a
    wake brings back to it.
    """

    held_gib: float | None = None
    free_gib: float | None = None
    asleep: tuple[str, ...] = ()


class DeviceReport(Value):
    """One device as its owner (the lease owner of its loop) last reported it.

    `engine_id` is what is loaded or loading, None when idle; `seen_s` the report's age in seconds,
    `state_s` for how long it has said the same. A loop reports an engine that it cannot serve now as
    "cooling" or "down", under an owner of its own beside those of its places: with the error's `code`, `why`,
    what would `heal` it, and in how many seconds it is tried again (None = when somebody mended it).

    `config_hash`: of the configuration that it runs with; `serves`: the engines that stand there, None = not
    known.
    """

    owner: str
    device: str
    engine_id: str | None = None
    state: DeviceState = "idle"
    host: str = ""
    seen_s: float = 0.0
    state_s: float = 0.0
    memory: DeviceMemory | None = None
    config_hash: str | None = None
    serves: tuple[str, ...] | None = None
    code: str | None = None
    why: str | None = None
    heal: str | None = None
    next_try_s: float | None = None


AUTO_DEVICE = "auto"
AUTO_MEANS = "auto: the first GPU of its host, or the CPU where there is none (`muster.device`)"
"""Of a device that is shown, for people."""


class Conditions(NamedTuple):
    """The engines of a pool at one moment, for who chooses among them.

    Attributes:
        cold_s: seconds that loading takes, of each engine that needs a device and is on none.
        down: engines that no live device can serve before somebody mends them.
        paused: experts that an admin has taken out of recruiting.
    """

    cold_s: Mapping[str, float] = MappingProxyType({})
    down: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()


class LoadKind(StrEnum):
    """Kind of load: by what was there before.

    COLD: nothing that is known of. WARM: a process that has imported everything, the weights in the page
    cache, as far as either matters. WAKE: the engine itself, asleep.
    """

    COLD = "cold"
    WARM = "warm"
    WAKE = "wake"


class Rate(NamedTuple):
    """Measured cost of an engine on a kind of device; None = not measured yet.

    Attributes:
        load_s: seconds of a load from files, cold or warm; `cold_s`, `warm_s` and `wake_s` by kind.
        tokens_per_s: estimated tokens served per second of work.
        memory_gib: the most memory of the device that it took, GiB.
    """

    load_s: float | None = None
    tokens_per_s: float | None = None
    memory_gib: float | None = None
    cold_s: float | None = None
    warm_s: float | None = None
    wake_s: float | None = None

    @classmethod
    def of_load(cls, kind: LoadKind, seconds: float) -> "Rate":
        """Costs that one load tells."""
        if kind is LoadKind.WAKE:
            return cls(wake_s=seconds)
        return cls(seconds, cold_s=seconds) if kind is LoadKind.COLD else cls(seconds, warm_s=seconds)


class EngineLoad(NamedTuple):
    """A load and the seat it took; times in seconds since the epoch by the database's clock.

    `left_at` None: still resident, or its worker died.
    """

    engine_id: str
    device: str
    owner: str
    started_at: float
    seconds: float
    left_at: float | None
    kind: LoadKind = LoadKind.COLD
