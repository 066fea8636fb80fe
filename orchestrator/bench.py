"""Which composition pays on a labelled question set: every one run for real, and compared in pairs."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import CallRole, JobProgress, Response
from orchestrator.domain.cards import RIGHT
from orchestrator.domain.queries import Query
from orchestrator.domain.values import Value, content_hash
from orchestrator.errors import InputError
from orchestrator.evaluation import Estimate, accuracy, paired_difference
from orchestrator.ports import Clock, Grader, JobStore
from orchestrator.service import Service

ORACLE = "oracle"
MAJORITY_ALL = "majority_all"
BEST_SINGLE = "best_single"

OnBench = Callable[[str, JobProgress], None]
RightVector = npt.NDArray[np.bool_]


class CompositionResult(Value):
    """One row of the report. `loads` counts engine loads, `engines` the distinct engines used.

    `oracle` asks nobody itself: it is right where any expert of `majority_all` was.
    """

    name: str
    accuracy: float
    ci95: tuple[float, float]
    calls_per_query: float
    loads: int
    engines: int
    seconds: float
    mean_confidence: float | None = None


class Difference(Value):
    """Accuracy of `a` minus that of `b` on the same queries, with its paired 95 % interval."""

    a: str
    b: str
    difference: float
    ci95: tuple[float, float]


class BenchReport(Value):
    """`right` holds, per composition, whether each query was answered right, in query order."""

    n_queries: int
    n_experts: int
    rows: tuple[CompositionResult, ...]
    differences: tuple[Difference, ...]
    right: dict[str, tuple[bool, ...]]

    @property
    def verdict(self) -> str:
        """First line of a report: whether recruiting pays on these questions."""
        against = [d for d in self.differences if d.b == BEST_SINGLE]
        winners = [d for d in against if d.ci95[0] > 0]
        if not against:
            return f"no comparison: bench '{BEST_SINGLE}' as well"
        if not winners:
            return "do not route: no composition beats the best single expert on these questions"
        best = max(winners, key=lambda d: d.difference)
        low, high = best.ci95
        return (
            f"route: '{best.a}' beats the best single expert by {100 * best.difference:.1f} points "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
        )

    def subset(self, keep: Sequence[bool]) -> dict[str, Estimate]:
        """Accuracy per composition on the queries where `keep` is true."""
        mask = np.asarray(keep, dtype=bool)
        return {name: accuracy(np.asarray(right)[mask]) for name, right in self.right.items()}

    def compare(self, a: str, b: str, keep: Sequence[bool] | None = None) -> Difference:
        mask = np.ones(self.n_queries, dtype=bool) if keep is None else np.asarray(keep, dtype=bool)
        return _difference(a, b, {n: np.asarray(self.right[n])[mask] for n in (a, b)})


class Bench:
    """Runs compositions one after the other, each a batch job that starts with nothing loaded."""

    def __init__(
        self, *, service: Service, jobs: JobStore, grader: Grader, clock: Clock = time.monotonic
    ) -> None:
        self._service = service
        self._jobs = jobs
        self._grader = grader
        self._clock = clock

    def run(
        self, queries: Sequence[Query], compositions: Sequence[str], *, on_progress: OnBench | None = None
    ) -> BenchReport:
        """Answer and grade all queries with each composition.

        `oracle` may be listed; it is read off the responses of `majority_all`, which is run for it.

        Raises:
            InputError: a query without reference answer.
            UnknownNameError: no such composition.
        """
        unlabelled = next((q.id for q in queries if q.answer is None), None)
        if unlabelled is not None:
            raise InputError(f"question '{unlabelled}' has no reference answer.", param="answer")
        names = [n for n in dict.fromkeys(compositions) if n != ORACLE]
        if ORACLE in compositions and MAJORITY_ALL not in names:
            names.append(MAJORITY_ALL)
        right: dict[str, RightVector] = {}
        rows = []
        for name in names:
            job_id, row, right[name] = self._run_one(name, queries, on_progress)
            rows.append(row)
            if name == MAJORITY_ALL and ORACLE in compositions:
                right[ORACLE] = self._oracle(job_id, queries)
        if ORACLE in right:
            rows.append(_oracle_row(right[ORACLE], rows))
        return BenchReport(
            n_queries=len(queries),
            n_experts=len(self._service.pool.experts),
            rows=tuple(rows),
            differences=tuple(_against_best_single(right)),
            right={name: tuple(bool(v) for v in vector) for name, vector in right.items()},
        )

    def _run_one(
        self, name: str, queries: Sequence[Query], on_progress: OnBench | None
    ) -> tuple[str, CompositionResult, RightVector]:
        self._service.unload()
        started = self._clock()
        stamp = content_hash([name, started, len(queries)])
        job_id = self._service.submit(queries, composition=name, job_id=f"bench-{name}-{stamp}")
        report = (lambda progress: on_progress(name, progress)) if on_progress else None
        progress = self._service.run(job_id, on_progress=report)
        seconds = self._clock() - started
        by_id = {item.query.id: item.answer for item in self._jobs.answers(job_id)}
        answers = [by_id[q.id] for q in queries]
        right = np.array([self._is_right(q, a) for q, a in zip(queries, answers, strict=True)])
        return job_id, self._row(name, answers, right, progress, seconds, job_id), right

    def _row(
        self,
        name: str,
        answers: Sequence[Answer],
        right: RightVector,
        progress: JobProgress,
        seconds: float,
        job_id: str,
    ) -> CompositionResult:
        estimate = accuracy(right)
        confidences = [a.confidence for a in answers if a.confidence is not None]
        return CompositionResult(
            name=name,
            accuracy=estimate.value,
            ci95=(estimate.low, estimate.high),
            calls_per_query=sum(a.n_calls for a in answers) / len(answers),
            loads=progress.n_loads,
            engines=len(self._engines_used(job_id)),
            seconds=seconds,
            mean_confidence=float(np.mean(confidences)) if confidences else None,
        )

    def _engines_used(self, job_id: str) -> set[str]:
        experts = {r.expert_id for _, responses in self._jobs.responses(job_id) for r in responses}
        return {self._service.pool.by_id[expert_id].engine.id for expert_id in experts}

    def _is_right(self, query: Query, answer: Answer) -> bool:
        if answer.error_code is not None:
            return False
        response = Response(expert_id="", role=CallRole.AGGREGATE, stage=0, text=answer.text)
        return self._grader.grade(query, response).outcome == RIGHT

    def _oracle(self, job_id: str, queries: Sequence[Query]) -> RightVector:
        solved = {
            query.id: any(self._grader.grade(query, r).outcome == RIGHT for r in responses)
            for query, responses in self._jobs.responses(job_id)
        }
        return np.array([solved[q.id] for q in queries])


def _oracle_row(right: RightVector, rows: Iterable[CompositionResult]) -> CompositionResult:
    everyone = next(row for row in rows if row.name == MAJORITY_ALL)
    estimate = accuracy(right)
    return everyone.model_copy(
        update={
            "name": ORACLE,
            "accuracy": estimate.value,
            "ci95": (estimate.low, estimate.high),
            "mean_confidence": None,
        }
    )


def _against_best_single(right: Mapping[str, RightVector]) -> list[Difference]:
    if BEST_SINGLE not in right:
        return []
    return [_difference(name, BEST_SINGLE, right) for name in right if name not in (BEST_SINGLE, ORACLE)]


def _difference(a: str, b: str, right: Mapping[str, RightVector]) -> Difference:
    estimate = paired_difference(right[a], right[b])
    return Difference(a=a, b=b, difference=estimate.value, ci95=(estimate.low, estimate.high))
