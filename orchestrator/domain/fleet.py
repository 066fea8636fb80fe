"""The fleet: hosts, the processes on them, and what these tell of themselves."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import Field, JsonValue

from orchestrator.domain.devices import DeviceReport
from orchestrator.domain.values import Value

SILENT_S = 15.0
"""A process that was not heard of for this many seconds is silent: three of its reports are missing."""

REMEMBERED_S = 86_400.0
"""A process that went without a farewell is told of for so many seconds."""

CLOCK_OFF_S = 2.0
"""A clock further from the database's than this, beyond what can be measured, is told."""

ProcessRole = Literal["api", "worker", "steps", "beat"]
PoolSource = Literal["file", "database"]

WeightsState = Literal["none", "checking", "same", "first", "differ", "missing", "unread"]
"""Weights of an engine on one host: `none` of a folder (elsewhere, scripted, of the hub by its revision);
being read; as recorded; the `first` to be recorded; others than recorded; not there; or not checked since a
setting says so."""


class ClockReading(Value):
    """A host's clock less the database's, in seconds; the truth is within `error_s` of it, which is half of
    the round trip that the reading took (Cristian 1989)."""

    offset_s: float
    error_s: float = Field(ge=0)

    @property
    def at_least_s(self) -> float:
        """Distance from the database's for certain, without its sign."""
        return max(0.0, abs(self.offset_s) - self.error_s)

    @property
    def in_words(self) -> str:
        """`3.0 ± 0.004 s ahead of`."""
        way = "ahead of" if self.offset_s > 0 else "behind"
        return f"{abs(self.offset_s):.1f} ± {self.error_s:.3f} s {way}"


class EngineHere(Value):
    """An engine as one process knows it.

    `definition`: hash of how it is served, see `EngineSpec.definition`. `why` and `heal` say why this process
    does not serve it; None = it does.
    """

    engine_id: str
    definition: str
    weights: WeightsState = "none"
    why: str | None = None
    heal: str | None = None


class ProcessReport(Value):
    """A process of the stack as it last told of itself.

    `process`: `host|boot/namespace|pid|start`, as owners of leases begin. `machine`: the part of it that two
    processes share if they run on one host. `versions`: of packages that are there, by name. `source`: of its
    pool. `seen_s`: age of the report; `age_s`: since its first one.
    """

    process: str
    role: ProcessRole
    host: str
    machine: str
    device: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    config_hash: str = ""
    revision: str = ""
    source: PoolSource = "file"
    clock: ClockReading | None = None
    engines: tuple[EngineHere, ...] = ()
    seen_s: float = 0.0
    age_s: float = 0.0

    @property
    def is_silent(self) -> bool:
        """True if it was not heard of for `SILENT_S`."""
        return self.seen_s > SILENT_S

    @property
    def pid(self) -> str:
        """Number of the process on its host, or "?" where its name has none."""
        parts = self.process.split("|")
        return parts[2] if len(parts) > 2 else "?"


class StatedExpert(Value):
    """An expert of a published pool: its engine, how that is defined field by field (hashes), and the
    identity of its weights where they lay; "" = they did not."""

    engine_id: str
    definition: dict[str, str] = Field(default_factory=dict)
    weights_hash: str = ""


class PublishedPool(Value):
    """A configuration as a process with a pool file published it, without secrets and places of one host.

    `rows`: `model_list` as the file has it, `os.environ/NAME` not filled in. `sections`: of `muster:`.
    `vocabulary`: content of the file of skills, if the pool names one. `keyless`: members whose key stands in
    the file itself, and so is not here. `age_s`: since it was published.
    """

    config_hash: str
    host: str
    rows: tuple[dict[str, JsonValue], ...]
    router_settings: dict[str, JsonValue] = Field(default_factory=dict)
    sections: dict[str, JsonValue] = Field(default_factory=dict)
    experts: dict[str, StatedExpert] = Field(default_factory=dict)
    vocabulary: str | None = None
    keyless: tuple[str, ...] = ()
    age_s: float = 0.0


class FileMark(Value):
    """A file of weights: name within its engine, size in bytes, SHA-256 of its first and last MiB, and of the
    whole where that was read."""

    name: str
    size: int
    ends: str
    whole: str | None = None


class WeightsRecord(Value):
    """Weights of an engine as the first host that read them recorded them."""

    host: str
    files: tuple[FileMark, ...]


class Withheld(NamedTuple):
    """Reason why this process does not serve an engine of its pool. `is_lasting`: no wait heals it."""

    why: str
    heal: str
    is_lasting: bool = True


class FleetLook(NamedTuple):
    """One look at the books of the fleet.

    Attributes:
        processes: heard of within `REMEMBERED_S`, by process.
        devices, faults: reports of live devices.
        leases: calls under lease, by process.
        published: the pool that was published last; None = none was.
    """

    processes: tuple[ProcessReport, ...] = ()
    devices: tuple[DeviceReport, ...] = ()
    faults: tuple[DeviceReport, ...] = ()
    leases: Mapping[str, int] = {}
    published: PublishedPool | None = None


def replaces(other: ProcessReport, gone: ProcessReport) -> bool:
    """True if a process took the place of one that went without a farewell: of its role and device, on a host
    of the same name, heard of first after that was heard of last. A twin that lived beside it did not."""
    is_alike = (other.host, other.role, other.device) == (gone.host, gone.role, gone.device)
    return is_alike and other.process != gone.process and other.age_s < gone.seen_s


def process_of(owner: str) -> str:
    """The process that an owner of leases, or a device, belongs to."""
    return "|".join(owner.partition("+")[0].split("|")[:4])


def against(record: WeightsRecord, found: tuple[FileMark, ...]) -> str | None:
    """The first difference between recorded weights and those found here, in words; None = there is none.

    Whole files are compared where both were read whole.
    """
    here = {mark.name: mark for mark in found}
    there = {mark.name: mark for mark in record.files}
    for name in sorted(there.keys() | here.keys()):
        mine, theirs = here.get(name), there.get(name)
        if mine is None:
            return f"file {name} is missing"
        if theirs is None:
            return f"file {name} is not among them"
        if mine.size != theirs.size:
            return f"file {name} has {mine.size} bytes instead of {theirs.size}"
        if mine.ends != theirs.ends:
            return f"file {name} has another beginning or end"
        if mine.whole and theirs.whole and mine.whole != theirs.whole:
            return f"file {name} has another content"
    return None
