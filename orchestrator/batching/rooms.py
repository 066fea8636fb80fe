"""Room that a planner still has on a device until a time."""

import math


class Room:
    """Seconds left on a device that loads or works.

    Args:
        until_s: when all must be done.
        begins_s: when it is free: its work is done, or its load.
    """

    __slots__ = ("_free_s", "_n_stints")

    def __init__(self, until_s: float, begins_s: float) -> None:
        self._free_s = until_s - begins_s
        self._n_stints = 0

    def here(self) -> float:
        """Work that fits of an engine that is there, in seconds; negative: none."""
        return self._free_s

    def gap(self, load_s: float) -> float:
        """Work that fits with a load of `load_s`, in seconds; negative: not even that."""
        return self._free_s - load_s

    def growth_s(self, load_s: float, work_s: float) -> float:
        """Time by which the device is done later with a load and its work, which fit."""
        return load_s + work_s

    def take_here(self, work_s: float) -> int:
        """Take work of an engine that is there; returns its place in the order of what was taken."""
        return self.take(0.0, work_s)

    def take_ahead(self, left_s: float, work_s: float) -> int:
        """Take work of an engine whose load has begun and takes `left_s` yet; returns its place."""
        return self.take(left_s, work_s)

    def take(self, load_s: float, work_s: float) -> int:
        """Take a load and its work; returns its place."""
        self._free_s -= load_s + work_s
        self._n_stints += 1
        return self._n_stints - 1


class HidingRoom(Room):
    """Seconds left on a device that loads one engine while it works for another, and holds these two.

    So the next load begins with the work of the engine loaded before, which has taken the place of the one
    before that: s(i+1) = s(i) + max(work(i), load(i+1)), where work i begins at s(i). What is taken goes
    where the device is done soonest with it.

    Args:
        begins_s: until when it has work, or loads.
        is_loading: it loads: nothing else is loaded before `begins_s`.
    """

    __slots__ = ("_begins_s", "_first", "_loads_s", "_n_here", "_until_s", "_works_s")

    def __init__(self, until_s: float, begins_s: float, *, is_loading: bool) -> None:
        super().__init__(until_s, begins_s)
        self._until_s = until_s
        self._loads_s = [0.0]
        self._works_s = [0.0 if is_loading else begins_s]
        self._begins_s = [begins_s if is_loading else 0.0]
        self._n_here = 0
        self._first = 1

    def here(self) -> float:
        begins_s, works_s = self._begins_s, self._works_s
        if len(begins_s) == 1:
            return self._until_s - begins_s[0] - works_s[0]
        return self._until_s - (self._end_s - begins_s[1]) - begins_s[0] - works_s[0]

    def gap(self, load_s: float) -> float:
        return max(self._gap(place, load_s) for place in range(self._first, len(self._begins_s) + 1))

    def growth_s(self, load_s: float, work_s: float) -> float:
        return self._best(load_s, work_s)[0] - self._end_s

    def take_here(self, work_s: float) -> int:
        self._works_s[0] += work_s
        self._timed()
        self._n_here += 1
        return self._n_here - 1

    def take_ahead(self, left_s: float, work_s: float) -> int:
        place = self._put(self._first, left_s, work_s)
        self._first += 1
        return place

    def take(self, load_s: float, work_s: float) -> int:
        return self._put(self._best(load_s, work_s)[1], load_s, work_s)

    @property
    def _end_s(self) -> float:
        return self._begins_s[-1] + self._works_s[-1]

    def _gap(self, place: int, load_s: float) -> float:
        begun_s = self._begins_s[place - 1] + max(self._works_s[place - 1], load_s)
        if place == len(self._begins_s):
            return self._until_s - begun_s
        late_s = begun_s + self._loads_s[place] + self._end_s - self._begins_s[place] - self._until_s
        return self._loads_s[place] - late_s if late_s <= 0 else -math.inf

    def _best(self, load_s: float, work_s: float) -> tuple[float, int]:
        """When the device is done with a load and its work in the best place, and that place: of equal ones
        the last."""
        places = range(self._first, len(self._begins_s) + 1)
        done_s, place = min((self._done_s(place, load_s, work_s), -place) for place in places)
        return done_s, -place

    def _done_s(self, place: int, load_s: float, work_s: float) -> float:
        begun_s = self._begins_s[place - 1] + max(self._works_s[place - 1], load_s)
        if place == len(self._begins_s):
            return begun_s + work_s
        return begun_s + max(work_s, self._loads_s[place]) + self._end_s - self._begins_s[place]

    def _put(self, place: int, load_s: float, work_s: float) -> int:
        self._loads_s.insert(place, load_s)
        self._works_s.insert(place, work_s)
        self._timed()
        return self._n_here + place - 1

    def _timed(self) -> None:
        begins_s = self._begins_s[:1]
        for work_s, load_s in zip(self._works_s, self._loads_s[1:], strict=False):
            begins_s.append(begins_s[-1] + max(work_s, load_s))
        self._begins_s = begins_s
