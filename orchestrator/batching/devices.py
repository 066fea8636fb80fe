"""Devices of different speed and memory, as planners and bounds see them."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Speeds(NamedTuple):
    """Speed of one engine's work and loads on a device, > 0, relative to where seconds are counted."""

    work: float = 1.0
    load: float = 1.0


class Device(NamedTuple):
    """A device relative to the one whose seconds are counted (`EQUAL`: like that one).

    Attributes:
        speed: work done per second, > 0; 2 = twice as fast. `load_speed`: the same of loads.
        memory_gib: an engine that needs more is not put there.
        measured: of engines whose own speeds there are known; the others have those of the device.
    """

    speed: float = 1.0
    load_speed: float = 1.0
    memory_gib: float = math.inf
    measured: Mapping[str, Speeds] = MappingProxyType({})

    def load_s(self, engine_id: str, load_s: float) -> float:
        """Seconds here of a load that takes `load_s` where seconds are counted."""
        own = self.measured.get(engine_id)
        return load_s / (self.load_speed if own is None else own.load)

    def work_s(self, engine_id: str, work_s: float) -> float:
        """Seconds here of work that takes `work_s` where seconds are counted."""
        own = self.measured.get(engine_id)
        return work_s / (self.speed if own is None else own.work)


EQUAL = Device()
