"""The loop that owns a device: claim work of the resident engine, or load the engine that pays most.

Independent of how it is started: a thread, a command, or a task that a bell wakes calls `tick` until
there is nothing to do. Whatever it holds is under lease, so it may die at any moment. Nothing that takes
long happens inside a tick: engines are loaded and closed in the background.
"""

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from typing import NamedTuple

from orchestrator.batching import Rates
from orchestrator.errors import MusterError, StoreUnavailableError
from orchestrator.runtime.alarm import wait_for_any
from workers.device.berth import Berth
from workers.device.books import Books
from workers.device.carried import CarriedQuestions, Handover, lessee_of, start_calls
from workers.device.feeding import Feeder
from workers.device.kit import Kit
from workers.device.lane import Lane
from workers.device.loading import BackendShelf, Loader
from workers.device.measured import Measurements
from workers.device.remote_lanes import RemoteLanes
from workers.device.seats import DeviceSeats
from workers.leases.advancing import Advancer
from workers.leases.sweeper import Sweeper

log = logging.getLogger(__name__)

FINISH_S = 10.0
"""How long `shut_down` waits for engines to say what they have finished."""
UNLOAD_S = 20.0
"""How long `shut_down` waits for the device to be free."""


class LoopParts(NamedTuple):
    """Parts of a loop (`wiring.make_device_loop` makes them).

    Attributes:
        advancer: takes queries through their compositions; None = others do.
        questions: that it carries; None = the books are looked at for the next step of each.
        handover: what other threads begin for it.
        engine_ids: engines of the pool; `remote`: those of them that need no device.
    """

    kit: Kit
    books: Books
    feeder: Feeder
    seats: DeviceSeats
    remotes: RemoteLanes
    shelf: BackendShelf
    loader: Loader
    measured: Measurements
    sweeper: Sweeper
    advancer: Advancer | None
    questions: CarriedQuestions | None
    handover: Handover
    engine_ids: tuple[str, ...]
    remote: frozenset[str]
    device: str


