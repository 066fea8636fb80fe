"""A configured pool evaluated: compositions compared, experts ranked, responses written as a replay set."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator.domain.cards import Profile
from orchestrator.domain.experts import Pool
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError, NotProfiledError
from orchestrator.evaluation.bench import Bench, BenchReport, OnBench
from orchestrator.evaluation.bench_grades import NO_SCORES, AnswerScores
from orchestrator.evaluation.compositions import CompositionsReport, Kind, compare_compositions
from orchestrator.evaluation.replay.writing import Written, write_replay_set
from orchestrator.evaluation.swiss import Standing, swiss_standings
from orchestrator.ports.skills import Grader


class PoolEvaluation:
    """Evaluation of a pool by its profile and by held-out questions.

    Args:
        questions: those of the newest profile.
        profile: outcomes on them; None = not profiled here.
        grader: tells which answers say the same.
    """

    def __init__(
        self,
        *,
        bench: Bench,
        pool: Pool,
        questions: Callable[[], Sequence[Query]],
        profile: Callable[[], Profile | None],
        grader: Grader,
        seed: int,
    ) -> None:
        self._bench = bench
        self._pool = pool
        self._questions = questions
        self._profile = profile
        self._grader = grader
        self._seed = seed
        self._ranked: tuple[Profile, list[Standing]] | None = None

    def bench(
        self,
        queries: Sequence[Query],
        compositions: Sequence[str],
        *,
        run_all: bool = False,
        scores: AnswerScores = NO_SCORES,
        on_progress: OnBench | None = None,
    ) -> BenchReport:
        """As `Bench.run`.

        Raises:
            InputError: as there, or a question that the experts were profiled on.
        """
        profiled = {query.content_hash for query in self._questions()}
        known = [query for query in queries if query.content_hash in profiled]
        if known:
            raise InputError(
                f"{len(known)} of {len(queries)} questions were profiled on, '{known[0].id}' is the first.",
                remedy="Compare on questions that nothing was learnt from.",
            )
        return self._bench.run(queries, compositions, run_all=run_all, scores=scores, on_progress=on_progress)

    def compositions(
        self,
        queries: Sequence[Query],
        kinds: Mapping[str, Kind],
        *,
        on_progress: OnBench | None = None,
    ) -> CompositionsReport:
        """Every row run, and each combination beside single experts of its own cost.

        Args:
            kinds: the rows in their order, and the kind of each.

        Raises:
            InputError: as `bench`, or an open question.
        """
        opened = next((query.id for query in queries if query.answer_type.is_graded), None)
        if opened is not None:
            raise InputError(
                f"question '{opened}' is open: rows are compared by what is right.",
                param="answer_type",
                remedy="Give questions with exact answers.",
            )
        report = self.bench(queries, tuple(kinds), run_all=True, on_progress=on_progress)
        return compare_compositions(report, kinds)

    def swiss(self) -> list[Standing]:
        """The pool ranked by Swiss rounds over its profile; computed once for each profile, it takes seconds.

        Raises:
            NotProfiledError: the pool was not profiled here.
        """
        whole = self._profile()
        profile = None if whole is None else whole.exact
        if whole is None or profile is None or not profile.texts:
            raise NotProfiledError(
                "the pool has no profile of exact answers to play on.", remedy="Run `muster profile` first."
            )
        if self._ranked is None or self._ranked[0] is not whole:
            self._ranked = (whole, swiss_standings(profile, seed=self._seed))
        return self._ranked[1]

    def record(self, folder: Path) -> Written:
        """Write the profile's responses as a replay set.

        Raises:
            InputError: the pool was not profiled here, or as `write_replay_set`.
        """
        profile = self._profile()
        if profile is None:
            raise InputError(
                "the pool has no profile here.", remedy="Run `muster profile QUESTIONS.jsonl` first."
            )
        return write_replay_set(folder, profile, self._pool, self._grader)
