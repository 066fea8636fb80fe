"""The seats of one device: which engines are loaded there, and when one makes way for another."""

import logging
from functools import partial

from orchestrator.batching import EngineChoice
from orchestrator.domain.assignments import INTERACTIVE
from workers.device.berth import Berth
from workers.device.books import Books
from workers.device.feeding import Feeder
from workers.device.kit import Kit
from workers.device.lane import Lane
from workers.device.loading import Loader
from workers.device.measured import Measurements

log = logging.getLogger(__name__)

LOADS_AHEAD = 3
"""The next engine is loaded ahead once the resident one's work is shorter than so many of its loads:
earlier it would only take memory, and the choice might still change."""


class DeviceSeats:
    """Serves the engines of a device, most of the time a single one.

    Args:
        berths: one, or more where several engines may be resident at once.
        loader: theirs.
    """

    def __init__(
        self,
        kit: Kit,
        berths: list[Berth],
        *,
        loader: Loader,
        books: Books,
        feeder: Feeder,
        measured: Measurements,
    ) -> None:
        self.berths = berths
        self._kit = kit
        self._loader = loader
        self._books = books
        self._feeder = feeder
        self._measured = measured
        self._is_crowded = False

    @property
    def lanes(self) -> list[Lane]:
        return [berth.lane for berth in self.berths if berth.lane is not None]

    def feed(self) -> bool:
        """Supply the engines, or change one; whether anything was begun."""
        alone = next((lane for lane in self.lanes if lane.is_alone), None)
        if alone is not None and len(self.lanes) > 1:
            return self._leave_alone(alone)
        at_stake = self._at_stake()
        fed = [self._serve_best(at_stake)] if at_stake is not None else []
        others = [b.lane for b in self.berths if b.lane is not None and b is not at_stake]
        fed.extend(self._feeder.serve(lane) for lane in others if not self._is_left_alone(lane))
        return any(fed)

    def settle(self) -> bool:
        """Seat what has been loaded; whether a load has ended."""
        ended = [load for berth in self.berths if (load := berth.settle()) is not None]
        for load in ended:
            if load.error is not None:
                self._load_failed(load.engine_id, load.error)
            elif load.lane is not None:
                load.lane.is_quiet = partial(self._is_quiet, load.lane)
        return bool(ended)

    def bury_dead(self) -> None:
        """Free the places of engines that died."""
        for berth in self.berths:
            if berth.lane is not None and berth.lane.died is not None:
                berth.leave()
                self._kit.timers.due_now("backlog")

    def leave(self) -> None:
        """Free the device."""
        self._loader.discard()
        for berth in self.berths:
            berth.leave()

    def _is_quiet(self, lane: Lane) -> bool:
        return not any(other.n_running for other in self.lanes if other is not lane)

    def _is_left_alone(self, lane: Lane) -> bool:
        """True if another lane runs something beside which this one may begin nothing."""
        return any(other.is_alone for other in self.lanes if other is not lane)

    def _leave_alone(self, alone: Lane) -> bool:
        """A suspect runs with no other engine of the device at work: else a death of the worker would prove
        nothing."""
        for lane in self.lanes:
            if lane is not alone:
                lane.put_held_back()
        return self._make_way(alone) or alone.start_held()

    # ── choosing ──────────────────────────────────────────────────────────────────────────────────

    def _at_stake(self) -> Berth | None:
        """The place that may change its engine: a free one, or else the one that is useful least.
        One engine is loaded at a time."""
        if any(berth.is_loading for berth in self.berths):
            return None
        free = [berth for berth in self.berths if berth.is_free]
        taken = [berth for berth in self.berths if not berth.is_free]
        return free[0] if free and not (self._is_crowded and taken) else min(taken, key=self._usefulness)

    def _usefulness(self, berth: Berth) -> tuple[bool, float]:
        lane = berth.lane
        assert lane is not None
        return lane.n_held > 0 or self._books.waiting(lane.engine_id) is not None, lane.seat.used_at

    def _serve_best(self, berth: Berth) -> bool:
        """Claim for the engine in a berth, or change it for a better one."""
        lane = berth.lane
        if lane is not None:
            if self._make_way(lane):
                return True
            self._look_ahead(berth, lane)
            if lane.start_held():
                return True
        if lane is not None and not lane.room:
            return self._feeder.join(lane)
        choice = self._choose(berth)
        if choice is None:
            return lane is not None and self._feeder.join(lane)
        if lane is not None and choice.engine_id == lane.engine_id:
            return self._feeder.claim(lane)
        if lane is not None and lane.n_held:
            return self._feeder.join(lane)  # the seat is given up when it has drained
        if self._books.holds(choice, self._measured.rates):
            self._loader.prepare(choice.engine_id)
            return lane is not None and self._feeder.join(lane)
        return self._change(berth, choice)

    def _make_way(self, lane: Lane) -> bool:
        """Put back the batch under which a question has waited for too long: for another engine, or for this
        one while nothing may run beside what runs."""
        if not self._books.is_pressed(besides=lane.engine_id if lane.is_open else None):
            return False
        n = lane.put_back(below=INTERACTIVE)
        if n:
            log.info("engine %s: a question waits; %d requests are put back", lane.engine_id, n)
        return n > 0

    def _choose(self, berth: Berth) -> EngineChoice | None:
        lane = berth.lane
        choice = self._books.choose(
            resident=None if lane is None else lane.engine_id,
            resident_s=0.0 if lane is None else self._kit.clock() - lane.seat.taken_at,
            taken=self._beside(berth),
            rates=self._measured.rates,
        )
        if choice is None or (lane is not None and choice.engine_id == lane.engine_id):
            return choice
        return self._books.prefer(self._loader.ahead, choice)

    def _beside(self, berth: Berth) -> set[str]:
        """Engines in the other places."""
        return {b.engine_id for b in self.berths if b is not berth and b.engine_id is not None}

    # ── changing ──────────────────────────────────────────────────────────────────────────────────

    def _change(self, berth: Berth, choice: EngineChoice) -> bool:
        """Begin to load another engine, unless another device was faster."""
        if berth.is_free and self._beside(berth) and not self._loader.fits(choice.engine_id):
            self._is_crowded = True
            return True
        if self._kit.ledger.settle():
            return True  # its next step may be for the engine that is here
        item = self._books.waiting(choice.engine_id)
        if not berth.announce(choice.engine_id, n_elsewhere=item.n_devices_elsewhere if item else 0):
            self._kit.timers.due_now("backlog")
            return True
        log.info("engine %s: loading on %s: %s", choice.engine_id, berth.device, choice.reason)
        self._is_crowded = False
        self._books.changed()
        berth.load(choice.engine_id)
        return True

    def _look_ahead(self, berth: Berth, lane: Lane) -> None:
        """Load the next engine beside the resident one while that works off its last shards."""
        if any(b.is_free for b in self.berths) or not self._kit.timers.is_due(
            "look ahead", self._kit.pace.look_s
        ):
            return
        ahead, rates = self._loader.ahead, self._measured.rates
        following = self._books.choose(
            resident=None, resident_s=0.0, taken={*self._beside(berth), lane.engine_id}, rates=rates
        )
        if following is None:
            self._loader.discard()
        elif self._books.prefer(ahead, following).engine_id != ahead:
            left_s = self._seconds_left(lane)
            if left_s is not None and left_s < LOADS_AHEAD * rates.load(following.engine_id):
                self._loader.prepare(following.engine_id)

    def _seconds_left(self, lane: Lane) -> float | None:
        """What the engine's work will take; None = its speed is not known yet."""
        item = self._books.waiting(lane.engine_id)
        speed = lane.seat.served.tokens_per_s or self._measured.rates.tokens_per_s.get(lane.engine_id)
        if speed is None:
            return None if item else 0.0  # one shard at most
        return (lane.held_tokens + (item.est_tokens if item else 0)) / speed

    def _load_failed(self, engine_id: str, error: Exception) -> None:
        """It is left alone for a while."""
        log.warning("engine %s: load failed: %s", engine_id, error)
        log.debug("engine %s", engine_id, exc_info=error)
        if self.lanes and not self._is_crowded:
            self._is_crowded = True  # beside another engine there may be too little memory
            return
        self._books.load_failed(engine_id, error)
