"""Keyed requests as they are stored."""

from typing import Protocol

from orchestrator.domain.keyed import KeyedRequest, Reply, RequestKey


class KeyedRequests(Protocol):
    """Requests that came with an Idempotency-Key. Every method is one transaction."""

    def begin(self, key: RequestKey, *, unique: str, fingerprint: str) -> KeyedRequest:
        """The request under a key: the stored one, else this one, stored from now on. Of several that begin
        at once, all are given the same."""

    def finish(self, key: RequestKey, *, unique: str, reply: Reply) -> Reply:
        """Store a request's reply unless it has one; the one that is stored. One that is gone stays gone."""

    def abandon(self, key: RequestKey, *, unique: str) -> None:
        """Free the key of a request that has no reply; its next one is a new request."""

    def forget(self, resource_id: str) -> None:
        """Drop the requests that made the thing of this id, with their replies."""

    def drop_old(self, kept_s: float, *, limit: int) -> int:
        """Drop up to `limit` requests that began longer ago than `kept_s` seconds; returns how many."""
