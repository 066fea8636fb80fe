"""Room that a planner still has on a device until a time."""

import math


class Room:
    """Seconds left on one device, where loads come before work, or are hidden behind it.

    With hidden loads the end of a device is taken for the later of two: all work after the first load, and
    all loads before the shortest work. Johnson's order (`batching.bounds`) comes close to that.

    Args:
        until_s: when all must be done. works_from_s: when work may begin; loads_from_s: when loads may.
        hides: whether loads are hidden.
    """

    __slots__ = (
        "_begun_s",
        "_first_s",
        "_free_s",
        "_hides",
        "_loaded_s",
        "_loads_from_s",
        "_shortest_s",
        "_until_s",
        "_work_s",
    )

    def __init__(self, until_s: float, works_from_s: float, loads_from_s: float, *, hides: bool) -> None:
        self._hides = hides
        self._until_s = until_s
        self._free_s = until_s - works_from_s
        self._begun_s = works_from_s
        self._loads_from_s = self._loaded_s = loads_from_s
        self._work_s = 0.0
        self._shortest_s = self._first_s = math.inf

    def gap(self, load_s: float) -> float:
        """Seconds of work that fit with a load of `load_s`, 0 for what is there; negative: not even that."""
        if not self._hides:
            return self._free_s - load_s
        if load_s == 0:
            return self._until_s - self._begun_s - self._work_s
        starts_s = max(self._begun_s, self._loads_from_s + min(self._first_s, load_s))
        left_s = self._until_s - starts_s - self._work_s
        after_loads_s = self._until_s - self._loaded_s - load_s
        return left_s if after_loads_s >= self._shortest_s else min(left_s, after_loads_s)

    def put(self, load_s: float, work_s: float) -> None:
        """Take work and its load."""
        self._free_s -= load_s + work_s
        if load_s == 0:
            self._begun_s += work_s
            return
        self._loaded_s += load_s
        self._work_s += work_s
        self._first_s = min(self._first_s, load_s)
        self._shortest_s = min(self._shortest_s, work_s)
