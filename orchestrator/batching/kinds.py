"""Costs of engines on several kinds of devices: what was measured, and what that tells of what was not."""

import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from types import MappingProxyType
from typing import NamedTuple

from orchestrator.batching.devices import EQUAL, Device, Speeds
from orchestrator.batching.rates import Rates
from orchestrator.domain.devices import Rate

_DRAWN = 1e-8
"""Weight of what is expected of a kind, in measurements: it decides only what they leave open."""

_WORK_PER_LOAD = 1.5
"""By how much the speeds of work of two kinds differ for each part by which their loads do, in the logarithm,
as long as no engine worked on both. More than 1: a part of a load takes the same time everywhere."""


class _Effects(NamedTuple):
    """Logarithms that add up to a measured one: of an engine, and of a kind."""

    engine: Mapping[str, float]
    kind: Mapping[str, float]


class Kinds:
    """Rates by kind of device, from those measured by (engine, kind).

    An engine's cost on a kind where it was not measured is that of the kinds where it was, times how these
    kinds compare on the engines that were measured on both, directly or by way of a third: the logarithm is
    taken for the sum of what the engine and what the kind adds (least squares). Kinds on which no common
    engine was loaded count as equal; those on which none has worked differ in work as their loads do.
    """

    def __init__(self, measured: Mapping[tuple[str, str], Rate]) -> None:
        self._loads = _positive((key, rate.load_s) for key, rate in measured.items())
        self._speeds = _positive((key, rate.tokens_per_s) for key, rate in measured.items())
        self._of_loads = _fitted(self._loads)
        quicker = {kind: -_WORK_PER_LOAD * log for kind, log in self._of_loads.kind.items()}
        self._of_speeds = _fitted(self._speeds, expected=quicker)

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


def _fitted(
    logs: Mapping[tuple[str, str], float], expected: Mapping[str, float] = MappingProxyType({})
) -> _Effects:
    """Least squares of value = engine + kind, drawn towards what is `expected` of the kinds as far as nothing
    was measured that tells them apart. The engines' part is a mean, and left out of the equations.
    """
    kinds = sorted({kind for _, kind in logs} | set(expected))
    by_engine: dict[str, dict[str, float]] = {}
    for (engine_id, kind), log in logs.items():
        by_engine.setdefault(engine_id, {})[kind] = log
    rows = {kind: dict.fromkeys(kinds, 0.0) | {kind: _DRAWN} for kind in kinds}
    right = {kind: _DRAWN * expected.get(kind, 0.0) for kind in kinds}
    for values in by_engine.values():
        mean = fmean(values.values())
        for kind, log in values.items():
            right[kind] += log - mean
            rows[kind][kind] += 1.0
            for other in values:
                rows[kind][other] -= 1 / len(values)
    of_kind = _solved(rows, right)
    of_engine = {e: fmean(log - of_kind[kind] for kind, log in of.items()) for e, of in by_engine.items()}
    return _Effects(of_engine, of_kind)


def _solved(rows: Mapping[str, Mapping[str, float]], right: Mapping[str, float]) -> dict[str, float]:
    """Solution of linear equations, an unknown for each row, whose matrix is positive definite (elimination,
    which then needs no pivots)."""
    left, value = {kind: dict(row) for kind, row in rows.items()}, dict(right)
    for pivot in left:
        for kind in left:
            if kind != pivot and (factor := left[kind][pivot] / left[pivot][pivot]):
                value[kind] -= factor * value[pivot]
                left[kind] = {other: x - factor * left[pivot][other] for other, x in left[kind].items()}
    return {kind: value[kind] / left[kind][kind] for kind in left}


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
