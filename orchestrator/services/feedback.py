"""Users judge answers; what that says of the experts is kept and counted on their cards (methods 1.5)."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.domain.answers import NOT_SURE, Answer, Vote, as_typed
from orchestrator.domain.assignments import CallRole
from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.experts import Pool
from orchestrator.domain.feedback import (
    ALL_SKILLS,
    DAY_S,
    WEEK_DAYS,
    Decay,
    Drift,
    Feedback,
    FeedbackCount,
    Judged,
    Opinion,
    by_week,
    drifts,
    judge_experts,
    with_feedback,
)
from orchestrator.domain.grades import GradeSource
from orchestrator.errors import AlreadyJudgedError, InputError
from orchestrator.ports.cards import FeedbackStore, ScoreRow
from orchestrator.ports.clock import EpochClock
from orchestrator.ports.jobs import QueryRecord, ResultReader
from orchestrator.ports.skills import Grader
from orchestrator.settings.schema import FeedbackSettings

log = logging.getLogger(__name__)

MOST_WEEKS = 26
"""Weeks of judged answers that are shown one by one."""

_FORGOTTEN_HALF_LIVES = 10
"""Feedback older than so many half-lives counts less than a thousandth, and is not read."""


class FeedbackDesk:
    """Takes judgements in, and adds what they say to cards. A judgement of an answer to an open question is
    no count of right and wrong answers: it is kept as a score (source `feedback`) of whose words it is.

    Args:
        save_scores: keeps scores.
    """

    def __init__(
        self,
        *,
        jobs: ResultReader,
        store: FeedbackStore,
        grader: Grader,
        pool: Pool,
        settings: FeedbackSettings,
        now_s: EpochClock,
        save_scores: Callable[[Sequence[ScoreRow]], None] = lambda _rows: None,
    ) -> None:
        self._save_scores = save_scores
        self._jobs = jobs
        self._store = store
        self._grader = grader
        self._pool = pool
        self._settings = settings
        self._now_s = now_s

    def judge(self, job_id: str, query_id: str | None, *, score: float, key: str = "") -> Feedback:
        """Store a judgement of an answer; the same one again changes nothing.

        Counts go to the experts as they are configured now.

        Args:
            query_id: None = the only query of the job.
            score: in [0, 1]; 1 = right.
            key: tells judgements of one answer apart (users, say); each key counts once.

        Raises:
            NotFoundError: no such job or query.
            InputError: no query named in a job of several, or one that has no answer to judge.
            AlreadyJudgedError: another score came under this key before.
        """
        record = self._jobs.query_record(job_id, query_id)
        answer = _judgeable(record)
        record = record._replace(query=as_typed(record.query, answer.decision))
        is_open = record.query.answer_type.is_graded
        given = Feedback(
            job_id=job_id,
            query_id=record.query.id,
            key=key,
            score=score,
            day=self._today,
            experts={} if is_open else judge_experts(self._opinions(record, answer), score),
        )
        kept = self._store.save_feedback(given, self._counts(given, answer))
        if kept.score != score:
            raise AlreadyJudgedError(
                f"this answer was judged {kept.score:g} before.",
                param="key",
                remedy="Give another key (Idempotency-Key) to judge it once more.",
            )
        if is_open:
            self._save_scores(self._scores(record, answer, kept))
        log.info("feedback %g on job %s query %s", score, job_id, record.query.id)
        return kept

    def on_cards(self, cards: Mapping[str, CompetenceCard]) -> dict[str, CompetenceCard]:
        """Measured cards with the feedback that has not faded yet. Scores of answers to open questions stand
        beside the grades: they do not fade, and are in no other number."""
        counts = self._known(cards)
        grades = self._store.feedback_grades([card.fingerprint for card in cards.values()])
        fed = {i: with_feedback(card, counts[card.fingerprint], self._decay) for i, card in cards.items()}
        return {
            i: card.replaced(feedback_grades=grades[card.fingerprint]) if card.fingerprint in grades else card
            for i, card in fed.items()
        }

    def drifts(self, cards: Mapping[str, CompetenceCard]) -> list[Drift]:
        """Drifts: what of measured cards recent feedback contradicts, in the order of the cards."""
        counts, settings = self._known(cards), self._settings
        found = (
            drifts(
                card,
                counts[card.fingerprint],
                self._decay,
                window_days=settings.window_days,
                min_answers=settings.min_answers,
            )
            for card in cards.values()
        )
        return [drift for of_card in found for drift in of_card]

    def weeks(self, fingerprint: str) -> list[Judged]:
        """Judged answers of one expert, week by week, the oldest first; those of the last `MOST_WEEKS`."""
        since = self._today - MOST_WEEKS * WEEK_DAYS
        return by_week(self._store.feedback_counts([fingerprint], since_day=since))

    @property
    def _today(self) -> int:
        return int(self._now_s() // DAY_S)

    @property
    def _decay(self) -> Decay:
        return Decay(self._settings.half_life_days, self._today)

    def _known(self, cards: Mapping[str, CompetenceCard]) -> Mapping[str, list[FeedbackCount]]:
        """Counts by fingerprint."""
        oldest = self._today - round(_FORGOTTEN_HALF_LIVES * self._settings.half_life_days)
        known: dict[str, list[FeedbackCount]] = defaultdict(list)
        wanted = [card.fingerprint for card in cards.values()]
        for count in self._store.feedback_counts(wanted, since_day=oldest):
            known[count.fingerprint].append(count)
        return known

    def _opinions(self, record: QueryRecord, answer: Answer) -> Iterable[Opinion]:
        """One per vote; none of an expert that could not be asked, for that says nothing of it."""
        could_be_asked = {
            response.expert_id
            for response in record.responses
            if response.role is CallRole.EXPERT and response.is_experts_own
        }
        for vote in answer.votes:
            if self._agrees(record, answer, vote):
                yield Opinion(vote.expert_id, True)
            elif vote.value is not None:
                yield Opinion(vote.expert_id, False)
            elif vote.expert_id in could_be_asked:
                yield Opinion(vote.expert_id, None)

    def _agrees(self, record: QueryRecord, answer: Answer, vote: Vote) -> bool:
        if answer.value is None:  # words that nobody could read, of a single expert
            return vote.expert_id == answer.answered_by
        if vote.value is None:
            return False
        return vote.value == answer.value or self._grader.equivalent(record.query, vote.value, answer.value)

    def _scores(self, record: QueryRecord, answer: Answer, feedback: Feedback) -> list[ScoreRow]:
        """The judgement as a score; none where several wrote the answer, or who did has left."""
        expert = None if answer.answered_by is None else self._pool.by_id.get(answer.answered_by)
        if expert is None:
            return []
        by = (GradeSource.FEEDBACK, feedback.key, expert.fingerprint, record.query.content_hash)
        return [ScoreRow(*by, score=feedback.score)]

    def _counts(self, feedback: Feedback, answer: Answer) -> list[FeedbackCount]:
        """Each skill of the query gets one observation, whatever its weight, as in profiling."""
        skills = (ALL_SKILLS, *(tag.name for tag in (answer.decision.skills if answer.decision else ())))
        by_id = self._pool.by_id
        return [
            FeedbackCount(by_id[expert_id].fingerprint, skill, feedback.day, tally)
            for expert_id, tally in feedback.experts.items()
            if expert_id in by_id and tally.n > 0
            for skill in skills
        ]


def _judgeable(record: QueryRecord) -> Answer:
    if record.answer is None:
        raise InputError(f"query '{record.query.id}' is not answered yet.", param="query")
    if record.answer.error_code is not None:
        raise InputError(
            f"query '{record.query.id}' failed ({record.answer.error_code}): there is no answer to judge.",
            param="query",
        )
    if record.answer.value is None and record.answer.text == NOT_SURE:
        raise InputError(
            f"the answer of query '{record.query.id}' was withheld: there is none to judge.", param="query"
        )
    return record.answer
