"""Costs of engines on several kinds of devices: what was measured, and what that tells of what was not."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from orchestrator.batching.devices import EQUAL, Device, Speeds
from orchestrator.batching.rates import Rates
from orchestrator.domain.devices import Rate

_ROUNDS = 60


class _Effects(NamedTuple):
    """Logarithms that add up to a measured one: of an engine, and of a kind."""

    engine: Mapping[str, float]
    kind: Mapping[str, float]


class Kinds:
    """Rates by kind of device, from those measured by (engine, kind).

    An engine's cost on a kind where it was not measured is that of the kinds where it was, times how these
    kinds compare on the engines that were measured on both, directly or by way of a third: the logarithm is
    taken for the sum of what the engine and what the kind adds (least squares by turns). Kinds that have no
    engine in common count as equal.
    """

    def __init__(self, measured: Mapping[tuple[str, str], Rate]) -> None:
        self._loads = _positive((key, rate.load_s) for key, rate in measured.items())
        self._speeds = _positive((key, rate.tokens_per_s) for key, rate in measured.items())
        self._of_loads, self._of_speeds = _fitted(self._loads), _fitted(self._speeds)

    @property
    def names(self) -> frozenset[str]:
        """Kinds on which something was measured."""
        return frozenset(kind for _, kind in (*self._loads, *self._speeds))

    def rates(self, kind: str) -> Rates:
        """Costs on one kind of device."""
        return Rates(_on(kind, self._loads, self._of_loads), _on(kind, self._speeds, self._of_speeds))

    def device(self, kind: str, *, seen_from: str) -> Device:
        """One kind of device relative to another, with all of its memory."""
        if kind == seen_from:
            return EQUAL
        speed = _ratio(self._of_speeds, kind, seen_from)
        load_speed = 1 / _ratio(self._of_loads, kind, seen_from)
        speeds = self._compared(self._speeds, kind, seen_from)
        loads = self._compared(self._loads, kind, seen_from)
        own = {e: Speeds(speeds.get(e, speed), 1 / loads.get(e, 1 / load_speed)) for e in {*speeds, *loads}}
        return Device(speed, load_speed, measured=own)

    @staticmethod
    def _compared(logs: Mapping[tuple[str, str], float], kind: str, seen_from: str) -> dict[str, float]:
        """Of the engines that were measured on both, how much larger the value is on the first."""
        return {
            engine_id: math.exp(log - logs[engine_id, seen_from])
            for (engine_id, on), log in logs.items()
            if on == kind and (engine_id, seen_from) in logs
        }


def _positive(
    values: Iterable[tuple[tuple[str, str], float | None]],
) -> dict[tuple[str, str], float]:
    return {key: math.log(value) for key, value in values if value is not None and value > 0}


def _fitted(logs: Mapping[tuple[str, str], float]) -> _Effects:
    engine = dict.fromkeys((e for e, _ in logs), 0.0)
    kind = dict.fromkeys((k for _, k in logs), 0.0)
    for _ in range(_ROUNDS if len(kind) > 1 else 1):
        engine = _means((e, log - kind[k]) for (e, k), log in logs.items())
        kind = _means((k, log - engine[e]) for (e, k), log in logs.items()) if len(kind) > 1 else kind
    return _Effects(engine, kind)


def _means(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, tuple[float, int]] = {}
    for key, value in values:
        total, n = sums.get(key, (0.0, 0))
        sums[key] = (total + value, n + 1)
    return {key: total / n for key, (total, n) in sums.items()}


def _on(kind: str, logs: Mapping[tuple[str, str], float], effects: _Effects) -> dict[str, float]:
    """Of each engine that was measured somewhere; as measured where that was on this kind."""
    of_kind = effects.kind.get(kind, 0.0)
    return {
        engine_id: float(f"{math.exp(logs.get((engine_id, kind), effect + of_kind)):.12g}")  # as it was told
        for engine_id, effect in effects.engine.items()
    }


def _ratio(effects: _Effects, kind: str, seen_from: str) -> float:
    if kind not in effects.kind or seen_from not in effects.kind:
        return 1.0
    return math.exp(effects.kind[kind] - effects.kind[seen_from])
