"""The composition root of replays: a replay set in, a report out. Builds what answers as `app` does."""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aggregators.outputs import AGGREGATORS
from orchestrator.bootstrap.annotators import file_backed_embedder, make_annotator
from orchestrator.compositions.catalogue import Catalogue
from orchestrator.compositions.knowledge import Knowledge
from orchestrator.compositions.reading import SkillReader
from orchestrator.domain.answers import NO_ANSWER
from orchestrator.domain.assignments import Job
from orchestrator.domain.experts import Expert
from orchestrator.domain.grades import GradeSource
from orchestrator.domain.queries import Query
from orchestrator.errors import CompositionError, ExpertUnavailableError
from orchestrator.evaluation.comparison import ORACLE, Ground, Trial
from orchestrator.evaluation.length_control import LengthControl
from orchestrator.evaluation.replay.player import Played, play
from orchestrator.evaluation.replay.readings import with_readings
from orchestrator.evaluation.replay.recording import RECORDED, RecordedGrader, Recording, n_tokens
from orchestrator.evaluation.replay.results import Made, ReplayReport, SeedTrials, Setting, pooled, report
from orchestrator.evaluation.replay.rows import Rows
from orchestrator.evaluation.replay.sets import ReplaySet
from orchestrator.evaluation.replay.splits import split
from orchestrator.evaluation.replay.vectors import LabelAnnotator, RecordedEmbedder
from orchestrator.ports.cards import OutcomeRow
from orchestrator.ports.composing import RoutingInput
from orchestrator.ports.skills import Embedder, Grader, SkillAnnotator
from orchestrator.routing.parts.context import RouterContext
from orchestrator.runtime.garbage import no_cycle_collection
from orchestrator.settings.members import LitellmParams, Member
from orchestrator.settings.schema import MusterSettings, Settings
from skills.counting import Scores, count_card, profile_of, profile_set
from skills.embedding import embedder_of
from skills.grading.grader import GRADERS, LENIENT_GRADERS, AnswerGrader
from workers.engine_host.lifeline import die_with

_NO_FAILURE = frozenset({None, NO_ANSWER, ExpertUnavailableError.code})
"""Error codes of answers that count as none: nobody said anything, or what they said was not recorded."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ReplayPlan(NamedTuple):
    """Choice of what to replay.

    Attributes:
        profile: name of a profile set.
        labels: skills are the data set's labels, instead of being read from the text.
        from_texts: answers are read off the texts, even where they are recorded.
        muster: the section of the configuration: how skills are read, which embedder.
        base_dir: what relative paths in it refer to.
    """

    pool: str
    profile: str
    seeds: tuple[int, ...]
    rows: Rows
    labels: bool = False
    muster: MusterSettings = MusterSettings()
    base_dir: Path = Path()
    from_texts: bool = False


class ReplayResult(NamedTuple):
    """The report, and the trials behind it for who draws them."""

    report: ReplayReport
    ground: Ground
    trials: tuple[Trial, ...]


class Part(NamedTuple):
    """Rows of one seed."""

    seed: int
    names: tuple[str, ...]


def run_replay(replay: ReplaySet, plan: ReplayPlan, *, workers: int = 2) -> ReplayResult:
    """Replay all rows on all seeds.

    Args:
        workers: processes, >= 1; one works in this process. The report does not depend on it.

    Raises:
        MusterError: a name that does not exist, a row that cannot be replayed.
    """
    _check(replay, plan)
    read = with_readings(replay, plan.pool, _reader(plan.muster), anew=plan.from_texts)
    prepared = with_vectors(read, plan.muster)
    of_workers = parts(plan, workers)
    if len(of_workers) == 1:
        found = run_parts(prepared, plan, of_workers[0])
    else:
        with worker_pool(len(of_workers)) as executor:
            found = [
                one for many in executor.map(partial(run_parts, prepared, plan), of_workers) for one in many
            ]
    of_seeds = _by_seed(found, plan)
    ground, trials = pooled(prepared, of_seeds)
    recording = Recording(prepared, plan.pool)
    n_profile = len(split(prepared, seed=plan.seeds[0], profile=plan.profile).profile)
    setting = Setting(plan.pool, plan.profile, plan.labels, len(recording.experts), n_profile)
    made = {name: Made(spec.router, spec.aggregator) for name, spec in plan.rows.specs.items()}
    return ReplayResult(
        report(
            setting,
            plan.seeds,
            ground,
            trials,
            made,
            left_out=plan.rows.left_out,
            controls=length_controls(prepared, plan.pool, of_seeds),
        ),
        ground,
        trials,
    )


def length_controls(replay: ReplaySet, pool: str, of_seeds: Sequence[SeedTrials]) -> list[LengthControl]:
    """The control of each seed's test questions; none where lengths or grades of some are not known."""
    scores, reference = replay.scores, replay.reference_chars
    if scores is None or reference is None:
        return []
    rows = replay.rows(pool)
    tested = np.concatenate([part.columns for part in of_seeds])
    if np.isnan(scores[rows][:, tested]).any() or (reference[tested] <= 0).any():
        return []
    return [
        LengthControl(scores[rows][:, at], replay.chars[rows][:, at], reference[at])
        for at in (part.columns for part in of_seeds)
    ]


