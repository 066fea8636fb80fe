"""Rows of the report: compositions and single models on the same questions, read off the books.

Shapes: Q questions.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from examples.llm.pool import MODELS, SAMPLED, SHOWN
from orchestrator.bootstrap.app import App
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.cards import RIGHT
from orchestrator.domain.names import AUTO
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.domain.values import content_hash
from orchestrator.evaluation.comparison import BEST_SINGLE, ORACLE, Difference, verdict
from orchestrator.evaluation.recall import derived as recalled
from orchestrator.evaluation.statistics import accuracy, paired_difference
from skills.grading.grader import AnswerGrader

EVERYBODY = "majority_all"
"""The row whose calls tell how each model does alone."""


class Row(NamedTuple):
    """Results of one way to answer.

    Attributes:
        right: bool [Q].
        calls, prompt_tokens, completion_tokens: per question.
        loads: of engines; `seconds` on the wall; None where it made no calls of its own.
    """

    name: str
    right: npt.NDArray[np.bool_]
    calls: float
    prompt_tokens: float
    completion_tokens: float
    loads: int | None = None
    seconds: float | None = None


def job_id_of(app: App, row: str, queries: Sequence[Query]) -> str:
    """The job of a row: one for the same questions and settings, so that a run goes on where it ended."""
    spec = app.settings.muster.compositions.get(row)
    settings = [app.pool.fingerprint, None if spec is None else spec.model_dump(mode="json")]
    asked = [row, settings, [query.content_hash for query in queries]]
    return f"row-{row}-{content_hash(asked)[:12]}"


def answer_all(app: App, row: str, queries: Sequence[Query]) -> Row:
    """The answers of one composition: from the calls of the row that asks everybody, if it would only repeat
    them, else asked; what an earlier run asked is read off the books."""
    played = None if row == EVERYBODY else _played(app, row, queries)
    if played is not None:
        return _row_of(row, queries, played)
    job_id = job_id_of(app, row, queries)
    if job_id not in {job.job.id for job in app.jobs.jobs(limit=10_000)}:
        app.jobs.unload()
        app.jobs.submit(queries, AskOptions(model=row, job_id=job_id))
    progress = app.jobs.run(job_id)
    answers = {item.query.id: item.answer for item in app.jobs.answers(job_id)}
    ended = progress.finished_at or progress.created_at
    told = _row_of(row, queries, [answers[query.id] for query in queries])
    return told._replace(loads=progress.n_loads, seconds=round(ended - progress.created_at, 1))


def _played(app: App, row: str, queries: Sequence[Query]) -> list[Answer] | None:
    composition = app.catalogue.build(app.jobs.job_of(AskOptions(model=row)))
    made = app.store.calls(job_id_of(app, EVERYBODY, queries))
    found = recalled(composition, queries, [made])
    return None if found is None else [one.answer for one in found]


def _row_of(name: str, queries: Sequence[Query], answers: Sequence[Answer]) -> Row:
    grader = AnswerGrader()
    n = len(queries)
    return Row(
        name,
        np.array([is_right(grader, q, a) for q, a in zip(queries, answers, strict=True)]),
        calls=sum(answer.n_calls for answer in answers) / n,
        prompt_tokens=sum(answer.usage.prompt_tokens for answer in answers) / n,
        completion_tokens=sum(answer.usage.completion_tokens for answer in answers) / n,
    )


def is_right(grader: AnswerGrader, query: Query, answer: Answer) -> bool:
    if answer.error_code is not None:
        return False
    said = Response(expert_id="", role=CallRole.AGGREGATE, stage=0, text=answer.text)
    return grader.grade(query, said).outcome == RIGHT


def alone(app: App, queries: Sequence[Query]) -> dict[str, Row]:
    """Each model alone, from the calls of the row that asks everybody."""
    said = dict(_responses(app, job_id_of(app, EVERYBODY, queries)))
    rows, grader = {}, AnswerGrader()
    for model in MODELS:
        own = [next(r for r in said[query.id] if r.expert_id == model) for query in queries]
        right = [grader.grade(q, r).outcome == RIGHT for q, r in zip(queries, own, strict=True)]
        rows[model] = Row(
            model,
            np.array(right),
            calls=1.0,
            prompt_tokens=sum(r.usage.prompt_tokens for r in own) / len(own),
            completion_tokens=sum(r.usage.completion_tokens for r in own) / len(own),
        )
    return rows


def _responses(app: App, job_id: str) -> list[tuple[str, list[Response]]]:
    return [
        (query.id, [r for r in some if r.role is CallRole.EXPERT])
        for query, some in app.store.responses(job_id)
    ]


def derived(single: Mapping[str, Row], best: str) -> dict[str, Row]:
    """The best single model by its card, and the oracle that knows who is right."""
    anybody = np.any([row.right for row in single.values()], axis=0)
    cost = [sum(row[i] for row in single.values()) for i in (2, 3, 4)]
    return {
        BEST_SINGLE: single[best]._replace(name=BEST_SINGLE),
        ORACLE: Row(ORACLE, anybody, *cost),
    }


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Rows that are compared: every one with the best single model; shots with the same model without them,
    and with the same model asked three times."""
    compared = [(name, BEST_SINGLE) for name in names if name not in (BEST_SINGLE, ORACLE)]
    for (shown, sampled), model in zip(zip(SHOWN, SAMPLED, strict=True), MODELS, strict=True):
        compared += [(shown, other) for other in (model, sampled) if {shown, other} <= set(names)]
    return compared


def difference(a: Row, b: Row) -> Difference:
    estimate = paired_difference(a.right, b.right)
    return Difference(a=a.name, b=b.name, difference=estimate.value, ci95=(estimate.low, estimate.high))


def report_of(rows: Mapping[str, Row], queries: Sequence[Query]) -> dict[str, object]:
    """The document: a row each, right answers by type, differences in pairs with 95 % intervals."""
    compared = [difference(rows[a], rows[b]) for a, b in pairs([*rows])]
    return {
        "verdict": verdict([d for d in compared if d.b == BEST_SINGLE and d.a in (AUTO, EVERYBODY)]),
        "queries": len(queries),
        "rows": [_told(row, queries) for row in rows.values()],
        "differences": [d.model_dump(mode="json") for d in compared],
    }


def _told(row: Row, queries: Sequence[Query]) -> dict[str, object]:
    estimate = accuracy(row.right)
    types = dict.fromkeys(str(query.answer_type) for query in queries)
    return {
        "name": row.name,
        "n_right": int(row.right.sum()),
        "accuracy": round(estimate.value, 4),
        "ci95": [round(estimate.low, 4), round(estimate.high, 4)],
        "calls": round(row.calls, 2),
        "prompt_tokens": round(row.prompt_tokens, 1),
        "completion_tokens": round(row.completion_tokens, 1),
        "loads": row.loads,
        "seconds": row.seconds,
        "right_by_type": {
            kind: sum(bool(ok) for ok, q in zip(row.right, queries, strict=True) if q.answer_type == kind)
            for kind in types
        },
    }
