"""Devices: what each serves, which engine it may load next, and what loads and work cost there."""

import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from orchestrator.domain.devices import LIVE_S, DeviceMemory, DeviceReport, DeviceState, LoadKind, Rate
from orchestrator.errors import NotFoundError
from orchestrator.store import tables as t
from orchestrator.store.codec import checked_name
from orchestrator.store.database import db_now, upsert

_ANNOUNCING = 0x6D757375
"""PostgreSQL's advisory lock of `announce`; on SQLite the write lock serves."""

_FAULTY: Final[tuple[DeviceState, ...]] = ("cooling", "down")
_HOLDING: Final[tuple[DeviceState, ...]] = ("loading", "resident")

_TIMES: Final = ("seen_s", "state_s", "next_try_s")

_FORGET_S = 3600.0
_DAY_S = 86_400.0


def report(conn: Connection, device: DeviceReport) -> None:
    """See `ports.jobs.DeviceStore`; it has been in its state since it first said so.

    Raises:
        StoreError: a name that cannot be stored.
    """
    names = {name: checked_name(name, getattr(device, name)) for name in ("owner", "device", "host")}
    engine_id = None if device.engine_id is None else checked_name("engine", device.engine_id)
    now = {"engine_id": engine_id, "state": device.state, "seen_at": db_now(), "since": db_now()}
    statement = upsert(conn, t.device).values(**names, **now, **_told(device))
    d, new = t.device.c, statement.excluded
    is_same = (d.state == new.state) & d.engine_id.is_not_distinct_from(new.engine_id)
    values: dict[str, ColumnElement[Any]] = {c.name: new[c.name] for c in t.device.c if not c.primary_key}
    values["since"] = case((is_same, d.since), else_=new.since)
    conn.execute(statement.on_conflict_do_update(index_elements=list(t.device.primary_key), set_=values))


def _told(device: DeviceReport) -> dict[str, Any]:
    """What a device says beside its state; texts of errors as the database takes them."""
    texts = {name: getattr(device, name) for name in ("config_hash", "code", "why", "heal")}
    storable = {name: text and text.replace("\x00", " ") for name, text in texts.items()}
    serves = None if device.serves is None else json.dumps(device.serves)
    next_try_at = None if device.next_try_s is None else db_now() + device.next_try_s
    memory = None if device.memory is None else device.memory.model_dump_json()
    return {**storable, "serves": serves, "memory": memory, "next_try_at": next_try_at}


def touch(conn: Connection, owners: Sequence[str]) -> None:
    """See `ports.jobs.DeviceStore`."""
    d = t.device.c
    locked = select(d.owner).where(d.owner.in_(owners)).order_by(d.owner).with_for_update()
    found = list(conn.execute(locked).scalars())
    conn.execute(update(t.device).where(d.owner.in_(found)).values(seen_at=db_now()))


def seen(conn: Connection, max_age_s: float, *, faulty: bool = False) -> list[DeviceReport]:
    """Engines that devices hold, or else that they cannot serve now."""
    rows = conn.execute(_seen(max_age_s, faulty=faulty)).mappings()
    return [_report(row) for row in rows]


@lru_cache(maxsize=8)
def _seen(max_age_s: float, *, faulty: bool) -> Select[Any]:
    d = t.device.c
    is_wanted = d.state.in_(_FAULTY) if faulty else d.state.not_in(_FAULTY)
    times = (db_now() - d.seen_at, db_now() - d.since, d.next_try_at - db_now())
    columns = (
        d.owner,
        d.device,
        d.engine_id,
        d.state,
        d.host,
        d.config_hash,
        d.serves,
        d.memory,
        d.code,
        d.why,
        d.heal,
    )
    found = select(*columns, *(time.label(name) for name, time in zip(_TIMES, times, strict=True)))
    return found.where(_seen_within(max_age_s), is_wanted).order_by(d.owner)


def _report(row: Mapping[Any, Any]) -> DeviceReport:
    passed = {name: None if row[name] is None else max(0.0, row[name]) for name in _TIMES}
    serves = None if row["serves"] is None else json.loads(row["serves"])
    memory = None if row["memory"] is None else DeviceMemory.model_validate_json(row["memory"])
    return DeviceReport.model_validate({**row, **passed, "serves": serves, "memory": memory})


def forget(conn: Connection, owner: str) -> None:
    """See `ports.jobs.DeviceStore`."""
    conn.execute(delete(t.device).where(t.device.c.owner == owner))


def forget_gone(conn: Connection) -> None:
    """Forget devices that were not heard of for `_FORGET_S`."""
    d = t.device.c
    gone = select(d.owner).where(d.seen_at < db_now() - _FORGET_S).with_for_update(skip_locked=True)
    if owners := list(conn.execute(gone).scalars()):
        conn.execute(delete(t.device).where(d.owner.in_(owners)))