def _reader(muster: MusterSettings) -> AnswerGrader:
    """The grader that reads live answers."""
    is_lenient = muster.grading.isolation == "available"
    return AnswerGrader(LENIENT_GRADERS if is_lenient else GRADERS)


def _check(replay: ReplaySet, plan: ReplayPlan) -> None:
    """Wrong names are told before anything is embedded or fitted."""
    replay.rows(plan.pool)
    for seed in plan.seeds:
        split(replay, seed=seed, profile=plan.profile)


def parts(plan: ReplayPlan, workers: int) -> list[list[Part]]:
    """Work of each worker: whole seeds while they last, then rows of a seed dealt out in turn.

    Args:
        workers: less than 1 counts as 1. Who would have nothing to do is left out.
    """
    n = max(1, workers)
    whole = len(plan.seeds) - len(plan.seeds) % n
    of_workers = [[Part(seed, plan.rows.names) for seed in plan.seeds[i:whole:n]] for i in range(n)]
    for seed in plan.seeds[whole:]:
        for i in range(n):
            of_workers[i].append(Part(seed, plan.rows.names[i::n]))
    return [work for of_worker in of_workers if (work := [part for part in of_worker if part.names])]


def run_parts(replay: ReplaySet, plan: ReplayPlan, work: Sequence[Part]) -> list[SeedTrials]:
    """Replay some rows of some seeds, in this process.

    Raises:
        MusterError: a row that cannot be replayed, or a query that ended in an error.
    """
    with no_cycle_collection():
        return [SeedReplay(replay, plan, part.seed).run(part.names) for part in work]


def with_vectors(replay: ReplaySet, settings: MusterSettings) -> ReplaySet:
    """The set with a vector for each question: its own, or embedded once as a live question is.

    Vectors made here are kept in `data_dir`, never in the user's folder.
    """
    if replay.embeddings is not None:
        return replay
    kept = file_backed_embedder(settings)
    texts = [query.text for query in replay.queries]
    kept.keep(texts)
    return replay.with_embeddings(kept.encode(texts))


