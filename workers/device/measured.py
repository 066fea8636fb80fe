"""Costs of loads and work on this device: measured here, remembered in the store."""

from collections.abc import Collection, Mapping

from orchestrator.batching import Kinds, Rates
from orchestrator.domain.devices import LoadKind, Rate

WAKE_SHARE = 0.25
"""A wake takes this part of a load, until one was measured."""


class Measurements:
    """Seconds of a load by kind, estimated tokens per second, and GiB of memory, by engine.

    Args:
        device: what was measured there goes first; else what was measured elsewhere, as the devices compare
            on engines that both have measured.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._load_s: dict[str, float] = {}
        self._tokens_per_s: dict[str, float] = {}
        self._memory_gib: dict[str, float] = {}
        self._by_kind: dict[LoadKind, dict[str, float]] = {kind: {} for kind in LoadKind}
        self._kinds = Kinds({})

    @property
    def rates(self) -> Rates:
        """As of now; for any thread."""
        return Rates(dict(self._load_s), dict(self._tokens_per_s))

    @property
    def kinds(self) -> Kinds:
        """Costs by kind of device, as far as the store knew when it was read last."""
        return self._kinds

    def rates_now(self, *, asleep: Collection[str] = (), read_ahead: Collection[str] = ()) -> Rates:
        """With loads as they would be now: of engines that are asleep, or whose weights were read ahead."""
        rates = self.rates
        warm = {e: self._by_kind[LoadKind.WARM].get(e, rates.load(e)) for e in read_ahead}
        wakes = {e: self._by_kind[LoadKind.WAKE].get(e, WAKE_SHARE * rates.load(e)) for e in asleep}
        return rates._replace(load_s={**rates.load_s, **warm, **wakes})

    def memory_gib(self, engine_id: str) -> float | None:
        """The most memory that an engine took; None = not measured."""
        return self._memory_gib.get(engine_id)

    def read(self, stored: Mapping[tuple[str, str], Rate]) -> None:
        """Take over what is stored; what was only measured here so far stays."""
        self._kinds = Kinds(stored)
        expected = self._kinds.rates(self._device)
        self._load_s.update(expected.load_s)
        self._tokens_per_s.update(expected.tokens_per_s)
        for (engine_id, device), rate in stored.items():
            if device == self._device:
                self._note(engine_id, rate)

    def note_load(self, engine_id: str, seconds: float, kind: LoadKind = LoadKind.COLD) -> None:
        """Take over a load that was measured here; it replaces what was known of its kind.

        Args:
            kind: by what was there before; waking is remembered beside the cost of a load, not in its place.
        """
        self._by_kind[kind][engine_id] = seconds
        if kind is not LoadKind.WAKE:
            self._load_s[engine_id] = seconds

    def note_speed(self, engine_id: str, tokens_per_s: float) -> None:
        """Take over a speed that was measured here; it replaces what was known."""
        self._tokens_per_s[engine_id] = tokens_per_s

    def note_memory(self, engine_id: str, peak_gib: float) -> bool:
        """A peak of one load; whether it says more than what was known."""
        if peak_gib <= self._memory_gib.get(engine_id, -1.0):
            return False
        self._memory_gib[engine_id] = peak_gib
        return True

    def _note(self, engine_id: str, rate: Rate) -> None:
        if rate.load_s is not None:
            self._load_s[engine_id] = rate.load_s
        if rate.tokens_per_s is not None:
            self._tokens_per_s[engine_id] = rate.tokens_per_s
        if rate.memory_gib is not None:
            self._memory_gib[engine_id] = rate.memory_gib
        for kind, seconds in zip(LoadKind, (rate.cold_s, rate.warm_s, rate.wake_s), strict=True):
            if seconds is not None:
                self._by_kind[kind][engine_id] = seconds
