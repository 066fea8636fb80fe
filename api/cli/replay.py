"""`replay`: which composition pays, measured on recorded responses, with no model run."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import Session, session_of

if TYPE_CHECKING:
    from orchestrator.bootstrap.replay import ReplayPlan
    from orchestrator.evaluation.replay.sets import ReplaySet

MAX_WORKERS = 2


class Reading(StrEnum):
    """Source of what an expert answered."""

    RECORD = "record"
    TEXTS = "texts"


def replay(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(envvar="MUSTER_REPLAY_DIR", help="A replay set: docs/replay.md.")],
    pool: Annotated[
        str | None, typer.Option("--pool", help="Experts to recruit from. Default: the largest.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Profile set. Default: the largest.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Splits, separated by commas.")] = "0,1,2",
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows", help="Compositions, separated by commas; `all` = every router with every vote."
        ),
    ] = None,
    verifier: Annotated[
        bool, typer.Option("--verifier", help="`auto` also verifies the texts of responses.")
    ] = False,
    labels: Annotated[
        bool, typer.Option("--labels", help="Skills are the data set's labels: an oracle annotator.")
    ] = False,
    read: Annotated[
        Reading,
        typer.Option("--read", help="Answers as recorded (where they are), or read off the texts anew."),
    ] = Reading.RECORD,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for report.json and the pictures.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Processes. Default: 2, or 1 per core.")
    ] = None,
) -> None:
    """Replay a recorded pool through the compositions and compare them; the first line is the verdict."""
    from api.cli.bench import save_report
    from api.cli.tables import replay_table
    from orchestrator.bootstrap.replay import run_replay
    from orchestrator.evaluation.replay.files import read_replay_set

    session = session_of(ctx)
    session.quiet.doing("reading the recorded answers")
    recorded = read_replay_set(folder)
    plan = _plan(
        session, recorded, pool, profile, seeds, rows, verifier=verifier, labels=labels, reading=read
    )
    session.quiet.doing(f"playing {len(plan.rows.names)} rows, seeds {seeds}")
    result = run_replay(recorded, plan, workers=workers or min(MAX_WORKERS, os.cpu_count() or 1))
    report = result.report
    if report.left_out:
        session.remark(f"Left out, since open questions have no votes: {', '.join(report.left_out)}.")
    document = report.model_dump(mode="json")
    if out is not None:
        save_report(session, out, document, result.ground, result.trials, subtitle=report.subtitle)
    session.emit(document, report.verdict, replay_table(report))


def _plan(
    session: Session,
    recorded: "ReplaySet",
    pool: str | None,
    profile: str | None,
    seeds: str,
    rows: str | None,
    *,
    verifier: bool,
    labels: bool,
    reading: Reading,
) -> "ReplayPlan":
    from orchestrator.bootstrap.replay import ReplayPlan
    from orchestrator.evaluation.replay.rows import choose, row_table
    from orchestrator.evaluation.replay.splits import profile_names

    muster, base_dir = session.muster_settings()
    from_texts = reading is Reading.TEXTS
    has_samples = len(recorded.samples) > 0 and not from_texts
    votes = not recorded.graded.all()
    table = row_table(muster.compositions, verifier=verifier, has_samples=has_samples, votes=votes)
    wanted = [name.strip() for name in rows.split(",") if name.strip()] if rows else None
    return ReplayPlan(
        pool=pool or recorded.largest_pool,
        profile=profile or profile_names(recorded)[-1],
        seeds=_seeds(seeds),
        rows=choose(table, wanted, votes=votes),
        labels=labels,
        muster=muster,
        base_dir=base_dir,
        from_texts=from_texts,
    )


def _seeds(text: str) -> tuple[int, ...]:
    from orchestrator.errors import InputError

    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts) or len(set(parts)) != len(parts):
        raise InputError(
            f"'{text}' names no seeds.", param="seeds", remedy="Give different numbers, as in 0,1,2."
        )
    return tuple(int(part) for part in parts)
