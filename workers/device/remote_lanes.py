"""Engines that run elsewhere: several at once, beside the device and at no cost to it."""

import logging
from collections.abc import Callable

from orchestrator.domain.assignments import EngineBacklog
from workers.device.berth import Berth
from workers.device.books import Books
from workers.device.feeding import Feeder
from workers.device.kit import Kit
from workers.device.lane import Lane

log = logging.getLogger(__name__)

MakeBerth = Callable[[str], Berth]


class RemoteLanes:
    """A lane for each remote engine with work, opened when nobody else has one: so the limits of a
    provider (calls at once, requests a minute) hold for all workers together.

    Args:
        make_berth: a place for an engine, by its id.
    """

    def __init__(self, kit: Kit, make_berth: MakeBerth, *, books: Books, feeder: Feeder) -> None:
        self._kit = kit
        self._make_berth = make_berth
        self._books = books
        self._feeder = feeder
        self._berths: dict[str, Berth] = {}

    @property
    def berths(self) -> list[Berth]:
        """A place for each engine that is reached, or about to be."""
        return list(self._berths.values())

    @property
    def lanes(self) -> list[Lane]:
        """Lanes of the engines that are reached, also of those that died and are not buried yet."""
        return [berth.lane for berth in self._berths.values() if berth.lane is not None]

    def feed(self) -> bool:
        """Reach the engines that have work, supply them, and leave those that had none for a while; True if
        anything was begun."""
        for item in self._books.remote_work:
            if item.engine_id not in self._berths and not item.n_devices_elsewhere:
                self._open(item)
        fed = [self._feeder.serve(lane) for lane in self.lanes]
        for lane in self.lanes:
            if self._is_unused(lane):
                self._close(lane.engine_id)
        return any(fed)

    def settle(self) -> bool:
        """Note which engines are reached by now, or cannot be; whether there were any."""
        ended = [load for berth in self.berths if (load := berth.settle()) is not None]
        for load in ended:
            if load.error is not None:
                log.warning("engine %s: not reached: %s", load.engine_id, load.error)
                log.debug("engine %s", load.engine_id, exc_info=load.error)
                self._books.load_failed(load.engine_id, load.error)
                self._close(load.engine_id)
        return bool(ended)

    def bury_dead(self) -> None:
        """Close the lanes of engines that died."""
        for lane in self.lanes:
            if lane.died is not None:
                self._close(lane.engine_id)
                self._kit.timers.due_now("backlog")

    def leave(self) -> None:
        """Close all of them."""
        for engine_id in list(self._berths):
            self._close(engine_id)

    def _open(self, item: EngineBacklog) -> None:
        berth = self._make_berth(item.engine_id)
        if berth.announce(item.engine_id, n_elsewhere=0):
            self._berths[item.engine_id] = berth
            berth.load(item.engine_id)
        else:
            berth.sign_off()

    def _is_unused(self, lane: Lane) -> bool:
        """True also of one that rests: another worker may reach it meanwhile."""
        if lane.is_resting:
            return lane.n_held == 0
        idle_s = self._kit.clock() - lane.seat.used_at
        is_wanted = lane.n_held > 0 or self._books.waiting(lane.engine_id) is not None
        return not is_wanted and idle_s > self._kit.pace.idle_remote_s

    def _close(self, engine_id: str) -> None:
        berth = self._berths[engine_id]
        berth.leave()
        berth.sign_off()
        del self._berths[engine_id]
