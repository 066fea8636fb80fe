"""Scores of responses to open questions: taken over as they were given, or asked of a judge.

One source holds for a whole profile. What a judge said is kept with all that it depends on, so that a later
run asks only what is new.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from orchestrator.compositions.grading import GRADING, REGRADING, TOP_LOGPROBS
from orchestrator.domain.assignments import Response
from orchestrator.domain.cards import GRADED, grade_origin
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.features import Feature
from orchestrator.domain.grades import NO_SCORE, GradeSource, Origin
from orchestrator.domain.queries import Query
from orchestrator.domain.values import content_hash
from orchestrator.errors import SkillError, UnknownNameError
from orchestrator.ports.cards import CardStore, OutcomeRow, ScoreRow
from orchestrator.ports.profiling import GivenScores, GradingReport, JudgeCheck, Judging, Scoring
from orchestrator.prompts import GRADING_VERSION
from skills.counting import Scores
from skills.grading.judging import (
    LengthPoint,
    SelfAgreement,
    agreed,
    length_slope,
    near_equal,
    score_of,
    self_agreement,
)
from skills.measuring import Heard, Measurer, ProgressCallback

LEAST_COMPARED = 10
"""Questions with answers of different lengths, below which nothing is said of a liking for length."""
N_CHECKED = 30
"""Responses that a judge reads twice before its scores count."""

_SHOWN_CHARS = 60

EVEN = 0.5
"""Score of a response that is as good as the anchor's."""


class Reading(NamedTuple):
    """A response that is to be scored. `asked`: the question as the judge is asked it; `score`: known without
    asking."""

    expert: Expert
    query: Query
    row: OutcomeRow
    asked: Query
    score: float | None = None