class SeedReplay:
    """One split of a replay set: a pool profiled on its profile questions, to be tested on the others."""

    def __init__(self, replay: ReplaySet, plan: ReplayPlan, seed: int) -> None:
        self._plan = plan
        self._seed = seed
        self._split = split(replay, seed=seed, profile=plan.profile)
        self.recording = Recording(replay, plan.pool)
        assert replay.embeddings is not None, "made by with_vectors"
        self._embedder = RecordedEmbedder([q.text for q in replay.queries], replay.embeddings, self._inner)
        self.test = [replay.queries[c] for c in self._split.test.tolist()]

    def run(self, names: Sequence[str]) -> SeedTrials:
        """Trials of these rows, in order.

        Raises:
            CompositionError: a query ended in an error.
        """
        trials = [self._oracle() if name == ORACLE else self.trial(name) for name in names]
        return SeedTrials(self._seed, self._split.test, tuple(trials))

    def trial(self, name: str) -> Trial:
        """Build the composition, answer every test question, grade.

        Raises:
            CompositionError: a query ended in an error.
        """
        started = time.monotonic()
        played = self.play(name)
        seconds = time.monotonic() - started
        failed = next((p.answer for p in played if p.answer.error_code not in _NO_FAILURE), None)
        if failed is not None:
            raise CompositionError(f"row '{name}': {failed.error}")
        pairs = [*zip(played, self.test, strict=True)]
        confidence = [np.nan if p.answer.confidence is None else p.answer.confidence for p in played]
        return Trial(
            name,
            np.array([self.recording.score_of(query, p.answer) for p, query in pairs], dtype=np.float64),
            np.array([p.n_experts for p in played], dtype=np.int64),
            np.array(confidence, dtype=np.float64),
            seconds,
            np.array([self.recording.n_chars(query, p.answer) for p, query in pairs], dtype=np.int64),
        )

    def play(self, name: str) -> list[Played]:
        """The answers of one row, with their reasons."""
        composition = self.catalogue.build(Job(id="replay", composition=name, seed=self._seed))
        return play(composition, self.test, self.recording)

    @cached_property
    def grader(self) -> Grader:
        """Reads recorded responses as the record says, and everything else as live answers are read."""
        return RecordedGrader(_reader(self._plan.muster), self.recording)

    def routing_inputs(self, queries: Sequence[Query]) -> list[RoutingInput]:
        """Questions of the set as routers see them."""
        reader = SkillReader(self._annotator, None, self._embedder)
        return reader.read(queries, [()] * len(queries))

    @cached_property
    def routing_context(self) -> RouterContext:
        """The whole pool, as profiled."""
        pool = self.recording.pool
        return RouterContext(
            cards=self.knowledge.cards,
            profile=self.knowledge.profile,
            expert_ids=tuple(e.id for e in pool.experts),
            experts=pool.by_id,
        )

    @cached_property
    def catalogue(self) -> Catalogue:
        """Compositions of the plan's rows, over the cards of this split."""
        knowledge = self.knowledge
        return Catalogue(
            self._settings,
            pool=self.recording.pool,
            aggregators=AGGREGATORS,
            grader=self.grader,
            embedder=lambda: self._embedder,
            annotator=lambda _: self._annotator,
            matcher=lambda _: None,
            cards=lambda: knowledge.cards,
            knowledge=lambda: knowledge,
            seed=self._seed,
        )

    @cached_property
    def _settings(self) -> Settings:
        """A configuration of this pool; its engines are never loaded."""
        members = (
            Member(model_name=e.id, litellm_params=LitellmParams(model=f"{RECORDED}/{e.id}"))
            for e in self.recording.experts
        )
        muster = self._plan.muster.model_copy(update={"compositions": dict(self._plan.rows.specs)})
        return Settings(model_list=tuple(members), muster=muster, base_dir=self._plan.base_dir)

    @cached_property
    def knowledge(self) -> Knowledge:
        """Cards and profile as profiling would have made them.

        Of questions that ask the same the first is kept: profiling refuses the others.
        """
        columns = self._distinct_columns
        queries = [self.recording.queries[c] for c in columns]
        tags = self._annotator.annotate(queries, [()] * len(queries))
        profile = profile_set(queries, tags)
        experts = self.recording.pool.experts
        rows = [self._outcomes(row, expert, columns) for row, expert in enumerate(experts)]
        scores = [self._scores(row, columns) for row in range(len(experts))]
        cards = {
            expert.id: count_card(
                expert, profile, {row.query_hash: row for row in of_expert if row}, scores=of_scores
            )
            for expert, of_expert, of_scores in zip(experts, rows, scores, strict=True)
        }
        counted = profile_of(
            tuple(cards),
            profile,
            rows,
            embeddings=self._embedder.encode([q.text for q in queries]),
            with_texts=self.recording.has_texts,
            scores=[one.by_hash for one in scores if one] or None,
        )
        return Knowledge(cards, counted)

    def _scores(self, row: int, columns: Sequence[int]) -> Scores | None:
        """Recorded scores of one expert; None where no question is open."""
        if self.recording.scores is None:
            return None
        found = {
            self.recording.queries[c].content_hash: float(score)
            for c, score in zip(columns, self.recording.scores[row, columns], strict=True)
            if not np.isnan(score)
        }
        return Scores(GradeSource.IMPORTED, RECORDED, found)

    @cached_property
    def _distinct_columns(self) -> list[int]:
        first: dict[str, int] = {}
        for column in self._split.profile.tolist():
            first.setdefault(self.recording.queries[column].content_hash, column)
        return list(first.values())

    def _outcomes(self, row: int, expert: Expert, columns: Sequence[int]) -> list[OutcomeRow | None]:
        return [self._outcome(row, expert, column) for column in columns]

    def _outcome(self, row: int, expert: Expert, column: int) -> OutcomeRow | None:
        """None = not measured."""
        outcome, text = self.recording.outcome(row, column), self.recording.text(row, column)
        if outcome is None:
            return None
        return OutcomeRow(
            fingerprint=expert.fingerprint,
            query_hash=self.recording.queries[column].content_hash,
            outcome=outcome.outcome,
            value=outcome.value,
            text=text,
            completion_tokens=n_tokens(len(text)),
            latency_ms=0.0,
        )

    @cached_property
    def _annotator(self) -> SkillAnnotator:
        if self._plan.labels:
            return LabelAnnotator()
        texts = [self.recording.queries[c].text for c in self._distinct_columns]
        return make_annotator(self._settings, self._embedder, texts=texts)

    def _inner(self) -> Embedder:
        chosen = self._plan.muster.embedder
        return embedder_of(chosen.model, revision=chosen.revision)

    def _oracle(self) -> Trial:
        """The best answer of the pool to each question; asks everybody."""
        scores = self.recording.best_scores(self._split.test)
        n = len(scores)
        return Trial(ORACLE, scores, np.full(n, len(self.recording.experts)), np.full(n, np.nan))


def _by_seed(found: Sequence[SeedTrials], plan: ReplayPlan) -> list[SeedTrials]:
    """Parts of a seed put together, rows in the order of the plan."""
    merged = []
    for seed in plan.seeds:
        of_seed = [part for part in found if part.seed == seed]
        trials = {trial.name: trial for part in of_seed for trial in part.trials}
        merged.append(SeedTrials(seed, of_seed[0].columns, tuple(trials[n] for n in plan.rows.names)))
    return merged


@contextmanager
def worker_pool(n: int) -> Iterator[ProcessPoolExecutor]:
    """n processes with one numeric thread each; they end with this one, however it ends, and at once where
    the block is left by an error or an interruption: their work takes minutes."""
    # Spawned, not forked: the parent has threads (BLAS, progress bar).
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with (
        _single_threaded(),
        ProcessPoolExecutor(n, mp_context=context, initializer=_die_with_parent) as executor,
    ):
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a worker"
    die_with(parent.sentinel)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Children get one numeric thread each: more of them would only wait for one another."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
