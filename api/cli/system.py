"""`config`, `doctor` and `models`: is everything in place?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import Session, session_of
from api.cli.zoo import zoo_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.domain.diagnoses import Diagnosis


def config_check(
    ctx: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Look into all weights: headers, chat templates, tokenizers.")
    ] = False,
) -> None:
    """Check the configuration; exit code 2 and the places of all mistakes when it cannot be used."""
    from orchestrator.bootstrap.pool_file import check_pool_file

    session = session_of(ctx)
    session.quiet.doing("looking into the weights" if deep else "checking the pool file")
    settings, pool, names, remarks, n_folders = check_pool_file(session.config_path(), deep=deep)
    payload = {
        "file": settings.source,
        "experts": [expert.id for expert in pool.experts],
        "engines": list(pool.engines),
        "compositions": list(names),
        "remarks": list(remarks),
        "n_folders": n_folders,
    }
    looked = f", {n_folders} folders of weights looked into" if deep else ""
    line = (
        f"{settings.source}: {len(pool.experts)} experts on {len(pool.engines)} engines{looked}; no mistakes."
    )
    session.emit(payload, *remarks, line)


def config_zoo(ctx: typer.Context) -> None:
    """Print where the pool file of the zoo is: the example pool, which comes with Muster."""
    file = str(zoo_file("pool.yaml"))
    if session_of(ctx).as_json:
        session_of(ctx).emit({"file": file})
    else:
        print(file)  # in one line, however long: it is made for `$(…)`


def config_example(ctx: typer.Context) -> None:
    """Print a pool file with comments, to start from."""
    from orchestrator.settings.reference import example

    _print_text(ctx, example())


def config_reference(ctx: typer.Context) -> None:
    """Print every key of a pool file, with its type, default and meaning, as Markdown."""
    from orchestrator.settings.reference import reference

    _print_text(ctx, reference())


def _print_text(ctx: typer.Context, text: str) -> None:
    if session_of(ctx).as_json:
        session_of(ctx).emit({"text": text})
    else:
        print(text, end="")


def doctor(
    ctx: typer.Context,
    fleet: Annotated[
        bool, typer.Option("--fleet", help="All hosts of the stack: processes, devices, versions, clocks.")
    ] = False,
) -> None:
    """Check what a question needs to be answered; exit code 1 when something is missing.

    With --fleet: hosts, processes, devices and engines of the stack, and what is wrong with them.
    """
    from api.cli.tables import checks_table
    from orchestrator.bootstrap.checks import sandbox_layers
    from orchestrator.domain.diagnoses import Diagnosis
    from orchestrator.errors import StoreError

    session = session_of(ctx)
    if fleet:
        _fleet_doctor(session)
        return
    try:
        with session.app() as app:
            session.quiet.doing("building every composition")
            checks = app.checks.diagnose()
    except StoreError as error:  # without a database nothing else can be looked at but this machine
        checks = [Diagnosis("database", False, str(error))]
    checks = [*checks, *_packages()]
    is_well = all(check.ok for check in checks)
    checks = [*checks, *sandbox_layers()]
    session.emit({"ok": is_well, "checks": [check._asdict() for check in checks]}, checks_table(checks))
    if not is_well:
        raise typer.Exit(1)


def _packages() -> "Iterator[Diagnosis]":
    """Muster's own packages: others may have put files into them."""
    from muster import REMEDY, shared
    from orchestrator.domain.diagnoses import Diagnosis

    for wrong in shared():
        yield Diagnosis("packages", False, wrong, REMEDY)


def _fleet_doctor(session: Session) -> None:
    from api.cli.fleet_tables import fleet_tables
    from api.views.system import system_view
    from orchestrator.bootstrap.app import open_app

    with open_app(session.stack_settings()) as app:
        state = app.fleet.desk.state()
    session.emit(system_view(state).model_dump(mode="json"), *fleet_tables(state))
    if not state.is_well:
        raise typer.Exit(1)


def migrate(ctx: typer.Context) -> None:
    """Bring the database's schema up to date, as the owner of its tables; others then need no such right."""
    from orchestrator.bootstrap.stack_parts import migrate as bring_up_to_date

    session = session_of(ctx)
    session.quiet.doing("bringing the schema up to date")
    revision = bring_up_to_date(session.settings())
    session.emit({"revision": revision}, f"The database's schema is at revision {revision}.")


def models_list(ctx: typer.Context) -> None:
    """List the small models that can be fetched."""
    from api.cli.tables import table
    from orchestrator.bootstrap.models import MODELS

    result = table("Models", "name", "package", "license")
    for name, model in sorted(MODELS.items()):
        result.add_row(name, model.name, model.license)
    payload = [
        {"name": name, "package": model.name, "license": model.license}
        for name, model in sorted(MODELS.items())
    ]
    session_of(ctx).emit(payload, result)


def models_fetch(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A name of `muster models list`.")],
    target: Annotated[Path, typer.Option("--to", help="Folder to put it in.")] = Path("models"),
) -> None:
    """Fetch a small model for the pool."""
    from orchestrator.bootstrap.models import fetch_model

    session = session_of(ctx)
    session.quiet.doing(f"fetching {name}")
    path = fetch_model(name, target)
    session.emit({"name": name, "path": str(path)}, f"{name}: {path}")


def models_forget(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="An expert, or an engine for all experts that share it.")],
) -> None:
    """Have the weights of an expert recorded anew by the next host that reads them.

    For weights that were replaced on purpose where the API has no copy of them; others go by their hash.
    """
    from orchestrator.bootstrap.app import open_app
    from orchestrator.errors import UnknownNameError

    session = session_of(ctx)
    with open_app(session.stack_settings()) as app:
        names = {*app.pool.by_id, *app.pool.engines}
        if name not in names:
            raise UnknownNameError("expert or engine", name, names, param="name")
        n = app.fleet.forget_weights(name)
    session.emit({"name": name, "forgotten": n}, f"Recorded weights of {n} experts are forgotten.")
