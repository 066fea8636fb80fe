"""Measured costs of engines, and what is assumed before anything was measured."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from orchestrator.domain.assignments import EngineBacklog
from orchestrator.domain.devices import Rate

DEFAULT_LOAD_S = 15.0
DEFAULT_TOKENS_PER_S = 500.0
"""Assumed until measured."""


class Rates(NamedTuple):
    """Measured costs per engine: seconds of a load, estimated tokens served per second."""

    load_s: Mapping[str, float]
    tokens_per_s: Mapping[str, float]

    @classmethod
    def over_devices(cls, measured: Mapping[tuple[str, str], Rate]) -> "Rates":
        """Costs per engine, from those by (engine, device): the mean over the devices that measured it."""
        loads: dict[str, list[float]] = defaultdict(list)
        speeds: dict[str, list[float]] = defaultdict(list)
        for (engine_id, _), rate in measured.items():
            if rate.load_s is not None:
                loads[engine_id].append(rate.load_s)
            if rate.tokens_per_s is not None:
                speeds[engine_id].append(rate.tokens_per_s)
        return cls(_means(loads), _means(speeds))

    def load(self, engine_id: str) -> float:
        """Time that a load of this engine takes, in seconds."""
        return self.load_s.get(engine_id, DEFAULT_LOAD_S)

    def seconds(self, engine_id: str, n_tokens: float) -> float:
        """Time that one device needs for so many estimated tokens, as `EngineBacklog` counts them."""
        return n_tokens / max(self.tokens_per_s.get(engine_id, DEFAULT_TOKENS_PER_S), 1e-9)

    def work(self, item: EngineBacklog) -> float:
        """Time that one device needs for an engine's waiting assignments, in seconds, without its load."""
        return self.seconds(item.engine_id, item.est_tokens)

    def extended(self, engine_ids: Iterable[str]) -> "Rates":
        """These rates, and for engines that were not measured yet the mean of those that were."""
        ids = tuple(engine_ids)
        return Rates(_with_mean(self.load_s, ids), _with_mean(self.tokens_per_s, ids))


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {engine_id: fmean(of_engine) for engine_id, of_engine in values.items()}


def _with_mean(measured: Mapping[str, float], engine_ids: Sequence[str]) -> Mapping[str, float]:
    known = dict(measured)  # another thread may be measuring
    return {**dict.fromkeys(engine_ids, fmean(known.values())), **known} if known else known


NO_RATES = Rates({}, {})
