"""A loaded engine becomes a lane: its experts, how much it takes at once, how long it may be silent."""

import math
from collections.abc import Container, Mapping
from functools import partial

from orchestrator.domain.experts import EngineSpec, Pool
from orchestrator.ports.engines import Engine
from workers.backends.http.calls import CallOptions
from workers.backends.http.limits import WINDOW_S
from workers.backends.registry import width_of
from workers.device.kit import Kit
from workers.device.lane import Lane, Room, Waiting, shard_room, slot_room
from workers.device.loading import experts_of
from workers.device.seat import NOTHING, Seat
from workers.pieces import Writers


class LaneMaker:
    """Makes lanes for the engines of a pool.

    Args:
        remote: engines that run elsewhere.
        waiting: work that waits for an engine.
        writers: who is told of the text of unfinished responses.
    """

    def __init__(
        self,
        kit: Kit,
        pool: Pool,
        *,
        remote: Container[str],
        waiting: Waiting,
        writers: Writers | None,
    ) -> None:
        self._kit = kit
        self._pool = pool
        self._remote = remote
        self._waiting = waiting
        self._writers = writers

    def __call__(self, engine_id: str, engine: Engine, left_out: Mapping[str, str]) -> Lane:
        """Args: left_out: adapters that the engine was loaded without, and why."""
        spec = self._pool.known_engines[engine_id]
        if engine_id in self._remote:
            return self._remote_lane(spec, engine)
        return self._lane(spec, engine, left_out)

    def _lane(self, spec: EngineSpec, engine: Engine, left_out: Mapping[str, str]) -> Lane:
        seat = self._seat(
            spec,
            engine,
            left_out=left_out,
            request_timeout_s=self._kit.pace.request_timeout_s,
            hang_timeout_s=self._kit.settings.hang_timeout_s,
        )
        room = partial(
            shard_room,
            width=_positive(spec, "max_num_seqs") or _positive(spec, "concurrent") or width_of(spec.backend),
            target_s=self._kit.settings.shard_s,
            pace=self._kit.pace,
            waiting=self._waiting,
        )
        return self._lane_of(seat, room)

    def _remote_lane(self, spec: EngineSpec, engine: Engine) -> Lane:
        """A request may wait there long for its turn (requests a minute): only its call is timed, by the
        engine itself. Silence for longer than a wait and a call can take is still a hang."""
        patience = _call_options(spec)
        silence_s = WINDOW_S + patience.patience_s + patience.deadline_s
        seat = self._seat(
            spec,
            engine,
            request_timeout_s=math.inf,
            hang_timeout_s=self._kit.settings.hang_timeout_s + silence_s,
        )
        return self._lane_of(seat, partial(slot_room, width=patience.max_concurrent))

    def _lane_of(self, seat: Seat, room: Room) -> Lane:
        max_attempts = self._kit.settings.max_attempts
        return Lane(
            seat,
            ledger=self._kit.ledger,
            faults=self._kit.faults,
            strangers=self._kit.strangers,
            pace=self._kit.pace,
            room=room,
            max_attempts=max_attempts,
            meter=self._kit.meter,
        )

    def _seat(
        self,
        spec: EngineSpec,
        engine: Engine,
        *,
        request_timeout_s: float,
        hang_timeout_s: float,
        left_out: Mapping[str, str] = NOTHING,
    ) -> Seat:
        return Seat(
            spec.id,
            engine,
            experts=experts_of(self._pool, spec.id),
            left_out=left_out,
            clock=self._kit.clock,
            request_timeout_s=request_timeout_s,
            hang_timeout_s=hang_timeout_s,
            writers=self._writers,
            takes_device=spec.id not in self._remote,
        )


def _call_options(spec: EngineSpec) -> CallOptions:
    """What remote backends have in common; their loads have checked it."""
    known = {name: value for name, value in spec.options.items() if name in CallOptions.model_fields}
    return CallOptions.model_validate(known)


def _positive(spec: EngineSpec, option: str) -> int | None:
    value = spec.options.get(option)
    return value if isinstance(value, int) and value > 0 else None
