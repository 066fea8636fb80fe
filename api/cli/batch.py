"""`batch`: a question file, as a job that survives an interruption."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import session_of

if TYPE_CHECKING:
    from orchestrator.questions.files import Source

INTERRUPTED = 130


def batch(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Questions, one JSON object a line; - = standard input.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="- = standard output. Default: FILE.answers.jsonl; of a pipe: -."),
    ] = None,
    composition: Annotated[
        str | None,
        typer.Option(
            "--composition", "-c", help="As for `ask`. Default: the `model` of each OpenAI line, else auto."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Only continue a job that exists.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run what failed before again; what is answered stays.")
    ] = False,
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse", help="Lines that were answered before, under this configuration, are not asked again."
        ),
    ] = False,
    job: Annotated[
        str | None, typer.Option("--job", help="Job id. Default: from file, composition, pool and cards.")
    ] = None,
) -> None:
    """Answer a file of questions. The same command again continues, or gives the finished answers.

    Lines in OpenAI's batch form may differ in `model`, `temperature`, `max_tokens`, ...: each is answered on
    its own terms, and in OpenAI's form.

    Ctrl-C leaves a job that can be resumed (exit code 130); in the stack the workers go on with it.
    Exit code 1: some questions failed; their lines say why.
    """
    from api.cli.batch_files import check_output, open_batch, retry_batch, target_of, write_answers
    from api.cli.progress import job_progress
    from api.views.jobs_failures import failure_lines, failures_of
    from orchestrator.errors import InputError
    from orchestrator.questions.files import STANDARD, spooled

    session = session_of(ctx)
    target = target_of(file, out)
    if str(target) == STANDARD and session.as_json:
        raise InputError("--json has standard output for its summary.", param="out", remedy="Give -o FILE.")
    check_output(target, inputs=(file, session.config_path()))
    with spooled(file) as source, session.app() as app:
        if source.n_spooled is not None:
            session.remark(f"{source.n_spooled} bytes read from {source.name}.")
        opened = open_batch(app, source, composition=composition, job_id=job, resume=resume, reuses=reuse)
        if retry_failed:
            session.remark(f"{retry_batch(app, opened)} questions run again.")
        try:
            with job_progress(app, Path(source.name).name) as on_progress:
                progress = app.jobs.run(opened.job_id, on_progress=on_progress)
        except KeyboardInterrupt:
            again = resume_command(sys.argv)
            again += "" if source.n_spooled is None else f" (the same questions on {source.name})"
            session.remark(interrupted(app.settings.is_stack, opened.job_id, again))
            raise typer.Exit(INTERRUPTED) from None
        write_answers(app, opened, target)
        failures = failures_of(
            lambda n: app.pages.some_answers(opened.job_id, limit=n, failed=True), n_failed=progress.failed
        )
    summary = {
        "job_id": opened.job_id,
        "output": str(target),
        "total": progress.total,
        "completed": progress.completed,
        "failed": progress.failed,
        "loads": progress.n_loads,
    }
    if str(target) == STANDARD:
        session.remark(f"{progress.completed} of {progress.total} answered, {progress.failed} failed.")
    else:
        line = f"{progress.completed} of {progress.total} answered, {progress.failed} failed: {target}"
        session.emit(summary, line)
    if progress.failed:
        for told in failure_lines(failures, again=retry_command(sys.argv, opened.job_id, source)):
            session.remark(told)
        raise typer.Exit(1)


def interrupted(is_stack: bool, job_id: str, command: str) -> str:
    """Message for whoever pressed Ctrl-C."""
    if not is_stack:
        return f"Interrupted. Continue with: {command}"
    return (
        f"The workers go on with {job_id}. Look: muster jobs show {job_id}. "
        f"End it: muster jobs cancel {job_id}. Come back for the answers: {command}"
    )


def resume_command(argv: list[str]) -> str:
    """The command that was given, with --resume."""
    return _command_with("--resume", argv)


def retry_command(argv: list[str], job_id: str, source: "Source") -> str:
    """A command that runs what failed again: the one that was given, if its file can be read again."""
    if source.n_spooled is not None or "batch" not in argv:
        return f"muster jobs retry {job_id}"
    return _command_with("--retry-failed", argv)


def _command_with(option: str, argv: list[str]) -> str:
    program, *words = argv
    if option not in words:
        words.insert(words.index("batch") + 1, option)
    return shlex.join([Path(program).name, *words])
