"""Memory of one device: what its engines take, and what is left for one more."""

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.batching.staying import LEAST_GIB
from orchestrator.domain.experts import EngineSpec
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import EngineMemory
from workers.device.measured import Measurements
from workers.engine_host.memory import RESERVE_GIB, available_gib, needed_gib

WEIGHED_S = 10.0
"""How long the size of weights on disk is taken to be what it was: the loop asks in every round."""
MOST_RESIDENT = 32
"""Engines that a device holds at once where its user names no number: each is a row among the devices."""


class Held(NamedTuple):
    """An engine on the device, and its memory as measured; None = it is not."""

    spec: EngineSpec
    memory: EngineMemory | None = None


class _Weighed(NamedTuple):
    """Memory that an engine needs by its weights on disk, and when they were looked at."""

    spec: EngineSpec
    at: float
    gib: float | None


class Memory:
    """Estimates what engines take: the measured peak, or else what the pool file says, or else the bytes of
    the weights.

    Args:
        limit_gib: what the device's engines may take together; None = what the device has.
        max_resident: engines that may be there at once; a number also is the user's word that engines of
            unknown size fit. None = as many as are known to fit, `MOST_RESIDENT` at most.
        host_free_gib: what the system can still give; None = not known.
        gpu_free_gib: what the GPU can, where there is one, for engines that do not say where they lie; None =
            there is none.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        measured: Measurements,
        *,
        limit_gib: float | None = None,
        max_resident: int | None = None,
        host_free_gib: Callable[[], float | None] = available_gib,
        gpu_free_gib: Callable[[], float | None] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._gpu_free_gib = gpu_free_gib
        self._measured = measured
        self._limit_gib = limit_gib
        self._is_vouched = max_resident is not None
        self.most = max_resident or MOST_RESIDENT
        self._host_free_gib = host_free_gib
        self._clock = clock
        self._weighed: dict[str, _Weighed] = {}
        self._at_least: dict[str, float] = {}
        self._alone: set[str] = set()

    def estimate_gib(self, spec: EngineSpec) -> float | None:
        """Memory that an engine takes at most; None = nobody knows."""
        estimate = self._measured.memory_gib(spec.id)
        if estimate is None:
            estimate = self._needed_gib(spec)
        at_least = self._at_least.get(spec.id)
        return estimate if at_least is None else max(at_least, estimate or 0.0)

    def need_gib(self, spec: EngineSpec) -> float | None:
        """Memory that must be left to load it beside others; None = it is to be alone."""
        if spec.id in self._alone:
            return None
        estimate = self.estimate_gib(spec)
        return 0.0 if estimate is None and self._is_vouched else estimate

    def left_gib(self, held: Sequence[Held]) -> float | None:
        """Memory left for one more engine, once those on the device have grown to their peaks.

        Negative where they take more than there is; None = not known.
        """
        known = [gib for gib in (self._of_limit(held), self._of_device(held)) if gib is not None]
        if not known and self._is_vouched:
            return math.inf
        return min(known, default=None)

    def total_gib(self, held: Sequence[Held]) -> float | None:
        """Memory for engines, that of those on the device included; None = not known, or the user's word
        that they fit."""
        left_gib = None if self._is_vouched else self.left_gib(held)
        return None if left_gib is None else max(0.0, left_gib + math.fsum(map(self._peak_gib, held)))

    def is_short(self, held: Sequence[Held]) -> bool:
        """True if the engines take more than there is, by what was learned since they were loaded; never
        where the user named their number."""
        if self._is_vouched:
            return False
        left_gib = self.left_gib(held)
        return left_gib is not None and left_gib < 0

    def free_gib(self, held: Sequence[Held]) -> float | None:
        """Memory that the device has left at the moment, as measured: by its engines, or else by the driver
        of the GPU; without one it is the system's. None = not known."""
        on_device = [h.memory.device_free_gib for h in held if h.memory is not None]
        free = [gib for gib in on_device if gib is not None]
        if free:
            return min(free)
        return self._host_free_gib() if self._gpu_free_gib is None else self._gpu_free_gib()

    def failed_beside(self, engine_id: str, *, left_gib: float | None) -> None:
        """It did not load beside others: it is tried alone, and takes more than was left then.

        Args:
            left_gib: None = nobody knows what was left.
        """
        self._alone.add(engine_id)
        if left_gib is not None and math.isfinite(left_gib):
            self._at_least[engine_id] = max(self._at_least.get(engine_id, 0.0), left_gib + LEAST_GIB)

    def loaded(self, engine_id: str) -> None:
        """It did load."""
        self._alone.discard(engine_id)

    def _needed_gib(self, spec: EngineSpec) -> float | None:
        """`needed_gib`, which reads folders and headers, of a few seconds ago at most."""
        now = self._clock()
        known = self._weighed.get(spec.id)
        if known is None or known.spec is not spec or now - known.at >= WEIGHED_S:
            known = self._weighed[spec.id] = _Weighed(spec, now, needed_gib(spec))
        return known.gib

    def _of_limit(self, held: Sequence[Held]) -> float | None:
        if self._limit_gib is None:
            return None
        return self._limit_gib - sum(map(self._peak_gib, held))

    def _of_device(self, held: Sequence[Held]) -> float | None:
        free = self.free_gib(held)
        if free is None:
            return None
        growing = [max(0.0, self._peak_gib(h) - h.memory.held_gib) for h in held if h.memory is not None]
        return free - sum(growing) - RESERVE_GIB

    def _peak_gib(self, held: Held) -> float:
        """The most that an engine takes, as far as is known; 0 where nothing is."""
        estimate = self.estimate_gib(held.spec) or 0.0
        return estimate if held.memory is None else max(estimate, held.memory.peak_gib)