class Scorer:
    """Scores the responses of a pool to open questions.

    Args:
        seed: of the choice of the responses that are read twice.
    """

    def __init__(self, *, cards: CardStore, measurer: Measurer, pool: Pool, seed: int) -> None:
        self._cards = cards
        self._measurer = measurer
        self._pool = pool
        self._seed = seed

    def origin(self) -> Origin | None:
        """Source and judge of the newest cards; None = none of them has grades."""
        return grade_origin(self._cards.cards().values())

    def known(self, origin: Origin, expert: Expert, queries: Sequence[Query]) -> Scores:
        """Scores on the books, in [0, 1], of the expert as it is now, by this origin alone."""
        hashes = [query.content_hash for query in queries]
        rows = self._cards.known_scores(origin.source, origin.judge, expert.fingerprint, hashes)
        return Scores(origin.source, origin.judge, {h: row.score for h, row in rows.items()})

    def run(
        self,
        queries: Sequence[Query],
        scoring: Scoring | None,
        *,
        on_progress: ProgressCallback | None,
    ) -> GradingReport | None:
        """Make scores of the pool's responses to open questions known; None = nobody scores.

        Args:
            queries: open ones, whose responses are known as far as they can be.
            scoring: None = what the source of the newest cards has said holds.
            on_progress: told of the judge's work; None = nobody is.

        Raises:
            UnknownNameError: a judge or an anchor that is not in the pool.
            SkillError: a judge without that role, or that gave no score at all; an anchor that answers
                nothing.
        """
        if isinstance(scoring, GivenScores):
            return self._take_over(queries, scoring)
        if isinstance(scoring, Judging):
            return self._judge(queries, scoring, on_progress)
        origin = self.origin()
        return None if origin is None else self._report(queries, origin)

    def score_texts(
        self, pairs: Sequence[tuple[Query, str]], judge_id: str, *, on_progress: ProgressCallback | None
    ) -> list[float | None]:
        """Scores in [0, 1] of any answers to open questions by a judge, in order; None = its reply cannot be
        read. They are on no card, and are kept with the judge's replies only.

        Args:
            pairs: questions with the answers that are scored.
            judge_id: of a member with the role `judge`.
            on_progress: told of the judge's work; None = nobody is.

        Raises:
            UnknownNameError, SkillError: as `run`.
        """
        judge = judge_of(self._pool, Judging(judge_id))
        asked = [asked_of(query, (text,)) for query, text in pairs]
        distinct = list({query.content_hash: query for query in asked}.values())
        replies = self._heard(judge, distinct, GRADING, on_progress)
        scores = _scored(distinct, replies)
        if distinct and not scores:
            raise _nothing_read(judge, distinct, replies)
        return [scores.get(query.content_hash) for query in asked]

    def _take_over(self, queries: Sequence[Query], given: GivenScores) -> GradingReport:
        rows, overruled = [], 0
        for expert in self._pool.answerers:
            known = self._measurer.known(expert, queries)
            for query in queries:
                score, row = given.scores.get((query.id, expert.id)), known.get(query.content_hash)
                if score is not None:
                    mark = ScoreRow(
                        GradeSource.IMPORTED, given.judge, expert.fingerprint, query.content_hash, score
                    )
                    rows.append(mark)
                    overruled += row is not None and row.outcome != GRADED and score != NO_SCORE
        self._cards.save_scores(rows)
        origin = Origin(GradeSource.IMPORTED, given.judge)
        return self._report(queries, origin)._replace(overruled=overruled)

    def _judge(
        self, queries: Sequence[Query], judging: Judging, on_progress: ProgressCallback | None
    ) -> GradingReport:
        judge = judge_of(self._pool, judging)
        origin = origin_of(queries, judging)
        readings = list(self._readings(queries, judging))
        known = self._kept(origin, judge, readings)
        asked = {r.asked.content_hash: r.asked for r in readings if r.score is None}
        twice = self._chosen(list(asked.values())) if judging.anchor is None else []
        turned = self._heard(judge, twice, REGRADING, on_progress)
        new = [query for h, query in asked.items() if h not in known]
        replies = self._heard(judge, new, GRADING, on_progress)
        scores = {**known, **_scored(new, replies)}
        if asked and not scores:
            raise _nothing_read(judge, new, replies)
        rows = list(_rows(origin, judge, readings, scores))
        scored = {row[:4] for row in rows}
        keys = [(*origin, r.expert.fingerprint, r.query.content_hash) for r in readings]
        # What another rubric or reference was worth must not count beside these.
        self._cards.save_scores(rows, forgotten=[key for key in keys if key not in scored])
        report = self._report(queries, origin)
        if judging.anchor is None:
            check = _check(self_agreement(scores, _scored(twice, turned)))
        else:
            check = _order_check(replies)
        unread = [replies[h] for q in new if (h := q.content_hash) in replies and h not in scores]
        return report._replace(check=check, notes=tuple(_notes(self._pool, judge, unread)))

    def _readings(self, queries: Sequence[Query], judging: Judging) -> Iterator[Reading]:
        """Responses to be scored, in the order of the pool and of the questions."""
        anchor = (
            {} if judging.anchor is None else self._measurer.known(self._pool.by_id[judging.anchor], queries)
        )
        for expert in self._pool.answerers:
            rows = self._measurer.known(expert, queries)
            for query in queries:
                row = rows.get(query.content_hash)
                if row is None or row.value is None:
                    continue
                if judging.anchor is None:
                    yield Reading(expert, query, row, asked_of(query, (row.value,)))
                    continue
                beside = anchor.get(query.content_hash)
                if beside is not None:
                    yield _beside(expert, query, row, beside)

    def _kept(self, origin: Origin, judge: Expert, readings: Sequence[Reading]) -> dict[str, float]:
        """Scores by the hash of what is asked, as far as what they depend on is the same."""
        kept: dict[str, float] = {}
        for expert in {r.expert.id: r.expert for r in readings}.values():
            own = [r for r in readings if r.expert.id == expert.id]
            hashes = [r.query.content_hash for r in own]
            rows = self._cards.known_scores(origin.source, origin.judge, expert.fingerprint, hashes)
            for reading in own:
                row = rows.get(reading.query.content_hash)
                if row is not None and row.basis == basis_of(judge, reading.asked):
                    kept[reading.asked.content_hash] = row.score
        return kept

    def _heard(
        self,
        judge: Expert,
        queries: Sequence[Query],
        composition: str,
        on_progress: ProgressCallback | None,
    ) -> dict[str, tuple[Response, ...]]:
        """Replies of the judge by query hash, with probabilities where its engine tells them. Only an answer
        says whether a server does, so one query is asked before the others."""
        if not queries:
            return {}
        ask = partial(self._asked, judge, composition, on_progress)
        if Feature.LOGPROBS not in judge.features or len(queries[0].candidates) == 2:
            return ask(queries, None).replies
        first, rest = ask(queries[:1], TOP_LOGPROBS), queries[1:]
        if first.lacks_feature:
            return ask(queries, None).replies
        return {**first.replies, **(ask(rest, TOP_LOGPROBS).replies if rest else {})}

    def _asked(
        self,
        judge: Expert,
        composition: str,
        on_progress: ProgressCallback | None,
        queries: Sequence[Query],
        logprobs: int | None,
    ) -> Heard:
        basis = content_hash([basis_of(judge, query) for query in queries])
        return self._measurer.heard(
            judge,
            queries,
            composition=composition,
            basis=basis,
            logprobs=logprobs,
            on_progress=on_progress,
        )

    def _chosen(self, queries: Sequence[Query]) -> list[Query]:
        """Responses that are read twice, drawn by the seed; all where there are no more."""
        ordered = sorted(queries, key=lambda query: query.content_hash)
        return random.Random(self._seed).sample(ordered, min(N_CHECKED, len(ordered)))

    def _report(self, queries: Sequence[Query], origin: Origin) -> GradingReport:
        n_scored, unscored, points = 0, {}, []
        for expert in self._pool.answerers:
            rows = self._measurer.known(expert, queries)
            scores = self.known(origin, expert, queries).by_hash
            own = {h: row for h, row in rows.items() if row.outcome == GRADED}
            n_scored += len(own.keys() & scores.keys())
            if missing := len(own.keys() - scores.keys()):
                unscored[expert.id] = missing
            points += [
                LengthPoint(h, len(row.value or ""), scores[h]) for h, row in own.items() if h in scores
            ]
        return GradingReport(
            origin.source,
            origin.judge,
            n_scored,
            unscored,
            per_doubling=length_slope(points, at_least=LEAST_COMPARED),
        )


