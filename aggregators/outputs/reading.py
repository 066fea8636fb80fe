"""Reading the texts of ballots, once each."""

from collections.abc import Callable, Sequence

from aggregators.outputs.verifying.model import StatedAnswer
from aggregators.outputs.votes import Ballot
from orchestrator.domain.queries import Query

Evidence = Callable[[Query, Sequence[StatedAnswer]], list[float]]
"""What each response's text adds to its expert's log-odds, in order; nats, 0 = nothing."""

ReadTexts = Callable[[Query, Sequence[Ballot]], list[float]]
"""The same of readable ballots."""

_KEPT = 4096
"""Responses whose evidence is kept: those of a query are read again at every wave."""


class Reader:
    """Evidence of ballots."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._kept: dict[tuple[str, StatedAnswer], float] = {}

    def __call__(self, query: Query, ballots: Sequence[Ballot]) -> list[float]:
        key = query.content_hash
        stated = [_stated(ballot) for ballot in ballots]
        known = {said: self._kept[key, said] for said in stated if (key, said) in self._kept}
        unread = [said for said in dict.fromkeys(stated) if said not in known]
        known.update(zip(unread, self._evidence(query, unread), strict=True))
        if len(self._kept) + len(unread) > _KEPT:
            self._kept.clear()
        self._kept.update(((key, said), known[said]) for said in unread)
        return [known[said] for said in stated]


def _stated(ballot: Ballot) -> StatedAnswer:
    assert ballot.value is not None, "only readable ballots are read"
    return StatedAnswer(ballot.expert_id, ballot.value, ballot.response.text, ballot.accuracy)
