"""Wire types of `/v1/system`: the hosts of a stack and their processes."""

from typing import Literal

from api.schemas.base import Wire
from api.schemas.health import CheckView


class SystemClockView(Wire):
    """A host's clock less the database's, in seconds; the truth is within `error_s`."""

    offset_s: float
    error_s: float


class SystemEngineView(Wire):
    """An engine as one process knows it. `definition`: hash of how it is served. `why`: it does not serve it;
    null = it may."""

    engine: str
    definition: str
    weights: Literal["none", "checking", "same", "first", "differ", "missing", "unread"]
    why: str | None
    remedy: str | None


class SystemDeviceView(Wire):
    """A place of a device: what is loaded there. `memory_gib`: what that was measured to hold; `free_gib`:
    what the device has left; `asleep`: engines that a wake brings back to it."""

    device: str
    engine: str | None
    state: Literal["idle", "loading", "resident", "cooling", "down"]
    memory_gib: float | None = None
    free_gib: float | None = None
    asleep: tuple[str, ...] = ()


class SystemProcessView(Wire):
    """A process. `seen_s`: seconds since its last report; `leases`: calls that it has under lease."""

    process: str
    role: Literal["api", "worker", "steps", "beat"]
    device: str | None
    silent: bool
    seen_s: float
    age_s: float
    config_hash: str
    pool: Literal["file", "database"]
    schema_revision: str
    versions: dict[str, str]
    clock: SystemClockView | None
    leases: int
    devices: list[SystemDeviceView]
    engines: list[SystemEngineView]


class SystemHostView(Wire):
    """A host; two of one name are two, told apart by digits of their boots."""

    host: str
    silent: bool
    processes: list[SystemProcessView]


class SystemView(Wire):
    """The stack. `ok`: nothing of `checks` failed."""

    object: Literal["muster.system"] = "muster.system"
    ok: bool
    hosts: list[SystemHostView]
    checks: list[CheckView]