def judge_of(pool: Pool, judging: Judging) -> Expert:
    """The judge, if it may judge, and its anchor answers.

    Raises:
        UnknownNameError: one of them is not in the pool.
        SkillError: a judge without that role, or an anchor without the role to answer.
    """
    for name, expert_id in (("judge", judging.judge), ("anchor", judging.anchor)):
        if expert_id is not None and expert_id not in pool.by_id:
            raise UnknownNameError("expert", expert_id, pool.by_id, param=name)
    judge = pool.by_id[judging.judge]
    if judge not in pool.judges:
        raise SkillError(
            f"'{judge.id}' is no judge.",
            param="judge",
            remedy="Add `judge` to the roles of its model_info.muster.",
        )
    if judging.anchor is not None and pool.by_id[judging.anchor] not in pool.answerers:
        raise SkillError(
            f"the anchor '{judging.anchor}' answers no questions.",
            param="anchor",
            remedy="Name an expert with the role 'expert'.",
        )
    return judge


def source_of(queries: Sequence[Query], judging: Judging) -> GradeSource:
    """Source of a judge's scores: pairs, else checks where a question has any, else references."""
    if judging.anchor is not None:
        return GradeSource.PAIRWISE
    if any(query.rubric for query in queries) or all(query.answer is None for query in queries):
        return GradeSource.RUBRIC
    return GradeSource.REFERENCE


