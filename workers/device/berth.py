"""A place for one engine: free, loading, or taken; what it holds is reported to the other workers."""

import logging
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

from orchestrator.domain.devices import DeviceMemory, DeviceReport, DeviceState, Rate
from orchestrator.domain.metrics import LOAD_SECONDS, LOADS
from orchestrator.errors import MusterError
from orchestrator.ports.engines import Engine
from workers.device.kit import Kit
from workers.device.lane import Lane
from workers.device.loading import Loaded, Loader
from workers.device.measured import Measurements
from workers.engine_host.memory import available_gib

log = logging.getLogger(__name__)

HOST = socket.gethostname()
CPU = "cpu"
"""The device whose memory is the system's."""
MEASURED_S = 1.0
"""Busy seconds below which a speed is no measurement, unless there is no more to come."""

MakeLane = Callable[[str, Engine, Mapping[str, str]], Lane]


class LoadEnded(NamedTuple):
    """A load is over: `lane` is open, or `error` says why not."""

    engine_id: str
    lane: Lane | None = None
    error: Exception | None = None


class _Loading(NamedTuple):
    engine_id: str
    loaded: "Future[Loaded]"


class Berth:
    """Holds at most one engine.

    Args:
        owner: its row among the devices; a loop with several berths has one for each.
        device: where its engines run, for the record.
        measured: learns what loads and work cost here; None for engines that run elsewhere, whose loads
            cost nothing and are not recorded.
    """

    def __init__(
        self,
        kit: Kit,
        owner: str,
        *,
        loader: Loader,
        make_lane: MakeLane,
        device: str,
        measured: Measurements | None,
    ) -> None:
        self.owner = owner
        self.device = device
        self.loader = loader
        self.lane: Lane | None = None
        self._kit = kit
        self._devices = kit.stores.devices
        self._costs = kit.stores.costs
        self._make_lane = make_lane
        self._measured = measured
        self._loading: _Loading | None = None
        self._reported: DeviceReport | None = None
        self._reported_at = 0.0

    @property
    def engine_id(self) -> str | None:
        """The engine that is resident or loading; None = the place is free."""
        if self._loading is not None:
            return self._loading.engine_id
        return None if self.lane is None else self.lane.engine_id

    @property
    def is_loading(self) -> bool:
        """True from `load` until `settle` has seen its end."""
        return self._loading is not None

    @property
    def is_free(self) -> bool:
        """True while nothing is here and nothing loads."""
        return self.engine_id is None

    @property
    def pending(self) -> "Future[Loaded] | None":
        """The load under way."""
        return None if self._loading is None else self._loading.loaded

    @property
    def _report_of_now(self) -> DeviceReport:
        state: DeviceState = "loading" if self.is_loading else "idle" if self.lane is None else "resident"
        return DeviceReport(
            owner=self.owner,
            device=self.device,
            engine_id=self.engine_id,
            state=state,
            host=HOST,
            config_hash=self._kit.config_hash,
            serves=self._kit.serves(),
        )

    def report(self) -> None:
        """Tell the others when something changed, and that it lives."""
        now, report = self._kit.clock(), self._report_of_now
        if report == self._reported and now - self._reported_at < self._kit.pace.report_s:
            return
        self._devices.report_device(report.model_copy(update={"memory": self._memory_now()}))
        self._reported, self._reported_at = report, now

    def _memory_now(self) -> DeviceMemory | None:
        """Memory of the engine and of its device, as measured; None = its engines need no device."""
        if self._measured is None:
            return None
        weighed = None if self.lane is None else self.lane.seat.weigh()
        free_gib = None if weighed is None else weighed.device_free_gib
        if free_gib is None and (weighed is not None or self.device == CPU):
            free_gib = available_gib()
        return DeviceMemory(
            held_gib=None if weighed is None else round(weighed.held_gib, 3),
            free_gib=None if free_gib is None else round(free_gib, 3),
            asleep=tuple(sorted(self.loader.asleep)),
        )

    def announce(self, engine_id: str, *, n_elsewhere: int) -> bool:
        """True if this berth may load the engine; False = by now others have it, choose again."""
        if self._reported is None:
            self.report()
        self._reported = None  # what the others see changes now
        return self._devices.announce(self.owner, engine_id, n_elsewhere=n_elsewhere)

    def load(self, engine_id: str) -> None:
        """Begin to load, after whatever is here has left."""
        self.leave(to_sleep=True)
        self._loading = _Loading(engine_id, self.loader.load(engine_id))
        self._kit.faults.tried(engine_id)

    def settle(self) -> LoadEnded | None:
        """Outcome of the load, once it has ended; None = none has ended since."""
        if self._loading is None or not self._loading.loaded.done():
            return None
        (engine_id, future), self._loading = self._loading, None
        error = future.exception()
        if isinstance(error, Exception):
            return LoadEnded(engine_id, error=error)
        loaded = future.result()
        self.lane = self._make_lane(engine_id, loaded.engine, loaded.left_out)
        if self._measured is not None:
            self._record_load(engine_id, loaded, self._measured)
        return LoadEnded(engine_id, self.lane)

    def leave(self, *, to_sleep: bool = False) -> None:
        """Give up what is here; its memory is free before the next engine of this device is loaded.

        `to_sleep`: the engine may come back: it sleeps, where it can.
        """
        lane, self.lane = self.lane, None
        loading, self._loading = self._loading, None
        if lane is not None:
            self._record_speed(lane, at_least_s=0.0)
            self._record_memory(lane)
            if to_sleep:
                self.loader.retire(lane.seat)
            else:
                self.loader.close(lane.seat.close)
            if self._measured is not None:
                self._kit.ledger.note(lambda: self._costs.record_leave(self.owner))
        if loading is not None:
            self.loader.close(lambda: _close_unwanted(loading))

    def sign_off(self) -> None:
        """Take this place off the list of devices; the next report puts it there again."""
        self._reported = None
        try:
            self._devices.forget_device(self.owner)
        except MusterError:  # it grows old and is left out all the same
            log.debug("owner %s: still on the list of devices", self.owner, exc_info=True)

    def record_speed(self) -> None:
        """Note what the engine did lately, if that is enough to measure."""
        if self.lane is not None:
            self._record_speed(self.lane, at_least_s=MEASURED_S)
            self._record_memory(self.lane)

    def _record_load(self, engine_id: str, loaded: Loaded, measured: Measurements) -> None:
        device, owner, seconds, kind = self.device, self.owner, loaded.seconds, loaded.kind
        self._kit.meter.count(LOADS, engine_id, kind)
        self._kit.meter.observe(LOAD_SECONDS, engine_id, kind, value=seconds)
        self._kit.ledger.note(
            lambda: self._costs.record_load(
                engine_id=engine_id, device=device, owner=owner, seconds=seconds, kind=kind
            )
        )
        if not loaded.was_prepared:
            measured.note_load(engine_id, seconds, kind)
            rate = Rate.of_load(kind, seconds)
            self._kit.ledger.note(lambda: self._costs.record_costs(engine_id, device, rate))
        if self.lane is not None:
            self._record_memory(self.lane)

    def _record_memory(self, lane: Lane) -> None:
        """What the engine took at most, if that is news."""
        memory = None if self._measured is None else lane.seat.weigh()
        if memory is None or self._measured is None:
            return
        engine_id, device = lane.engine_id, self.device
        if self._measured.note_memory(engine_id, memory.peak_gib):
            rate = Rate(memory_gib=memory.peak_gib)
            self._kit.ledger.note(lambda: self._costs.record_costs(engine_id, device, rate))

    def _record_speed(self, lane: Lane, *, at_least_s: float) -> None:
        if self._measured is None or (served := lane.seat.served_lately(at_least_s=at_least_s)) is None:
            return
        engine_id, device, speed = lane.engine_id, self.device, served.tokens_per_s
        if speed is not None:
            self._measured.note_speed(engine_id, speed)
            self._kit.ledger.note(lambda: self._costs.record_rate(engine_id, device, tokens_per_s=speed))


def _close_unwanted(loading: _Loading) -> None:
    """In the loader's thread, so after the load."""
    if loading.loaded.exception() is None:
        loading.loaded.result().engine.close()
