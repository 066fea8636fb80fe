"""Pages of the whole: compositions and what they gained, engines and devices, keys."""

import time
import uuid
from pathlib import Path
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Form, Request, Response
from pydantic import ValidationError
from starlette.responses import HTMLResponse

from api.dashboard.calibration import plots
from api.dashboard.login import keep_key
from api.dashboard.rendering import PageRoute, page, see_other
from api.dashboard.scatter import scatter
from api.deps import AppDep, CallerDep, Requires
from api.errors import fields_error
from api.schemas.experts import EngineView
from api.schemas.keys import KeyRequest
from api.views.experts import engine_view
from api.views.health import ready_view
from api.views.keys import key_terms, key_views
from orchestrator.bootstrap.app import App
from orchestrator.domain.keys import Scope
from orchestrator.domain.names import model_names
from orchestrator.errors import InputError
from orchestrator.evaluation.compositions import REPORT_FILE, CompositionsReport

DAY_S = 86_400
MOST_DAYS = 3650
"""That a key made here may last; `muster keys create` takes any."""
PATIENCE_S = 0.3
"""A page waits so long for checks: the first look builds every composition."""

ADMIN = [Depends(Requires(Scope.ADMIN))]

router = APIRouter(route_class=PageRoute, include_in_schema=False)


class EngineRow(NamedTuple):
    """An engine, the calls that wait for it, and whether nobody whom it serves is recruited."""

    state: EngineView
    waiting: int
    oldest_s: float
    is_paused: bool


@router.get("/compositions")
def compositions_page(request: Request, app: AppDep) -> Response:
    """Ways to combine the experts, as they were compared last on this pool."""
    report = last_report(Path(app.settings.muster.data_dir) / REPORT_FILE)
    charts = (
        []
        if report is None
        else [
            ("Accuracy over operations (gigaflop a question)", scatter(report.rows, by_seconds=False)),
            ("Accuracy over seconds of the run, loads included", scatter(report.rows, by_seconds=True)),
        ]
    )
    names = model_names(app.asking.compositions, ())
    calibration = [] if report is None else plots(report.rows)
    return page(
        request,
        "compositions.html",
        report=report,
        charts=charts,
        plots=calibration,
        names=names,
    )


@router.get("/system")
def system_page(request: Request, app: AppDep, caller: CallerDep) -> Response:
    """Checks, devices, engines and what waits for them."""
    health = app.checks.health(within_s=PATIENCE_S)
    queues = app.metrics.queues()
    among = {expert.engine.id for expert in app.experts.of(caller).values()}
    paused = app.pauses.paused()
    at_work = {e.engine.id for e in app.pool.experts if e.id not in paused}
    rows = [
        EngineRow(
            engine_view(state),
            queues[engine_id].n_waiting if engine_id in queues else 0,
            queues[engine_id].oldest_wait_s if engine_id in queues else 0.0,
            engine_id not in at_work,
        )
        for engine_id, state in app.engines.states(among=sorted(among)).items()
    ]
    rows.sort(key=lambda row: (row.state.state in ("ready", "loading"), -row.waiting))
    return page(
        request,
        "system.html",
        ready=ready_view(health.checks, health.engines),
        pending=health.pending,
        engines=rows,
        devices=app.engines.devices() if caller.is_admin else [],
        config_hash=app.config_hash,
    )


@router.get("/keys", dependencies=ADMIN)
def keys_page(request: Request, app: AppDep) -> Response:
    """Keys, and the form of a new one."""
    return _keys_page(request, app)


@router.post("/keys", dependencies=ADMIN)
def make_key(
    request: Request,
    app: AppDep,
    scopes: Annotated[list[str] | None, Form()] = None,
    name: Annotated[str, Form()] = "",
    days: Annotated[str, Form(max_length=16)] = "",
    nonce: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """A new key, shown this once; a form that comes twice makes one. Who makes the first goes on under it."""
    if not scopes:
        raise InputError("choose at least one thing that the key may do.", param="scopes")
    try:
        wanted = KeyRequest.model_validate({"name": name, "scopes": scopes, "expires_at": _expires_at(days)})
    except ValidationError as error:
        raise fields_error(error.errors()) from error
    is_first = not app.keys.are_needed()
    if is_first and Scope.ADMIN.value not in wanted.scopes:
        raise InputError("the first key must be an admin's: nobody could make another.", param="scopes")
    _, secret = app.keys.create(key_terms(wanted), nonce=nonce)
    response = _keys_page(request, app, made=secret)
    if is_first:
        keep_key(request, response, secret)
    return response


@router.post("/keys/{key_id}/revoke", dependencies=ADMIN)
def revoke_key(key_id: str, app: AppDep) -> Response:
    """A key is ended for good."""
    app.keys.revoke(key_id)
    return see_other("/keys")


def last_report(path: Path) -> CompositionsReport | None:
    """The last comparison of compositions; None = there is none, or it is of another version."""
    try:
        return CompositionsReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _keys_page(request: Request, app: App, *, made: str | None = None) -> HTMLResponse:
    """The page of keys. `made`: the secret of the new one."""
    keys = key_views(app.keys)
    n_admins = sum(key.state == "valid" and Scope.ADMIN.value in key.scopes for key in keys)
    return page(
        request,
        "keys.html",
        keys=keys,
        made=made,
        most_days=MOST_DAYS,
        n_admins=n_admins,
        nonce=uuid.uuid4().hex,
    )


def _expires_at(days: str) -> int | None:
    if not days.strip():
        return None
    if not days.strip().isdecimal() or not 1 <= int(days) <= MOST_DAYS:
        raise InputError(f"days: give a whole number from 1 to {MOST_DAYS}.", param="days")
    return int(time.time()) + int(days) * DAY_S
