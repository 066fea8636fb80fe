"""`merge`: several checkpoints become one expert, or one of a store comes back."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.quiet import AT_WORK
from api.cli.session import Session, session_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from orchestrator.bootstrap.app import App
    from orchestrator.domain.merges import MergeReport
    from orchestrator.services.jobs import OnProgress

REBUILD = "rebuild"
EVERY_S = 2.0
REFUSED = 1


def merge(
    ctx: typer.Context,
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE.yaml | rebuild", help="mergekit's YAML; or `rebuild DIR`.")
    ],
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Store to rebuild from.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the result.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of random masks.")] = None,
    preflight: Annotated[
        bool, typer.Option("--preflight", help="Only check, from headers and configurations.")
    ] = False,
    no_profile: Annotated[
        bool, typer.Option("--no-profile", help="Only merge: no measuring, no registration.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what an earlier merge made there.")] = False,
    expert: Annotated[str | None, typer.Option("--expert", help="With `rebuild`: whom.")] = None,
) -> None:
    """Merge checkpoints as a recipe says; kept as an expert if it earns its place on held-out questions.

    Exit code 0: merged (and registered, without --no-profile); 1: refused, or not worth keeping.
    """
    from orchestrator.bootstrap.merging import MergeLife, MergeOrder, check_order, run_order
    from orchestrator.errors import InputError

    session = session_of(ctx)
    if folder is not None or expert is not None or str(recipe) == REBUILD:
        _rebuild(session, str(recipe), folder, expert, out, force=force)
        return
    if out is None:
        raise InputError("no place for the result.", param="out", remedy="Give --out DIR.")
    order = MergeOrder(recipe, out, seed=seed, force=force)
    session.quiet.doing("reading headers")
    checked = check_order(order)
    session.quiet.doing(AT_WORK)
    if preflight or not checked.preflight.ok:
        _emit(session, checked.report())
        if not checked.preflight.ok:
            raise typer.Exit(REFUSED)
        return
    if no_profile:
        report = run_order(checked, on_progress=Progress())
        is_kept = report.merge.sha256 is not None
    else:
        life = MergeLife(session.settings())
        life.check(checked, force=force)
        report, is_kept = life.run(checked, on_progress=Progress(), showing=_shown)
    _emit(session, report)
    if not is_kept:
        raise typer.Exit(REFUSED)


def _rebuild(
    session: Session, word: str, store: Path | None, expert: str | None, out: Path | None, *, force: bool
) -> None:
    from orchestrator.bootstrap.merging import rebuild_expert
    from orchestrator.errors import InputError

    if word != REBUILD or store is None or expert is None or out is None:
        raise InputError("`rebuild` needs DIR, --expert and --out.", param="rebuild")
    _emit(session, rebuild_expert(store, expert, out, force=force))


def _shown(app: "App") -> "AbstractContextManager[OnProgress]":
    from api.cli.progress import job_progress

    return job_progress(app, "measuring")


class Progress:
    """A line on stderr now and then: tensors done."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() - self._at >= EVERY_S or done == of:
            self._at = time.monotonic()
            print(f"merging: {done} of {of} tensors", file=sys.stderr, flush=True)


def _emit(session: Session, report: "MergeReport") -> None:
    from api.cli.tables import problems_table

    figures = report.merge
    facts = [f"{figures.tensors} tensors"] if figures.tensors else []
    facts += [f"{figures.seconds:.1f} s"] if figures.seconds is not None else []
    facts += [f"peak {figures.peak_rss_mb:.0f} MB"] if figures.peak_rss_mb is not None else []
    facts += [f"sha256 {figures.sha256[:16]}…"] if figures.sha256 else []
    shown = [problems_table(report.preflight.problems)] if report.preflight.problems else []
    line = f"{figures.method} -> {figures.out}: {', '.join(facts)}" if figures.sha256 else ", ".join(facts)
    session.emit(report.model_dump(mode="json"), *shown, *([line] if line else []), report.verdict)
