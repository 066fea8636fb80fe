"""Questions that a device's loop carries: begun in its lanes as they are put on the books, and stepped with
their responses."""

import logging
from collections.abc import Callable, Sequence

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
        begun = self._carrier.take_begun()
        lanes = {lane.engine_id: lane for lane in self._lanes()} if begun else {}
        for engine_id in dict.fromkeys(assignment.engine_id for assignment in begun):
            mine = [assignment for assignment in begun if assignment.engine_id == engine_id]
            if engine_id in lanes:
                lanes[engine_id].take(mine)
            else:
                self._ledger.give_back(mine, refund_attempt=True)

    def take_settled(self) -> tuple[int, set[str]]:
        """Steps stored with responses since this was asked before, and their jobs."""
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
