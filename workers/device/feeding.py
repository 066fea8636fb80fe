"""Keeps a loaded engine supplied with work."""

from workers.device.books import Books
from workers.device.kit import Kit
from workers.device.lane import Lane


class Feeder:
    """Claims for lanes what the books say is waiting; each method tells whether there was any."""

    def __init__(self, kit: Kit, books: Books) -> None:
        self._books = books
        self._timers = kit.timers
        self._pace = kit.pace

    def serve(self, lane: Lane) -> bool:
        """Claim for an engine that stays; True if anything was begun."""
        if lane.start_held():
            return True
        if lane.room and self._books.waiting(lane.engine_id):
            return self.claim(lane)
        return self.join(lane)

    def claim(self, lane: Lane) -> bool:
        """Claim the next shard; True if there was one."""
        limit = lane.room
        n = lane.claim(limit)
        self._books.claimed(lane.engine_id, n, limit=limit)
        return n > 0

    def join(self, lane: Lane) -> bool:
        """Claim interactive requests for a loaded engine: they do not wait for a shard to end; True if there
        were any."""
        return self._timers.is_due(f"join {lane.engine_id}", self._pace.poll_s) and lane.join() > 0

    def join_now(self, lane: Lane) -> bool:
        """Claim as `join` does, whenever that was tried last; True likewise."""
        self._timers.due_now(f"join {lane.engine_id}")
        return self.join(lane)
