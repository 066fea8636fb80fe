"""Questions that a device's loop carries: begun in its lanes as they are put on the books, and stepped with
their responses."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from orchestrator.domain.assignments import Assignment
from orchestrator.errors import StoreError, StoreUnavailableError
from orchestrator.ports.jobs import Completion, Lessee
from orchestrator.ports.questions import Carried
from workers.device.lane import Lane
from workers.device.ledger import Ledger
from workers.leases.advancing import Advancer
from workers.leases.carrying import Carrier

log = logging.getLogger(__name__)

Lanes = Callable[[], list[Lane]]


def lessee_of(lanes: Lanes, *, owner: str, lease_s: float) -> Lessee:
    """A loop, as calls are begun in its lanes now: beside what runs alone none is."""
    present = lanes()
    is_free = not any(lane.is_alone for lane in present)
    room = {lane.engine_id: lane.questions_room for lane in present if is_free}
    return Lessee(owner, lease_s, room)


def start_calls(begun: Sequence[Assignment], lanes: Lanes, ledger: Ledger) -> None:
    """Start calls that are leased already; those whose lane has gone meanwhile are given back."""
    lane_of = {lane.engine_id: lane for lane in lanes()} if begun else {}
    for engine_id in dict.fromkeys(assignment.engine_id for assignment in begun):
        mine = [assignment for assignment in begun if assignment.engine_id == engine_id]
        if engine_id in lane_of:
            lane_of[engine_id].take(mine)
        else:
            ledger.give_back(mine, refund_attempt=True)


class Handover:
    """Calls that other threads of this process begin for a loop, between them and its own thread."""

    def __init__(self) -> None:
        self._lessee: Lessee | None = None
        self._calls: deque[Assignment] = deque()

    @property
    def lessee(self) -> Lessee | None:
        """The loop, as calls may be begun for it; None = it does not run."""
        return self._lessee

    def open(self, lessee: Lessee) -> None:
        """Say how many calls may be begun until the next time."""
        self._lessee = lessee

    def close(self) -> None:
        """Nothing is begun for the loop any more; what it was handed is for others."""
        self._lessee = None
        self._calls.clear()

    def hand(self, calls: Iterable[Assignment]) -> None:
        """Give calls, which are leased, to the loop."""
        self._calls.extend(calls)

    def take(self) -> list[Assignment]:
        """Calls that were handed over since this was asked before."""
        taken = []
        while self._calls:
            taken.append(self._calls.popleft())
        return taken


class CarriedQuestions:
    """Carries questions between an advancer and lanes. It stores what the ledger is to store of them.

    Args:
        lanes: of the loop, as they are now.
    """

    def __init__(self, carrier: Carrier, advancer: Advancer, *, ledger: Ledger, lanes: Lanes) -> None:
        self._carrier = carrier
        self._advancer = advancer
        self._ledger = ledger
        self._lanes = lanes
        ledger.carries = self._settle

    def start_begun(self) -> None:
        """Start the calls that were begun on the books."""
        start_calls(self._carrier.take_begun(), self._lanes, self._ledger)

    def take_settled(self) -> tuple[int, set[str]]:
        """Steps stored with responses since this was asked before, and jobs of those that were ends."""
        return self._carrier.take_steps(), self._carrier.take_moved()

    def forget(self) -> None:
        """Leave all of them to the books."""
        self._carrier.forget()

    def _settle(self, completions: Sequence[Completion]) -> int:
        """Store responses, with the next steps of the questions that they answer; returns how many of them
        still wait for one."""
        answered = self._carrier.answered(completions)
        needs = {each.state.id: each.needs for each in answered}
        taken = self._advancer.steps([each.state for each in answered])
        carried = [Carried(state, step, needs[state.id]) for state, step in taken]
        try:
            n_left = self._carrier.settle(completions, carried)
        except StoreUnavailableError:
            raise
        except StoreError as error:  # of whichever it is: each is stored, or refused, by itself
            log.info("steps are taken apart from their responses: %s", error)
            self._carrier.forget([completion.assignment_id for completion in completions])
            return self._carrier.settle(completions, [])
        self._advancer.tell()
        return n_left
