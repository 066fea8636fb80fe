"""What loads and work cost on this device: measured here, remembered in the store."""

from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

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
        for engine_id, mean in _means(stored).items():
            self._note(engine_id, mean)
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


def _means(stored: Mapping[tuple[str, str], Rate]) -> dict[str, Rate]:
    """Per engine, over all devices."""
    found: dict[str, list[Rate]] = defaultdict(list)
    for (engine_id, _), rate in stored.items():
        found[engine_id].append(rate)
    return {
        engine_id: Rate(
            load_s=_mean([r.load_s for r in rates if r.load_s is not None]),
            tokens_per_s=_mean([r.tokens_per_s for r in rates if r.tokens_per_s is not None]),
        )
        for engine_id, rates in found.items()
    }


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None
