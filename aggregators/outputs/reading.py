"""Reading the texts of ballots, once each. Ours: a cache for whatever reads (`verifying`)."""

from collections.abc import Callable, Sequence
from hashlib import blake2b

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
    """Evidence of ballots. Of what was read, digests and numbers are kept, no texts."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._kept: dict[bytes, float] = {}

    def __call__(self, query: Query, ballots: Sequence[Ballot]) -> list[float]:
        """Evidence of readable ballots, in order; nats."""
        stated = {_digest(query, said): said for said in map(_stated, ballots)}
        known = {digest: self._kept[digest] for digest in stated if digest in self._kept}
        unread = [digest for digest in stated if digest not in known]
        known.update(zip(unread, self._evidence(query, [stated[d] for d in unread]), strict=True))
        if len(self._kept) + len(unread) > _KEPT:
            self._kept.clear()
        self._kept.update((digest, known[digest]) for digest in unread)
        return [known[_digest(query, _stated(ballot))] for ballot in ballots]


def _stated(ballot: Ballot) -> StatedAnswer:
    assert ballot.value is not None, "only readable ballots are read"
    return StatedAnswer(ballot.expert_id, ballot.value, ballot.response.text, ballot.accuracy)


def _digest(query: Query, said: StatedAnswer) -> bytes:
    parts = (query.content_hash, said.expert_id, said.value, repr(said.accuracy), said.text)
    digest = blake2b(digest_size=16)
    for part in parts:  # each with its length: no two lists of parts read alike
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8) + encoded)
    return digest.digest()
