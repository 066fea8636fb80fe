"""Profiling: experts x labelled questions -> competence cards, incremental and resumable.

Work goes through the job store like any other: experts share loads, workers may die, and a second
run asks only what no earlier one has measured. Source: Symbolic-MoE, arXiv:2503.05641, section 3.1.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from orchestrator.compositions.roll_call import ANNOTATE, EXAM, ROLL_CALL
from orchestrator.domain.cards import UNKNOWN, CompetenceCard, Profile
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.grades import Origin
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.errors import SkillError, UnknownNameError
from orchestrator.ports.cards import CardStore, OutcomeRow
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.ports.jobs import JobStore
from orchestrator.ports.profiling import Judging, ProfileReport, Scoring
from orchestrator.ports.skills import Embedder, Grader, SkillAnnotator, SkillMatcher
from skills.counting import ProfileSet, Scores, count_card, profile_of, profile_set
from skills.exam import exam_queries
from skills.measuring import Measurer, ProgressCallback
from skills.scoring import Scorer, judge_of

logger = logging.getLogger(__name__)


class Profiler:
    """Keeps the cards of a pool up to date.

    Args:
        matcher: maps annotated names to the card vocabulary; None = the annotator's names are it.
        seed: of generation and of the exam's choice of responses.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        cards: CardStore,
        dispatcher: Dispatcher,
        grader: Grader,
        annotator: SkillAnnotator,
        matcher: SkillMatcher | None,
        embedder: Embedder,
        pool: Pool,
        seed: int = 0,
    ) -> None:
        self._cards = cards
        self._measurer = Measurer(
            jobs=jobs, cards=cards, dispatcher=dispatcher, grader=grader, pool=pool, seed=seed
        )
        self._scorer = Scorer(cards=cards, measurer=self._measurer, pool=pool, seed=seed)
        self._annotator = annotator
        self._matcher = matcher
        self._embedder = embedder
        self._pool = pool
        self._seed = seed

    def run(
        self,
        queries: Sequence[Query],
        *,
        experts: Sequence[str] | None = None,
        exam: bool = True,
        scoring: Scoring | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> ProfileReport:
        """Ask what is not yet known, grade it, and store the cards of every expert with outcomes.

        The old profile stays the newest one until all new cards can be written.

        Args:
            queries: labelled questions, each different.
            experts: ids to profile; None = every answerer, and every aggregator in the exam.
            exam: also measure aggregation skill; without it, exams taken earlier still count.
            scoring: of responses to open questions; None = scores of the newest cards' source hold.

        Raises:
            SkillError: no questions, one without an answer, or two that ask the same; scores without an open
                question; an expert that may not judge, or an anchor that does not answer.
            UnknownNameError: an expert that is not in the pool.
        """
        check_profile(self._pool, queries, scoring)
        chosen = self._chosen(experts)
        open_ones = [query for query in queries if query.answer_type.is_graded]
        skills = self._annotate(queries, on_progress)
        profile = profile_set(queries, skills)
        answerers = [e for e in self._pool.answerers if e.id in chosen]
        self._measurer.regrade(self._pool.answerers, self._relabelled(queries))
        coverage = self._measurer.measure(answerers, queries, composition=ROLL_CALL, on_progress=on_progress)
        grading = self._scorer.run(open_ones, scoring, on_progress=on_progress) if open_ones else None
        examined = exam_queries(queries, self._pool_rows(queries), seed=self._seed)
        if exam:
            aggregators = [e for e in self._pool.aggregators if e.id in chosen]
            self._measurer.measure(aggregators, examined, composition=EXAM, on_progress=on_progress)
        origin = None if grading is None else Origin(grading.source, grading.judge)
        cards = self._save(profile, examined, origin)
        unmeasured = {e.id: len(self._measurer.missing(e, queries)) for e in answerers}
        return ProfileReport(
            profile_hash=profile.hash,
            cards=cards,
            n_questions=len(queries),
            n_asked=coverage.n_asked,
            n_reused=coverage.n_reused,
            n_exam_questions=len(examined),
            unmeasured={expert_id: n for expert_id, n in unmeasured.items() if n},
            failures=coverage.failures,
            cut_off=coverage.cut_off,
            n_open=len(open_ones),
            grading=grading,
        )

    def outcomes(
        self,
        queries: Sequence[Query],
        *,
        experts: Sequence[str],
        on_progress: ProgressCallback | None = None,
    ) -> dict[str, list[int]]:
        """Outcomes of experts on questions, asked where they are not known; no card is counted from them.

        Returns:
            By expert one of RIGHT, WRONG, ABSTAINED, UNKNOWN for each question, in order. UNKNOWN: only
            infrastructure errors answered.

        Raises:
            SkillError, UnknownNameError: as `run`; or a question is open.
        """
        check_labelled(queries)
        _check_exact(queries)
        chosen = self._chosen(experts)
        asked = [expert for expert in self._pool.experts if expert.id in chosen]
        self._measurer.regrade(asked, queries)
        self._measurer.measure(asked, queries, composition=ROLL_CALL, on_progress=on_progress)
        return {
            expert.id: [UNKNOWN if row is None else row.outcome for row in self._rows(expert, queries)]
            for expert in asked
        }

    def score_texts(
        self,
        pairs: Sequence[tuple[Query, str]],
        judge: str,
        *,
        on_progress: ProgressCallback | None = None,
    ) -> list[float | None]:
        """As `Scorer.score_texts`."""
        return self._scorer.score_texts(pairs, judge, on_progress=on_progress)

    def profile(self) -> Profile | None:
        """Outcomes of the pool's answerers on the newest profile set; None before the first run.

        Only outcomes of the present fingerprints count: an expert whose weights or options have
        changed since is UNKNOWN throughout.
        """
        newest = self._cards.latest_profile_hash()
        rows = None if newest is None else self._cards.profile_set(newest)
        if newest is None or not rows:
            return None
        queries = [query for query, _ in rows]
        origin = self._scorer.origin()
        answerers = self._pool.answerers
        return profile_of(
            tuple(e.id for e in answerers),
            ProfileSet(newest, tuple(queries), tuple(tags for _, tags in rows)),
            [self._rows(expert, queries) for expert in answerers],
            embeddings=self._embedder.encode([q.text for q in queries]),
            scores=None if origin is None else [self._scores(origin, e, queries).by_hash for e in answerers],
        )

    def _scores(self, origin: Origin, expert: Expert, queries: Sequence[Query]) -> Scores:
        return self._scorer.known(origin, expert, [q for q in queries if q.answer_type.is_graded])

    def _rows(self, expert: Expert, queries: Sequence[Query]) -> list[OutcomeRow | None]:
        known = self._measurer.known(expert, queries)
        return [known.get(query.content_hash) for query in queries]

    def _relabelled(self, queries: Sequence[Query]) -> list[Query]:
        """Questions whose answer is not the one that the newest profile was graded with."""
        newest = self._cards.latest_profile_hash()
        rows = (self._cards.profile_set(newest) if newest else None) or []
        graded_with = {query.content_hash: query.answer for query, _ in rows}
        return [query for query in queries if graded_with.get(query.content_hash) != query.answer]

    def _annotate(
        self, queries: Sequence[Query], on_progress: ProgressCallback | None
    ) -> list[tuple[SkillTag, ...]]:
        asking = [query for query in queries if self._annotator.calls(query) is not None]
        responses = (
            self._measurer.generate(asking, composition=ANNOTATE, on_progress=on_progress) if asking else {}
        )
        tags = self._annotator.annotate(queries, [responses.get(q.content_hash, ()) for q in queries])
        return self._matcher.match(tags) if self._matcher else tags

    def _pool_rows(self, queries: Sequence[Query]) -> dict[str, list[OutcomeRow]]:
        rows: dict[str, list[OutcomeRow]] = defaultdict(list)
        for expert in self._pool.answerers:
            for query_hash, row in self._measurer.known(expert, queries).items():
                rows[query_hash].append(row)
        return rows

    def _save(
        self, profile: ProfileSet, examined: Sequence[Query], origin: Origin | None
    ) -> dict[str, CompetenceCard]:
        counted = (self._card(expert, profile, examined, origin) for expert in self._pool.experts)
        cards = {card.expert_id: card for card in counted if card is not None}
        self._cards.save_profile_set(profile.hash, profile.queries, profile.skills)
        for card in cards.values():
            self._cards.save_card(card)
            logger.info("card of %s on profile %s: %s", card.expert_id, profile.hash, card.hash)
        return cards

    def _card(
        self, expert: Expert, profile: ProfileSet, examined: Sequence[Query], origin: Origin | None
    ) -> CompetenceCard | None:
        """None for an expert of which nothing is known."""
        rows: Mapping[str, OutcomeRow] = {}
        if expert in self._pool.answerers:
            rows = self._measurer.known(expert, profile.queries)
        graded = self._measurer.known(expert, examined) if examined else {}
        exam = [(q, graded[q.content_hash]) for q in examined if q.content_hash in graded]
        scores = None if origin is None else self._scores(origin, expert, profile.queries)
        return count_card(expert, profile, rows, exam, scores) if rows or exam else None

    def _chosen(self, experts: Iterable[str] | None) -> frozenset[str]:
        chosen = frozenset(self._pool.by_id if experts is None else experts)
        for expert_id in sorted(chosen - self._pool.by_id.keys()):
            raise UnknownNameError("expert", expert_id, self._pool.by_id)
        return chosen


def check_profile(pool: Pool, queries: Sequence[Query], scoring: Scoring | None) -> None:
    """Refuse a profile set that cannot be graded, or scores that could not be taken or asked for.

    Raises:
        SkillError: as `check_labelled`; scores without an open question; an expert that may not judge, or an
            anchor that does not answer.
        UnknownNameError: an expert that is not in the pool.
    """
    check_labelled(queries)
    if scoring is not None and not any(query.answer_type.is_graded for query in queries):
        raise SkillError(
            "none of the questions is open: there is nothing to score.",
            param="answer_type",
            remedy="Give questions of answer_type 'open', or leave the scores away.",
        )
    if isinstance(scoring, Judging):
        judge_of(pool, scoring)


def check_labelled(queries: Sequence[Query]) -> None:
    """Refuse a profile set that cannot be graded.

    Raises:
        SkillError: no questions, one with an exact answer that is not given, or two that ask the same; names
            the first.
    """
    if not queries:
        raise SkillError("the profile set has no questions.", remedy="Give labelled questions.")
    unlabelled = [q.id for q in queries if q.answer is None and not q.answer_type.is_graded]
    if unlabelled:
        raise SkillError(
            f"{len(unlabelled)} profile questions have no answer, first: {', '.join(unlabelled[:5])}.",
            param="answer",
            remedy="Give each question its reference 'answer'; one that has no exact answer is of "
            "answer_type 'open'.",
        )
    _check_distinct(queries)


def _check_exact(queries: Sequence[Query]) -> None:
    found = next((query.id for query in queries if query.answer_type.is_graded), None)
    if found is not None:
        raise SkillError(
            f"question '{found}' is open: it has no outcome, right or wrong.",
            param="answer_type",
            remedy="Give questions with exact answers.",
        )


def _check_distinct(queries: Sequence[Query]) -> None:
    first: dict[str, str] = {}
    repeats: list[str] = []
    for query in queries:
        if query.content_hash in first:
            repeats.append(f"{query.id} = {first[query.content_hash]}")
        first.setdefault(query.content_hash, query.id)
    if repeats:
        raise SkillError(
            f"{len(repeats)} profile questions repeat others: {', '.join(repeats[:5])}.",
            param="question",
            remedy="Keep one of each.",
        )
