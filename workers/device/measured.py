"""Costs of loads and work on this device: measured here, remembered in the store."""

from collections.abc import Mapping

from orchestrator.batching import Rates
from orchestrator.domain.devices import Rate


class Measurements:
    """Seconds of a load and estimated tokens per second, by engine.

    Args:
        device: what was measured there goes first; elsewhere is the fallback.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._load_s: dict[str, float] = {}
        self._tokens_per_s: dict[str, float] = {}

    @property
    def rates(self) -> Rates:
        """As of now; for any thread."""
        return Rates(dict(self._load_s), dict(self._tokens_per_s))

    def read(self, stored: Mapping[tuple[str, str], Rate]) -> None:
        """Take over what is stored; what was only measured here so far stays."""
        means = Rates.over_devices(stored)
        self._load_s.update(means.load_s)
        self._tokens_per_s.update(means.tokens_per_s)
        for (engine_id, device), rate in stored.items():
            if device == self._device:
                self._note(engine_id, rate)

    def note_load(self, engine_id: str, seconds: float) -> None:
        self._load_s[engine_id] = seconds

    def note_speed(self, engine_id: str, tokens_per_s: float) -> None:
        self._tokens_per_s[engine_id] = tokens_per_s

    def _note(self, engine_id: str, rate: Rate) -> None:
        if rate.load_s is not None:
            self._load_s[engine_id] = rate.load_s
        if rate.tokens_per_s is not None:
            self._tokens_per_s[engine_id] = rate.tokens_per_s
