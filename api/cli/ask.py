"""`ask` and `route`: one question."""

import sys
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import session_of

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.answers import Answer
    from orchestrator.domain.queries import Query
    from orchestrator.domain.requests import AskOptions
    from orchestrator.domain.stages import StageNews

SHOWN_CHARS = 80
STANDARD = "-"
MOST_BYTES = 1 << 20
"""Of a question on standard input."""
Question = Annotated[str, typer.Argument(help="The question; - reads it from standard input.")]
Options = Annotated[list[str] | None, typer.Option("--option", help="A choice; repeat it for each.")]
AnswerTypeName = Annotated[
    str | None,
    typer.Option(
        "--answer-type",
        help="choice, number, latex, text, literal, json, code or open. Left out, it is inferred.",
    ),
]
CompositionName = Annotated[
    str, typer.Option("--composition", "-c", help="auto, another composition, or an expert's id.")
]

NOBODY_MEASURED = (
    "Nobody of this pool was measured here yet, so all count as equally good. "
    "Run `muster profile QUESTIONS.jsonl`, or go to the folder where that was done."
)


def ask(
    ctx: typer.Context,
    question: Question,
    composition: CompositionName = "auto",
    option: Options = None,
    answer_type: AnswerTypeName = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait.")] = 300.0,
    trace: Annotated[
        bool, typer.Option("--trace", help="Show what a fusion chose at each token; --json has it always.")
    ] = False,
) -> None:
    """Ask a question; the answer comes with its reasons."""
    from api.cli.tables import answer_lines, decision_table, fusion_table, votes_table
    from api.views.chat import answer_error, grade_view, muster_view
    from orchestrator.domain.requests import AskOptions

    session = session_of(ctx)
    query = _query(question, option, answer_type)
    job_id = f"ask-{uuid.uuid4().hex}"
    is_followed = not session.as_json and sys.stderr.isatty()
    with session.app(background=is_followed) as app:
        name = app.asking.resolve(composition)
        options = AskOptions(model=composition, job_id=job_id, trace=trace or session.as_json)
        session.quiet.doing("waiting for the answer")
        try:
            answer = (
                followed(
                    app, query, options, timeout_s=timeout_s, tell=session.remark, doing=session.quiet.doing
                )
                if is_followed
                else app.asking.ask(query, options, timeout_s=timeout_s)
            )
        except KeyboardInterrupt:  # nobody waits any more: it must not go on, now or with the next command
            app.asking.leave(job_id)
            raise
        is_measured = bool(app.experts.cards())
        if not app.settings.is_stack:  # there the beat does it
            app.upkeep.round()
    if answer.error_code is not None:
        raise answer_error(answer)
    grade = grade_view(answer)
    payload = {
        "answer": answer.text,
        "value": answer.value,
        "confidence": answer.confidence,
        "expected_grade": None if grade is None else grade.model_dump(mode="json"),
        "muster": muster_view(answer, job_id=job_id, composition=name).model_dump(mode="json"),
    }
    reasons = [decision_table(answer.decision)] if answer.decision else []
    steps = [fusion_table(answer.fusion)] if answer.fusion is not None and trace else []
    votes = [votes_table(answer)] if answer.votes else []
    session.emit(payload, answer_lines(answer), *reasons, *votes, *steps, f"Job {job_id}")
    if not is_measured:
        session.remark(NOBODY_MEASURED)


def read_question() -> str:
    """The question on standard input, without the blanks around it.

    Raises:
        InputError: it is closed, or what it gives is too long, or no text.
    """
    from orchestrator.errors import InputError

    if sys.stdin is None:
        raise InputError("standard input is closed.", param="question", remedy="Give the question as a word.")
    content = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(f"the question is longer than {MOST_BYTES:,} bytes.", param="question")
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        message = "what standard input gives is not UTF-8 text."
        raise InputError(message, param="question", remedy="Save it as UTF-8.") from None


def followed(
    app: "App",
    query: "Query",
    options: "AskOptions",
    *,
    timeout_s: float,
    tell: Callable[[str], object],
    doing: Callable[[str], object],
) -> "Answer":
    """`Asking.ask`, with a line for each thing that happens to the question on its way.

    Args:
        doing: given what is going on meanwhile: how much who answers has written.

    Raises:
        MusterError: as `Asking.ask`.
    """
    from orchestrator.domain.answers import Answer
    from orchestrator.domain.stages import StageNews
    from orchestrator.ports.dispatch import Excerpt

    assert options.job_id is not None
    excerpts: list[Excerpt] = []
    parts = app.asking.stream(query, options, timeout_s=timeout_s, excerpts=excerpts)
    for part in app.stages.among(parts, options.job_id, at_once=True, excerpts=excerpts):
        if isinstance(part, Answer):
            return part
        if isinstance(part, StageNews):
            (doing if part.event == "writing" else tell)(stage_line(part))
    raise AssertionError("an answer comes last")


def stage_line(news: "StageNews") -> str:
    """`asking ann, bob`; `ann: its engine is being loaded`; `bob has answered`."""
    who = ", ".join(news.experts) + ("" if news.role == "expert" else f" ({news.role})")
    said = {
        "recruited": f"asking {who}",
        "waiting": f"{who} waits" + (f", {news.ahead} calls ahead" if news.ahead else " for its engine"),
        "loading": f"{who}: its engine is being loaded",
        "started": f"{who} answers",
        "writing": f"{who} has written {news.n_chars or 0:,} characters",
        "finished": f"{who} {'failed' if news.failed else _said(news)}",
    }
    return said[news.event]


def _said(news: "StageNews") -> str:
    """`has answered: 42`, or how its text begins where no answer was found in it."""
    if news.text is None:
        return "has answered"
    return f"has answered: {news.value or _shortened(news.text)}"


def _shortened(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"


def route(
    ctx: typer.Context,
    question: Question,
    composition: CompositionName = "auto",
    option: Options = None,
    answer_type: AnswerTypeName = None,
) -> None:
    """Show who would answer a question, and why. Nobody is asked."""
    from api.cli.tables import decision_table
    from api.views.route import route_view

    session = session_of(ctx)
    query = _query(question, option, answer_type)
    with session.app() as app:
        session.quiet.doing("choosing experts")
        [decision] = app.asking.route([query], model=composition)
        is_measured = bool(app.experts.cards())
    session.emit(route_view(decision, model=composition).model_dump(mode="json"), decision_table(decision))
    if not is_measured:
        session.remark(NOBODY_MEASURED)


def _query(question: str, options: list[str] | None, answer_type: str | None) -> "Query":
    from orchestrator.questions.fields import build_query

    asked = read_question() if question == STANDARD else question
    return build_query(
        "question", {"question": asked}, options=options or None, answer_type=answer_type, infers=True
    )
