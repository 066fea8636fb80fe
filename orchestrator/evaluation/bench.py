"""Bench of compositions on a labelled question set: run for real, or counted from calls that another one
made, and compared in pairs."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import CallRole, JobProgress, Response
from orchestrator.domain.cards import RIGHT
from orchestrator.domain.compute import GIGA
from orchestrator.domain.experts import Pool
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.domain.values import Value, content_hash
from orchestrator.errors import InputError, MusterError
from orchestrator.evaluation.bench_grades import NO_SCORES, AnswerScores, GradedBench, graded_bench
from orchestrator.evaluation.comparison import (
    AUTO,
    BEST_SINGLE,
    ECE_BINS,
    ORACLE,
    Difference,
    Ground,
    Trial,
    against,
    minus_others,
    verdict,
)
from orchestrator.evaluation.recall import derived
from orchestrator.evaluation.statistics import Estimate, accuracy, calibration_error, paired_difference
from orchestrator.ports.clock import Clock
from orchestrator.ports.composing import CompositionFactory
from orchestrator.ports.jobs import ResultReader
from orchestrator.ports.skills import Grader
from orchestrator.services.jobs import Jobs

MAJORITY_ALL = "majority_all"
NOTHING = Estimate(0.0, 0.0, 0.0)
"""Accuracy on no question."""
ALWAYS_RUN = (AUTO, MAJORITY_ALL)

OnBench = Callable[[str, JobProgress], None]
RightVector = npt.NDArray[np.bool_]


class CompositionResult(Value):
    """One row of the report. `loads` counts engine loads, `engines` the distinct engines used; `ece` is the
    expected calibration error of the stated confidences (15 bins of equal mass).

    A row that is `derived` loaded nothing and took no time of its own, so its `loads` and `seconds` are not
    known: other rows had made all its calls, at the same sampling, and it was answered from their responses.

    `failed` queries ended in an error before anybody could answer, `failure` is the first one's: such a row
    measures nothing. (Where everybody who was asked abstained, the answer is wrong.)

    `gflop_per_query`: of all models that wrote anything; None where the size of one is not known, or the
    row is derived.

    `oracle` asks nobody itself: it is right where any expert of `majority_all` was.
    """

    name: str
    accuracy: float
    ci95: tuple[float, float]
    calls_per_query: float
    loads: int | None
    engines: int
    seconds: float | None
    mean_confidence: float | None = None
    ece: float | None = None
    failed: int = 0
    failure: str | None = None
    derived: bool = False
    gflop_per_query: float | None = None


class BenchReport(Value):
    """Report of a bench on the questions with exact answers; `graded`: on the open ones, None = no such.

    Attributes:
        differences: each composition minus the best single expert; `auto_minus`: `auto` minus each other.
        right: per composition, whether each query was answered right, in query order.
        calls, confidence: likewise, different experts asked, and what the answer stated.
        domains: label of each query, or "".
    """

    n_queries: int
    n_experts: int
    rows: tuple[CompositionResult, ...]
    differences: tuple[Difference, ...]
    right: dict[str, tuple[bool, ...]]
    auto_minus: tuple[Difference, ...] = ()
    calls: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    confidence: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    domains: tuple[str, ...] = ()
    graded: GradedBench | None = None

    @property
    def verdict(self) -> str:
        """First line of a report: whether recruiting pays on these questions."""
        if not self.n_queries and self.graded is not None:
            return self.graded.verdict
        broken = next((row for row in self.rows if row.failed), None)
        if broken is not None:
            count = f"{broken.failed} of {self.n_queries} questions of '{broken.name}' failed"
            return f"no verdict: {count}: {broken.failure}"
        return verdict(self.differences)

    @property
    def ground(self) -> Ground:
        """The questions as trials are compared on them: one round; [n_queries] each."""
        every = np.arange(self.n_queries)
        return Ground(every, np.zeros_like(every), self.domains)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The rows as they are compared and drawn."""
        return tuple(self._trial(row) for row in self.rows)

    def _trial(self, row: CompositionResult) -> Trial:
        confidence = [np.nan if c is None else c for c in self.confidence[row.name]]
        score = np.array(self.right[row.name], dtype=np.float64)
        calls = np.array(self.calls[row.name])
        return Trial(row.name, score, calls, np.array(confidence, dtype=np.float64), row.seconds or 0.0)

    def subset(self, keep: Sequence[bool]) -> dict[str, Estimate]:
        """Accuracy per composition on the queries where `keep` is true."""
        mask = np.asarray(keep, dtype=bool)
        return {name: accuracy(np.asarray(right)[mask]) for name, right in self.right.items()}

    def compare(self, a: str, b: str, keep: Sequence[bool] | None = None) -> Difference:
        """Accuracy of row `a` minus that of row `b`, with its paired interval: on all queries, or on those
        where `keep` is true."""
        mask = np.ones(self.n_queries, dtype=bool) if keep is None else np.asarray(keep, dtype=bool)
        return _difference(a, b, {n: np.asarray(self.right[n])[mask] for n in (a, b)})


