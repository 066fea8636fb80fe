"""The seats of one device: which engines are loaded there, and when one makes way for another."""

import logging
import math
from collections.abc import Callable, Collection
from functools import partial

from orchestrator.batching import EngineChoice, Rates, is_time
from orchestrator.batching.staying import Resident, leaving_order, who_leaves
from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.domain.experts import Pool
from orchestrator.errors import EngineLoadError, MusterError
from orchestrator.tables import reason_of
from workers.device.berth import Berth
from workers.device.books import Books, OwnDevice
from workers.device.feeding import Feeder
from workers.device.kit import Kit
from workers.device.lane import Lane
from workers.device.loading import Loader
from workers.device.measured import Measurements
from workers.device.memory import Held, Memory

log = logging.getLogger(__name__)

LOOKS_IN_A_LOAD = 4
"""Looks for the next engine in the time of the shortest load."""


class DeviceSeats:
    """Serves the engines of a device: as many as its memory holds, one loaded at a time.

    Args:
        make_berth: a place for an engine by its number; the first, 0, is always there.
        pool: whose engines they are.
        loader: of all places.
        memory: what engines take, and what is left.
    """

    def __init__(
        self,
        kit: Kit,
        make_berth: Callable[[int], Berth],
        *,
        pool: Pool,
        loader: Loader,
        books: Books,
        feeder: Feeder,
        measured: Measurements,
        memory: Memory,
    ) -> None:
        self._make_berth = make_berth
        self._places = {0: make_berth(0)}
        self._kit = kit
        self._pool = pool
        self._loader = loader
        self._books = books
        self._feeder = feeder
        self._measured = measured
        self._memory = memory
        self._leaving: frozenset[str] = frozenset()
        """Engines that are given no more work, so that another one finds room."""

    @property
    def berths(self) -> list[Berth]:
        """Places by number; all but the first go when they become free."""
        return list(self._places.values())

    @property
    def lanes(self) -> list[Lane]:
        """Lanes of the engines that are loaded, also of those that died and are not buried yet."""
        return [berth.lane for berth in self.berths if berth.lane is not None]

    def feed(self) -> bool:
        """Supply the engines, or change one; whether anything was begun."""
        alone = next((lane for lane in self.lanes if lane.is_alone), None)
        if alone is not None and len(self.lanes) > 1:
            return self._leave_alone(alone)
        self._trim()
        at_stake, self._leaving = self._at_stake(), frozenset()
        fed = [self._serve_best(at_stake)] if at_stake is not None else []
        others = [b.lane for b in self.berths if b.lane is not None and b is not at_stake]
        fed.extend(self._supply(lane) for lane in others if not self._is_left_alone(lane))
        return any(fed)

    def settle(self) -> bool:
        """Seat what has been loaded, and close empty places; whether a load has ended."""
        ended = [load for berth in self.berths if (load := berth.settle()) is not None]
        if ended:
            self._kit.timers.due_now("look ahead")  # the next load may begin
        for load in ended:
            if load.error is not None:
                self._load_failed(load.engine_id, load.error)
            elif load.lane is not None:
                self._memory.loaded(load.engine_id)
                load.lane.is_quiet = partial(self._is_quiet, load.lane)
        for number, berth in list(self._places.items()):
            if number and berth.is_free:
                berth.sign_off()
                del self._places[number]
        return bool(ended)

    def bury_dead(self) -> None:
        """Free the places of engines that died."""
        for berth in self.berths:
            if berth.lane is not None and berth.lane.died is not None:
                berth.leave()
                self._kit.timers.due_now("backlog")

    def leave(self) -> None:
        """Free the device."""
        self._loader.leave()
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

    def _supply(self, lane: Lane) -> bool:
        """Claim for an engine that stays; one that is to leave is only given questions."""
        return self._feeder.join(lane) if lane.engine_id in self._leaving else self._feeder.serve(lane)

    # ── choosing ──────────────────────────────────────────────────────────────────────────────────

    def _at_stake(self) -> Berth | None:
        """The place whose engine leaves first, if any does. One engine is loaded at a time."""
        if any(berth.is_loading for berth in self.berths):
            return None
        taken = {berth.lane.engine_id: berth for berth in self.berths if berth.lane is not None}
        if not taken:
            return self._places[0]
        first = leaving_order([self._resident(b.lane) for b in taken.values() if b.lane is not None])[0]
        return taken[first.engine_id]

    def _resident(self, lane: Lane) -> Resident:
        return Resident(
            lane.engine_id,
            self._memory.estimate_gib(self._pool.known_engines[lane.engine_id]),
            self._measured.rates.load(lane.engine_id),
            is_wanted=lane.n_held > 0 or self._books.waiting(lane.engine_id) is not None,
            is_busy=lane.n_held > 0,
            idle_s=max(0.0, self._kit.clock() - lane.seat.used_at),
        )

    def _serve_best(self, berth: Berth) -> bool:
        """Claim for the engine in a berth, or change it for a better one."""
        lane = berth.lane
        if lane is not None:
            if self._make_way(lane) or self._look_ahead(lane):
                return True
            if lane.start_held():
                return True
        if lane is not None and not lane.room:
            return self._feeder.join(lane)
        choice = self._choose(berth)
        if choice is None:
            return lane is not None and self._feeder.join(lane)
        if lane is not None and choice.engine_id == lane.engine_id:
            return self._feeder.claim(lane)
        if self._bring(choice, instead_of=lane):
            return True
        return lane is not None and self._feeder.join(lane)

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
        return self._books.choose(
            self._own(besides=berth.engine_id),
            resident=None if lane is None else lane.engine_id,
            resident_s=0.0 if lane is None else self._kit.clock() - lane.seat.taken_at,
        )

    def _own(self, *, besides: str | None) -> OwnDevice:
        """The device, for a choice about the place of one engine."""
        specs, held = self._pool.known_engines, self.held()
        sizes = {engine_id: self._memory.estimate_gib(spec) for engine_id, spec in specs.items()}
        return OwnDevice(
            self._places[0].device,
            self._rates,
            self._measured.kinds,
            beside=tuple(b.engine_id for b in self.berths if b.engine_id not in (None, besides)),
            memory_gib=self._memory.total_gib(held),
            needed_gib={engine_id: gib for engine_id, gib in sizes.items() if gib is not None},
            hides=self._hides,
            ahead_id=self._loader.ahead,
            ahead_s=self._loader.ahead_s,
        )

    @property
    def _hides(self) -> bool:
        """Whether the device loads one engine while another works: in a further place, or in the same one."""
        backends = {spec.backend for spec in self._pool.known_engines.values()}
        return self._memory.most > 1 or any(self._loader.prepares(backend) for backend in backends)

    @property
    def _rates(self) -> Rates:
        return self._measured.rates_now(asleep=self._loader.asleep, read_ahead=self._loader.were_read)

    # ── changing ──────────────────────────────────────────────────────────────────────────────────

    def _bring(self, choice: EngineChoice, *, instead_of: Lane | None) -> bool:
        """Begin to load an engine, once those that make way for it have ended what they run; whether
        something was begun. `instead_of`: may leave although work waits for it."""
        if self._books.holds(choice, self._rates):
            self._loader.prepare(choice.engine_id)
            return False
        is_urgent = self._books.is_urgent(choice.engine_id)
        is_early = len(self.lanes) > 1 and not is_urgent and not self._is_time(choice.engine_id)
        leaving = None if is_early else self._leaving_for(choice.engine_id, instead_of, is_urgent=is_urgent)
        if leaving is None:
            return False
        if any(lane.n_held for lane in leaving):
            self._leaving = frozenset(lane.engine_id for lane in leaving)
            return False  # a seat is given up when it has drained
        return self._change(choice, leaving)

    def _leaving_for(
        self, engine_id: str, instead_of: Lane | None = None, *, is_urgent: bool = False
    ) -> list[Lane] | None:
        """Lanes that make way for an engine; None = it finds no room. Only what is urgent drives engines away
        that have work."""
        lanes = {lane.engine_id: lane for lane in self.lanes}
        residents = [self._resident(lane) for lane in lanes.values()]
        mine = None if instead_of is None else instead_of.engine_id
        movable = [r for r in residents if is_urgent or not r.is_wanted or r.engine_id == mine]
        room = partial(
            who_leaves,
            movable,
            free_gib=self._memory.left_gib(self.held()),
            n_spared=len(residents) - len(movable),
            most=self._memory.most - 1,
        )
        gone = room(need_gib=self._memory.need_gib(self._pool.known_engines[engine_id]))
        if gone == () and lanes and not self._loader.allows(engine_id):  # it knows nothing of who leaves
            gone = room(need_gib=None)
        return None if gone is None else [lanes[resident.engine_id] for resident in gone]

    def held(self) -> list[Held]:
        """The engines of the device, with their memory."""
        return [Held(self._pool.known_engines[x.engine_id], x.seat.weigh()) for x in self.lanes]

    def _change(self, choice: EngineChoice, leaving: Collection[Lane]) -> bool:
        """Load another engine, unless another device was faster."""
        if self._kit.ledger.settle():
            return True  # its next step may be for an engine that is here
        left = [berth for berth in self.berths if berth.lane in leaving]
        berth = left[0] if left else self._free_place()
        item = self._books.waiting(choice.engine_id)
        if not berth.announce(choice.engine_id, n_elsewhere=item.n_devices_elsewhere if item else 0):
            self._kit.timers.due_now("backlog")
            return True
        beside = [lane.engine_id for lane in self.lanes if lane not in leaving]
        log.info(
            "engine %s: loading on %s%s: %s",
            choice.engine_id,
            berth.device,
            f" beside {', '.join(beside)}" if beside else "",
            choice.reason,
        )
        self._books.changed()
        for other in left[1:]:
            other.leave(to_sleep=True)
        berth.load(choice.engine_id)
        return True

    def _trim(self) -> None:
        """Give up engines without work when memory is short: they grew, or somebody else did."""
        if len(self.lanes) < 2 or not self._kit.timers.is_due("trim", self._kit.pace.look_s):
            return
        held = self.held()
        if not self._memory.is_short(held):
            return
        first = leaving_order([self._resident(lane) for lane in self.lanes])[0]
        berth = next(b for b in self.berths if b.lane is not None and b.lane.engine_id == first.engine_id)
        if not first.is_wanted and not first.is_busy:
            log.info("engine %s: leaves %s: memory is short", first.engine_id, berth.device)
            berth.leave(to_sleep=True)

    def _free_place(self) -> Berth:
        free = next((berth for berth in self.berths if berth.is_free), None)
        if free is None:
            number = next(n for n in range(len(self._places) + 1) if n not in self._places)
            free = self._places[number] = self._make_berth(number)
        return free

    def _look_ahead(self, lane: Lane) -> bool:
        """Load the next engine while the resident ones work off their last shards, and at once what is
        urgent: beside them where memory allows, else its backend may prepare it. Whether a load was begun."""
        if not self._kit.timers.is_due("look ahead", self._look_ahead_s):
            return False
        ahead = self._loader.ahead
        own = self._own(besides=lane.engine_id)
        following = self._books.choose_next(own, resident=lane.engine_id)
        if following is None:
            self._loader.discard()
            self._loader.stop_reading()
            return False
        is_urgent = self._books.is_urgent(following.engine_id)
        if following.engine_id == ahead or not (is_urgent or self._is_time(following.engine_id)):
            return False
        leaving = None if lane.is_alone else self._leaving_for(following.engine_id)
        if leaving is None or len(leaving) == len(self.lanes) or any(x.n_held for x in leaving):
            if not is_urgent:
                self._loader.prepare(following.engine_id)
                if self._loader.ahead is None:  # its backend cannot, or there is no room
                    self._loader.read_ahead(following.engine_id)
            return False
        return not self._books.holds(following, self._rates) and self._change(following, leaving)

    @property
    def _look_ahead_s(self) -> float:
        """Seconds between two looks for the next engine: what is known to load quickly is soon too late."""
        shortest_s = min(self._measured.rates.load_s.values(), default=math.inf)
        return min(self._kit.pace.look_s, max(self._kit.pace.poll_s, shortest_s / LOOKS_IN_A_LOAD))

    def _is_time(self, engine_id: str) -> bool:
        """True if the work of the device's engines is so short that the load of this one is to begin."""
        lefts = [self._seconds_left(lane) for lane in self.lanes]
        known = [left_s for left_s in lefts if left_s is not None]
        return len(known) == len(lefts) and is_time(sum(known), self._rates.load(engine_id))

    def _seconds_left(self, lane: Lane) -> float | None:
        """What the engine's work will take; None = its speed is not known yet."""
        item = self._books.waiting(lane.engine_id)
        speed = lane.seat.served.tokens_per_s or self._measured.rates.tokens_per_s.get(lane.engine_id)
        if speed is None:
            return None if item else 0.0  # one shard at most
        return (lane.held_tokens + (item.est_tokens if item else 0)) / speed

    def _load_failed(self, engine_id: str, error: Exception) -> None:
        """It is tried alone, or else left alone for a while."""
        why = error if isinstance(error, MusterError) else reason_of(error)
        log.warning("engine %s: load failed: %s", engine_id, why)
        log.debug("engine %s", engine_id, exc_info=error)
        is_lasting = isinstance(error, EngineLoadError) and error.is_lasting
        if self.lanes and not is_lasting:  # beside other engines there may be too little memory
            self._memory.failed_beside(engine_id, left_gib=self._memory.left_gib(self.held()))
            return
        self._books.load_failed(engine_id, error)