def origin_of(queries: Sequence[Query], judging: Judging) -> Origin:
    """Origin of a judge's scores; those against another anchor are of another."""
    beside = "" if judging.anchor is None else f" against {judging.anchor}"
    return Origin(source_of(queries, judging), f"{judging.judge}{beside}")


def asked_of(query: Query, candidates: tuple[str, ...]) -> Query:
    """The question as a judge is asked it: `candidates` are the response, or it and the anchor's."""
    digest = content_hash([query.content_hash, candidates])
    fields = {name: getattr(query, name) for name in Query.model_fields}
    # A new Query, not a copy: a copy would keep the old one's cached content hash.
    return Query(**{**fields, "id": f"{query.id[:480]}#{digest}", "candidates": candidates})


def basis_of(judge: Expert, asked: Query) -> str:
    """Identity of all that a judge's score of one response depends on."""
    return content_hash(
        [GRADING_VERSION, judge.fingerprint, asked.content_hash, str(asked.answer), asked.rubric]
    )


def _beside(expert: Expert, query: Query, row: OutcomeRow, anchor: OutcomeRow) -> Reading:
    """A response beside the anchor's: even where they are nearly the same, won where the anchor is silent."""
    own, other = row.value or "", anchor.value or ""
    score = 1.0 if not other else EVEN if near_equal(own, other) else None
    return Reading(expert, query, row, asked_of(query, (own, other or own)), score)


def _scored(queries: Sequence[Query], replies: Mapping[str, tuple[Response, ...]]) -> dict[str, float]:
    """Scores by the hash of what was asked; what cannot be read is left out."""
    found = {q.content_hash: score_of(q, replies.get(q.content_hash, ())) for q in queries}
    return {h: score for h, score in found.items() if score is not None}


def _rows(
    origin: Origin, judge: Expert, readings: Sequence[Reading], scores: Mapping[str, float]
) -> Iterator[ScoreRow]:
    for r in readings:
        score = scores.get(r.asked.content_hash) if r.score is None else r.score
        if score is not None:
            yield ScoreRow(
                *origin, r.expert.fingerprint, r.query.content_hash, score, basis_of(judge, r.asked)
            )


def _check(found: SelfAgreement) -> JudgeCheck | None:
    return JudgeCheck(*found) if found.n else None


def _order_check(replies: Mapping[str, tuple[Response, ...]]) -> JudgeCheck | None:
    """Agreement of both orders of each pair that was asked."""
    said = []
    for of_pair in replies.values():
        by_place = {reply.sample_ix: reply for reply in of_pair if not reply.failed}
        said.append(agreed(by_place.get(0), by_place.get(1)))
    read = [same for same in said if same is not None]
    share = sum(read) / len(read) if read else 0.0
    return JudgeCheck(len(read), share, 1 - share) if read else None


def _notes(pool: Pool, judge: Expert, unread: Sequence[tuple[Response, ...]]) -> Iterator[str]:
    if judge in pool.answerers:
        yield f"judge {judge.id} scores answers of its own: models favour these"
    if unread:
        yield f"{len(unread)} replies of judge {judge.id} could not be read, such as {_shown(unread[0])}"


def _nothing_read(
    judge: Expert, asked: Sequence[Query], replies: Mapping[str, tuple[Response, ...]]
) -> SkillError:
    """The error of a judge that gave no score at all: grades that were there before stay."""
    said = next((replies[q.content_hash] for q in asked if q.content_hash in replies), None)
    why = "it could not be asked" if said is None else f"it replied, such as {_shown(said)}"
    return SkillError(
        f"judge '{judge.id}' gave none of {len(asked)} answers a score: {why}.",
        param="judge",
        remedy="Name a judge that follows instructions, and has room for them in its context.",
    )


def _shown(replies: Sequence[Response]) -> str:
    """The end of a reply, where its score should be, or why there is none."""
    reply = next((reply for reply in replies if reply.failed), replies[-1])
    return str(reply.error_code) if reply.failed else repr(reply.text[-_SHOWN_CHARS:])