class Elsewhere(NamedTuple):
    """Other live devices that have an engine or load it; for how long each of the latter has."""

    n_devices: int = 0
    loading_s: tuple[float, ...] = ()


def elsewhere(conn: Connection, owner: str) -> dict[str, Elsewhere]:
    """By engine, the live devices of other owners that have it or load it."""
    found: dict[str, Elsewhere] = {}
    for row in conn.execute(_held_by_others(), {"by": owner}):
        n_devices, loading_s = found.get(row.engine_id, Elsewhere())
        loading = (max(0.0, row.state_s),) if row.state == "loading" else ()
        found[row.engine_id] = Elsewhere(n_devices + 1, loading_s + loading)
    return found


@cache
def _held_by_others() -> Select[Any]:
    d = t.device.c
    held = select(d.engine_id, d.state, (db_now() - d.since).label("state_s")).where(
        d.owner != bindparam("by"), d.engine_id.is_not(None), d.state.in_(_HOLDING), _seen_within(LIVE_S)
    )
    return held.order_by(d.engine_id, d.since)


def unserved_s(conn: Connection) -> dict[str, float]:
    """Seconds since a device last gave up each engine that was loaded in the last day."""
    return {row.engine_id: max(0.0, row.seconds) for row in conn.execute(_left())}


@cache
def _left() -> Select[Any]:
    load = t.engine_load.c
    left = select(load.engine_id, (db_now() - func.max(load.left_at)).label("seconds")).where(
        load.at >= db_now() - _DAY_S, load.left_at.is_not(None)
    )
    return left.group_by(load.engine_id)


def announce(conn: Connection, owner: str, engine_id: str, *, n_others: int) -> bool:
    """See `ports.jobs.DeviceStore`; `n_others` is its `n_elsewhere`.

    Raises:
        NotFoundError: the owner reported no device.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ANNOUNCING})
    if elsewhere(conn, owner).get(engine_id, Elsewhere()).n_devices > n_others:
        return False
    engine = checked_name("engine", engine_id)
    values = {"engine_id": engine, "state": "loading", "seen_at": db_now(), "since": db_now()}
    if not conn.execute(update(t.device).where(t.device.c.owner == owner).values(**values)).rowcount:
        raise NotFoundError(f"no device of owner '{owner}'.", remedy="Report the device first.")
    return True


def rates(conn: Connection) -> dict[tuple[str, str], Rate]:
    """Measured costs by (engine id, kind of device)."""
    r = t.rate.c
    rows = conn.execute(select(r.engine_id, r.device, *(r[name] for name in Rate._fields)))
    return {(engine_id, device): Rate(*costs) for engine_id, device, *costs in rows}


def record_rate(conn: Connection, engine_id: str, device: str, rate: Rate) -> None:
    """See `ports.jobs.CostStore.record_costs`; None leaves what is stored as it is.

    Raises:
        StoreError: a name that cannot be stored.
    """
    row = {"engine_id": checked_name("engine", engine_id), "device": checked_name("device", device)}
    statement = upsert(conn, t.rate).values(**row, **rate._asdict())
    values: dict[str, ColumnElement[Any]] = {
        name: func.coalesce(
            (t.rate.c[name] + statement.excluded[name]) / 2, statement.excluded[name], t.rate.c[name]
        )
        for name in rate._fields
    }
    old, new = t.rate.c.memory_gib, statement.excluded.memory_gib
    values["memory_gib"] = case((new > old, new), else_=values["memory_gib"])  # a peak; what is less fades in
    conn.execute(statement.on_conflict_do_update(index_elements=list(t.rate.primary_key), set_=values))


def record_load(
    conn: Connection, *, engine_id: str, device: str, owner: str, seconds: float, kind: LoadKind
) -> None:
    """See `ports.jobs.CostStore`."""
    row = {"engine_id": engine_id, "device": device, "owner": owner, "seconds": seconds, "kind": kind.value}
    conn.execute(insert(t.engine_load).values(at=db_now(), **row))


def record_leave(conn: Connection, owner: str) -> None:
    """See `ports.jobs.CostStore`; harmless if nothing was loaded."""
    last = select(func.max(t.engine_load.c.pk)).where(t.engine_load.c.owner == owner).scalar_subquery()
    conn.execute(
        update(t.engine_load)
        .where(t.engine_load.c.pk == last, t.engine_load.c.left_at.is_(None))
        .values(left_at=db_now())
    )


def _seen_within(seconds: float) -> ColumnElement[bool]:
    """One from the future was made before the clock was set back: the next one tells whether it lives."""
    seen_at = t.device.c.seen_at
    return (seen_at >= db_now() - seconds) & (seen_at <= db_now() + LIVE_S)