class DeviceLoop:
    """Serves one device for one owner; for one thread at a time.

    Attributes:
        n_generated: usable responses so far; `n_steps`: steps of queries taken here.
        handover: see `LoopParts`.

    Args:
        on_committed: called after responses were committed, at most every `Pace.ring_s` while there is
            work.
    """

    def __init__(self, parts: LoopParts, *, on_committed: Callable[[], None] | None = None) -> None:
        self.owner = parts.kit.owner
        self.n_generated = 0
        self.n_steps = 0
        self._moved: frozenset[str] = frozenset()
        self._on_committed = on_committed
        self._kit = kit = parts.kit
        self._stores, self._ledger, self._timers, self._clock = kit.stores, kit.ledger, kit.timers, kit.clock
        self._books, self._feeder = parts.books, parts.feeder
        self._seats, self._remotes = parts.seats, parts.remotes
        self._shelf, self._loader, self._measured = parts.shelf, parts.loader, parts.measured
        self._sweeper, self._advancer = parts.sweeper, parts.advancer
        self._questions, self.handover = parts.questions, parts.handover
        self._engine_ids, self._remote = parts.engine_ids, parts.remote
        self._device = parts.device
        self._alive_at = -math.inf
        self._is_doubtful = False
        self._n_seen_committed = self._n_seen_urgent = 0
        self._is_woken = False
        self._owes_bell = False

    @property
    def resident(self) -> str | None:
        """The engine on the device; of several, the one that worked last."""
        seats = [lane.seat for lane in self._seats.lanes]
        return max(seats, key=lambda seat: seat.used_at).engine_id if seats else None

    @property
    def is_idle(self) -> bool:
        """True if it holds no lease and owes the store nothing."""
        return self._n_held == 0 and not self._ledger.is_due

    @property
    def rates(self) -> Rates:
        """Costs of loads and work as measured so far."""
        return self._measured.rates

    def is_local(self, engine_id: str) -> bool:
        """True if an engine must be loaded on a device."""
        return engine_id not in self._remote

    def wake(self) -> None:
        """Look at the books at the next tick, whenever that was done last: for steps, else for interactive
        requests of the loaded engines, else for all that waits."""
        self._timers.due_now("advance")
        self._is_woken = True

    def interrupt(self) -> None:
        """End the wait for engines that is under way, or the next one; from any thread."""
        self._kit.alarm.ring()

    def bury_the_dead(self) -> None:
        """Take over at once what processes of this host held that have ended."""
        self._sweeper.bury_the_dead()

    def take_moved(self) -> frozenset[str]:
        """Jobs whose queries ended since this was asked before: they may have ended, too."""
        moved, self._moved = self._moved, frozenset()
        return moved

    def leave_below(self, min_priority: int) -> None:
        """Leave work of lower priority to others, from the next tick on."""
        self._ledger.min_priority = min_priority
        if self._advancer is not None:
            self._advancer.min_priority = min_priority

    def tick(self) -> bool:
        """One round: routes what is ready, feeds the engines, collects and commits responses.

        Returns:
            Whether there is more to do at once; False = wait for a wake-up or `Pace.look_s`.

        Raises:
            StoreUnavailableError: nothing is lost; tick again later.
        """
        try:
            self._keep_alive()
            self._take_handed()
            moved = self._advance()
            moved |= self._settle_loads()
            moved |= self._feed()
            moved |= self._collect()
        except MusterError as error:
            self._is_doubtful = True
            if isinstance(error, StoreUnavailableError):
                self._sweeper.was_away()
            raise
        self._tell_of_commits()
        has_steps = self._advancer is not None and self._timers.is_pending("advance")
        return moved or has_steps or self._n_held > 0 or any(berth.is_loading for berth in self._berths)

    def beat(self) -> None:
        """Renew leases and reports when the tick under way takes long, for as long as it may; from any
        thread, as often as the books are looked at.

        Raises:
            StoreUnavailableError: try again.
        """
        pace, lease_s = self._kit.pace, self._kit.settings.lease_s
        if pace.renewal_s(lease_s) <= self._clock() - self._alive_at < pace.stuck_s:
            self._stores.leases.renew(self.owner, lease_s=lease_s)
            self._stores.devices.touch_devices([berth.owner for berth in self._berths])

    def step_aside(self) -> None:
        """Tell the others not to count on this device until the next tick; engines stay loaded."""
        self._alive_at = -math.inf
        for berth in self._berths:
            berth.sign_off()
        try:
            self._kit.faults.sign_off()
        except MusterError:  # they grow old
            log.debug("owner %s: its faults are still told", self.owner, exc_info=True)

    def shut_down(self) -> None:
        """Commit what engines have finished, give back the rest, its attempts refunded, free the device."""
        self.handover.close()
        self._finish()
        self._seats.leave()
        try:
            self._ledger.settle()
            self._stores.leases.release_owner(self.owner, refund_attempt=True)
        except MusterError:
            log.warning("owner %s: leases are left to expire", self.owner, exc_info=True)
        finally:
            self._ledger.forget()
            if self._questions is not None:
                self._questions.forget()
            self._remotes.leave()
            self.step_aside()
            self._loader.wait(UNLOAD_S)

    def _finish(self) -> None:
        until = time.monotonic() + FINISH_S
        try:
            for lane in self._lanes:
                lane.finish(within_s=max(0.0, until - time.monotonic()))
        except KeyboardInterrupt:  # whoever leaves is in a hurry
            log.warning("owner %s: what engines have finished was not collected", self.owner)

    def close(self) -> None:
        """Shut down for good: what backends keep running ends, too."""
        self.shut_down()
        self._shelf.close()

    # ── signs of life ─────────────────────────────────────────────────────────────────────────────

    @property
    def _berths(self) -> list[Berth]:
        return [*self._seats.berths, *self._remotes.berths]

    @property
    def _lanes(self) -> list[Lane]:
        return [*self._seats.lanes, *self._remotes.lanes]

    @property
    def _n_held(self) -> int:
        """Assignments under this loop's lease."""
        return sum(lane.n_held for lane in self._lanes) + self._ledger.n_pending

    def _keep_alive(self) -> None:
        """What must happen in time whatever else the loop is at."""
        for berth in self._berths:
            berth.report()
        self._kit.faults.tell(self._device)
        self._keep_leases()
        if self._timers.is_due("sweep", self._kit.settings.sweep_s):
            self._sweeper.sweep()
        if self._timers.is_due("rates", self._kit.pace.record_s):
            for berth in self._seats.berths:
                berth.record_speed()
            self._measured.read(self._stores.costs.rates())
        self._alive_at = self._clock()

    def _keep_leases(self) -> None:
        lease_s = self._kit.settings.lease_s
        if self._n_held and self._timers.is_due("renew", self._kit.pace.renewal_s(lease_s)):
            if self._stores.leases.renew(self.owner, lease_s=lease_s) < self._n_held:
                self._stop_lost()
        elif self._is_doubtful and not self._n_held:
            # A claim may have been committed although its reply was lost.
            self._stores.leases.release_owner(self.owner, refund_attempt=True)
            self._is_doubtful = False

    def _stop_lost(self) -> None:
        """What was cancelled, deleted or taken over is not worth an engine's time."""
        held = self._stores.waiting.held(self.owner)
        for lane in self._lanes:
            lane.stop_lost(held)

    # ── queries ───────────────────────────────────────────────────────────────────────────────────

    def _advance(self) -> bool:
        if self._advancer is None or not self._timers.is_due("advance", self._kit.pace.look_s):
            return False
        advanced = self._advancer.run(between=self._keep_alive)
        self.n_steps += advanced.n_steps
        self._moved |= advanced.job_ids
        if advanced.n_asked:
            self._timers.due_now("backlog", "jobs")
        elif advanced.n_steps:
            self._is_woken = False  # what it was woken for has been begun
        if self._questions is not None:
            self._questions.start_begun()
        return advanced.n_steps > 0

    def _take_handed(self) -> None:
        """Start what other threads began, and say how much more they may."""
        start_calls(self.handover.take(), lambda: self._lanes, self._ledger)
        lease_s = self._kit.settings.lease_s
        self.handover.open(lessee_of(lambda: self._lanes, owner=self.owner, lease_s=lease_s))

    # ── engines ───────────────────────────────────────────────────────────────────────────────────

    def _settle_loads(self) -> bool:
        settled = [self._seats.settle(), self._remotes.settle()]
        return any(settled)

    def _feed(self) -> bool:
        """Keep all engines supplied, or change them; whether anything was begun."""
        if self._timers.is_due("warm up", math.inf):
            self._loader.warm_up(list(filter(self.is_local, self._engine_ids)))
        if self._join_at_once():
            return True
        self._books.look()
        fed = [self._remotes.feed(), self._seats.feed()]
        self._bury_dead()
        return any(fed)

    def _join_at_once(self) -> bool:
        """Looking at all of the books takes several queries; a question is not to wait for them."""
        if not self._is_woken:
            return False
        self._is_woken = False
        self._timers.due_now("jobs", "backlog")
        joined = [self._feeder.join_now(lane) for lane in self._lanes]
        return any(joined)

    def _collect(self) -> bool:
        busy = [lane for lane in self._lanes if lane.n_running]
        for lane, timeout_s in self._patience(busy):
            self.n_generated += sum(not ending.response.failed for ending in lane.collect(timeout_s))
        self._bury_dead()
        if not busy:
            self._wait_for_loads()
        is_idle = not any(lane.n_running for lane in self._lanes)
        has_settled = (is_idle or self._ledger.is_due) and self._ledger.settle() > 0
        if self._questions is not None:
            n_steps, job_ids = self._questions.take_settled()
            self.n_steps += n_steps
            self._moved |= job_ids
            self._questions.start_begun()
        return has_settled

    def _patience(self, busy: list[Lane]) -> list[tuple[Lane, float]]:
        """How long to wait in each lane: `poll_s` together, and in the device's own if one is busy. Engines
        that say when they have news are waited for all at once, here."""
        if busy and self._waited_for(busy):
            return [(lane, 0.0) for lane in busy]
        own = [lane for lane in busy if self.is_local(lane.engine_id)]
        waiting = own or busy
        return [(lane, self._kit.pace.poll_s / len(waiting) if lane in waiting else 0.0) for lane in busy]

    def _waited_for(self, busy: list[Lane]) -> bool:
        """Wait until an engine has news, the alarm rings, or `poll_s` are over; False = some engine does not
        say when it has news, and nobody was waited for."""
        descriptors, wait_s = [self._kit.alarm.fileno()], self._kit.pace.poll_s
        for seat in (lane.seat for lane in busy):
            if (descriptor := seat.descriptor) is not None:
                descriptors.append(descriptor)
            elif (due_s := seat.due_s) is not None:
                wait_s = min(wait_s, due_s)
            else:
                return False
        wait_for_any(descriptors, wait_s)
        self._kit.alarm.clear()
        return True

    def _wait_for_loads(self) -> None:
        loads = [berth.pending for berth in self._berths if berth.pending is not None]
        if loads:
            wait(loads, self._kit.pace.poll_s, return_when=FIRST_COMPLETED)

    def _bury_dead(self) -> None:
        self._seats.bury_dead()
        self._remotes.bury_dead()

    # ── responses ─────────────────────────────────────────────────────────────────────────────────

    def _tell_of_commits(self) -> None:
        """Bells come at intervals under load; without load, and for somebody who waits, they come at once."""
        n_left = self._ledger.n_committed - self._ledger.n_carried
        if n_left > self._n_seen_committed:
            self._n_seen_committed = n_left
            self._timers.due_now("advance")
            self._owes_bell = True
        is_awaited = self._ledger.n_urgent > self._n_seen_urgent
        if self._owes_bell and (
            is_awaited or not self._n_held or self._timers.is_due("ring", self._kit.pace.ring_s)
        ):
            self._owes_bell = False
            self._n_seen_urgent = self._ledger.n_urgent
            self._ring()

    def _ring(self) -> None:
        if self._on_committed is None:
            return
        try:
            self._on_committed()
        except Exception:  # a bell that nobody hears costs time only
            log.warning("owner %s: the bell does not ring", self.owner, exc_info=True)
