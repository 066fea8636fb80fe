"""`keys`: who may use the API, for what, and for how much."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import session_of
from api.digits import digits

if TYPE_CHECKING:
    from rich.table import Table

    from api.schemas.keys import KeyView

_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

FIRST_KEY = (
    "This is the first key: from now on every call to the server needs one, also when all are revoked. "
    "This command line needs none."
)


def keys_create(
    ctx: typer.Context,
    name: Annotated[str, typer.Option(help="For people.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="ask, batch or admin; several. Default: ask.")
    ] = None,
    expert: Annotated[
        list[str] | None, typer.Option(help="An expert that may be asked; several. Default: all.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="90d, 12h, or 2027-01-31[T12:00+01:00]. Default: never.")
    ] = None,
    rpm: Annotated[int | None, typer.Option("--rpm", min=1, help="Requests per minute.")] = None,
    tpm: Annotated[int | None, typer.Option("--tpm", min=1, help="Tokens per minute.")] = None,
    usd: Annotated[float | None, typer.Option(help="Budget in USD.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Budget in tokens.")] = None,
    engine_seconds: Annotated[float | None, typer.Option(help="Budget in seconds of engines.")] = None,
    per: Annotated[str, typer.Option(help="Of budgets: day, month or total.")] = "month",
) -> None:
    """Make a key. Its secret is shown this once.

    From the first key on every call of the API needs one.
    """
    from pydantic import ValidationError

    from api.schemas.keys import KeyBudgetWire, KeyRequest
    from api.views.keys import key_terms, new_key_view
    from orchestrator.bootstrap.keys import open_keys

    limits = {"tokens": tokens, "usd": usd, "engine_seconds": engine_seconds}
    try:
        has_budget = any(limit is not None for limit in limits.values())
        wanted = KeyRequest.model_validate(
            {
                "name": name,
                "scopes": scope or ["ask"],
                "experts": expert,
                "expires_at": None if expires is None else _moment(expires),
                "requests_per_minute": rpm,
                "tokens_per_minute": tpm,
                "budget": KeyBudgetWire.model_validate({"per": per, **limits}) if has_budget else None,
            }
        )
    except ValidationError as error:
        from api.errors import fields_error

        raise fields_error(error.errors()) from None
    from rich.text import Text

    session = session_of(ctx)
    with open_keys(session.settings()) as keys:
        is_first = not keys.are_needed()
        view = new_key_view(*keys.create(key_terms(wanted)))
    session.emit(
        view.model_dump(mode="json"),
        Text(view.secret, style="bold"),
        f"{view.id} ({', '.join(view.scopes)}). Keep the secret above: it is not shown again.",
    )
    if is_first:
        session.remark(FIRST_KEY)


def keys_list(ctx: typer.Context) -> None:
    """List keys, revoked and expired ones included; the newest first."""
    from api.views.keys import key_views
    from orchestrator.bootstrap.keys import open_keys

    session = session_of(ctx)
    with open_keys(session.settings()) as keys:
        views = key_views(keys)
    session.emit([view.model_dump(mode="json") for view in views], _table(views))


def keys_revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="A key of `muster keys list`.")],
) -> None:
    """End a key for good: within two seconds it is refused everywhere."""
    import time

    from api.views.keys import key_view
    from orchestrator.bootstrap.keys import open_keys

    session = session_of(ctx)
    with open_keys(session.settings()) as keys:
        view = key_view(keys.revoke(key_id), now_s=time.time())
    session.emit(view.model_dump(mode="json"), f"{view.id} is revoked.")


def _moment(text: str) -> int:
    """Seconds since 1970 of a span from now (`90d`) or of a date, which is in UTC unless it says otherwise.

    Raises:
        InputError: it is neither.
    """
    from orchestrator.errors import InputError

    if span := _SPAN.fullmatch(text):
        try:
            then = datetime.now(UTC) + timedelta(**{_UNITS[span[2]]: int(span[1])})
        except OverflowError:
            raise InputError(f"--expires {text}: there is no such year.", param="expires") from None
        return int(then.timestamp())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"--expires {text[:80]!r} is no time.", param="expires", remedy="Write 90d, 12h or 2027-01-31."
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _table(views: "list[KeyView]") -> "Table":
    from api.cli.tables import table

    columns = ("id", "key", "name", "state", "scopes", "experts", "expires", "budget")
    result = table("Keys", *columns, whole=["id", "key"])
    for view in views:
        experts = "all" if view.experts is None else ", ".join(view.experts)
        terms = (view.name, view.state, ", ".join(view.scopes), experts, _date(view))
        result.add_row(view.id, view.key, *terms, _budget(view))
    return result


def _budget(view: "KeyView") -> str:
    """What is used of a budget, and of how much: `1,200 of 5,000 tokens a day`."""
    if view.budget is None:
        return "none"
    per = "in all" if view.budget.per == "total" else f"a {view.budget.per}"
    units = ("tokens", "usd", "engine_seconds")
    parts = [
        f"{digits(0 if view.used is None else getattr(view.used, unit), 12)} of {digits(limit, 12)} "
        + unit.replace("_", " ")
        for unit in units
        if (limit := getattr(view.budget, unit)) is not None
    ]
    return f"{', '.join(parts)} {per}"


def _date(view: "KeyView") -> str:
    if view.expires_at is None:
        return "never"
    return datetime.fromtimestamp(view.expires_at, UTC).strftime("%Y-%m-%d %H:%M")