class Bench:
    """Runs compositions one after the other, each a batch job that starts with nothing loaded; what would
    only repeat calls of others is not run.

    Args:
        compositions: what answers a job's queries: the service's own.
        flop: operations that a response took; None = not known.
    """

    def __init__(
        self,
        *,
        service: Jobs,
        pool: Pool,
        jobs: ResultReader,
        grader: Grader,
        compositions: CompositionFactory,
        flop: Callable[[Response], float | None] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._service = service
        self._pool = pool
        self._jobs = jobs
        self._grader = grader
        self._compositions = compositions
        self._flop = flop
        self._clock = clock

    def run(
        self,
        queries: Sequence[Query],
        compositions: Sequence[str],
        *,
        run_all: bool = False,
        scores: AnswerScores = NO_SCORES,
        on_progress: OnBench | None = None,
    ) -> BenchReport:
        """Answer all queries with each composition, and grade what has an exact answer.

        `auto` is always run, then `majority_all`, which makes most calls of the others.
        `oracle` may be listed; it is read off the responses of `majority_all`, which is run for it.

        Args:
            run_all: run every composition, for its own loads and seconds.
            scores: of answers to the open queries; what has none is said, and not guessed.

        Raises:
            InputError: a query with an exact answer that is not given.
            UnknownNameError: no such composition.
        """
        unlabelled = next((q.id for q in queries if q.answer is None and not q.answer_type.is_graded), None)
        if unlabelled is not None:
            raise InputError(f"question '{unlabelled}' has no reference answer.", param="answer")
        names = [n for n in dict.fromkeys(compositions) if n != ORACLE]
        if ORACLE in compositions and MAJORITY_ALL not in names:
            names.append(MAJORITY_ALL)
        runs: dict[str, _Run] = {}
        for name in sorted(names, key=_turn):
            known = None if run_all or name in ALWAYS_RUN else self._derived(name, queries, runs)
            runs[name] = known or self._run_one(name, queries, on_progress)
        runs = {name: runs[name] for name in names}
        if ORACLE in compositions:
            runs[ORACLE] = self._oracle(runs[MAJORITY_ALL], queries)
        return self._report(queries, runs, scores)

    def _report(
        self, queries: Sequence[Query], runs: Mapping[str, "_Run"], scores: AnswerScores
    ) -> BenchReport:
        exact = [i for i, query in enumerate(queries) if not query.answer_type.is_graded]
        answers = {name: run.answers for name, run in runs.items() if name != ORACLE}
        report = BenchReport(
            n_queries=len(exact),
            n_experts=len(self._pool.experts),
            rows=tuple(run.row for run in runs.values()) if exact else (),
            differences=(),
            right={name: tuple(run.right.tolist()) for name, run in runs.items()},
            calls={name: tuple(run.calls[i] for i in exact) for name, run in runs.items()},
            confidence={name: tuple(run.confidence[i] for i in exact) for name, run in runs.items()},
            domains=tuple(queries[i].domain or "" for i in exact),
            graded=graded_bench(queries, answers, scores),
        )
        if not exact:
            return report
        compared = {
            "differences": tuple(against(BEST_SINGLE, report.trials, report.ground)),
            "auto_minus": tuple(minus_others(AUTO, report.trials, report.ground)),
        }
        return report.model_copy(update=compared)

    def _run_one(self, name: str, queries: Sequence[Query], on_progress: OnBench | None) -> "_Run":
        self._service.unload()
        started = self._clock()
        stamp = content_hash([name, started, len(queries)])
        job_id = self._service.submit(queries, AskOptions(model=name, job_id=f"bench-{name}-{stamp}"))
        report = (lambda progress: on_progress(name, progress)) if on_progress else None
        progress = self._service.run(job_id, on_progress=report)
        seconds = self._clock() - started
        by_id = {item.query.id: item.answer for item in self._jobs.answers(job_id)}
        answers = [by_id[q.id] for q in queries]
        responses = {q.id: rs for q, rs in self._jobs.responses(job_id)}
        experts = [frozenset(r.expert_id for r in responses.get(q.id, ())) for q in queries]
        cost = _Cost(progress.n_loads, seconds, self._gflop(list(responses.values()), len(queries)))
        return self._run_of(name, queries, answers, experts, cost, job_id=job_id)

    def _gflop(self, responses: Sequence[Sequence[Response]], n_queries: int) -> float | None:
        """Per query; what failed took nothing that is known of."""
        took = [self._flop(r) for of_query in responses for r in of_query if not r.failed]
        known = [flop for flop in took if flop is not None]
        return sum(known) / GIGA / n_queries if len(known) == len(took) else None

    def _derived(self, name: str, queries: Sequence[Query], runs: Mapping[str, "_Run"]) -> "_Run | None":
        """The answers of a composition, from calls that others made; None = it must be run."""
        job_ids = [run.job_id for run in runs.values() if run.job_id is not None]
        if not job_ids:
            return None
        try:
            composition = self._compositions(self._service.job_of(AskOptions(model=name)))
            played = derived(composition, queries, [self._jobs.calls(job_id) for job_id in job_ids])
        except MusterError:  # running it says what is wrong
            return None
        if played is None:
            return None
        return self._run_of(name, queries, [p.answer for p in played], [p.experts for p in played], _NO_COST)

    def _run_of(
        self,
        name: str,
        queries: Sequence[Query],
        answers: Sequence[Answer],
        experts: Sequence[frozenset[str]],
        cost: "_Cost",
        *,
        job_id: str | None = None,
    ) -> "_Run":
        judged = [(q, a) for q, a in zip(queries, answers, strict=True) if not q.answer_type.is_graded]
        right = np.array([self._is_right(q, a) for q, a in judged], dtype=bool)
        exact = [answer for _, answer in judged]
        row = self._row(name, answers, exact, right, cost, n_engines=self._n_engines(experts))
        row = row.model_copy(update={"derived": job_id is None})
        calls = tuple(len(of_query) for of_query in experts)
        return _Run(job_id, row, right, calls, tuple(a.confidence for a in answers), tuple(answers))

    def _row(
        self,
        name: str,
        answers: Sequence[Answer],
        exact: Sequence[Answer],
        right: RightVector,
        cost: "_Cost",
        *,
        n_engines: int,
    ) -> CompositionResult:
        """
        Args:
            exact: the answers to questions with exact ones; `right`: of these.
        """
        estimate = accuracy(right) if right.size else NOTHING
        stated = [
            (a.confidence, hit) for a, hit in zip(exact, right, strict=True) if a.confidence is not None
        ]
        failures = [a.error for a in answers if a.error_code is not None and not a.votes]
        return CompositionResult(
            name=name,
            accuracy=estimate.value,
            ci95=(estimate.low, estimate.high),
            calls_per_query=sum(a.n_calls for a in answers) / len(answers),
            loads=cost.loads,
            engines=n_engines,
            seconds=cost.seconds,
            gflop_per_query=cost.gflop_per_query,
            mean_confidence=float(np.mean([c for c, _ in stated])) if stated else None,
            ece=calibration_error(*zip(*stated, strict=True), bins=ECE_BINS) if stated else None,
            failed=len(failures),
            failure=failures[0] if failures else None,
        )

    def _n_engines(self, experts: Sequence[frozenset[str]]) -> int:
        known = self._pool.known
        return len({known[expert_id].engine.id for expert_id in frozenset().union(*experts)})

    def _is_right(self, query: Query, answer: Answer) -> bool:
        if answer.error_code is not None:
            return False
        response = Response(expert_id="", role=CallRole.AGGREGATE, stage=0, text=answer.text)
        return self._grader.grade(query, response).outcome == RIGHT

    def _oracle(self, everyone: "_Run", queries: Sequence[Query]) -> "_Run":
        assert everyone.job_id is not None, "majority_all is run"
        solved = {
            query.id: any(self._grader.grade(query, r).outcome == RIGHT for r in responses)
            for query, responses in self._jobs.responses(everyone.job_id)
        }
        right = np.array([solved[q.id] for q in queries if not q.answer_type.is_graded], dtype=bool)
        row = _oracle_row(right, everyone.row)
        return everyone._replace(row=row, right=right, confidence=(None,) * len(queries))


class _Cost(NamedTuple):
    loads: int | None
    seconds: float | None
    gflop_per_query: float | None


_NO_COST = _Cost(None, None, None)


class _Run(NamedTuple):
    """One composition's answers, in query order; without a job these were derived. `right`: of the queries
    with exact answers."""

    job_id: str | None
    row: CompositionResult
    right: RightVector
    calls: tuple[int, ...]
    confidence: tuple[float | None, ...]
    answers: tuple[Answer, ...]


def _turn(name: str) -> int:
    """Rank by which compositions take their turns: those that are run in any case come first."""
    return ALWAYS_RUN.index(name) if name in ALWAYS_RUN else len(ALWAYS_RUN)


def _oracle_row(right: RightVector, everyone: CompositionResult) -> CompositionResult:
    estimate = accuracy(right) if right.size else NOTHING
    return everyone.model_copy(
        update={
            "name": ORACLE,
            "accuracy": estimate.value,
            "ci95": (estimate.low, estimate.high),
            "mean_confidence": None,
            "ece": None,
            "loads": None,
            "seconds": None,
            "gflop_per_query": None,
            "derived": True,
        }
    )


def _difference(a: str, b: str, right: Mapping[str, RightVector]) -> Difference:
    estimate = paired_difference(right[a], right[b])
    return Difference(a=a, b=b, difference=estimate.value, ci95=(estimate.low, estimate.high))
