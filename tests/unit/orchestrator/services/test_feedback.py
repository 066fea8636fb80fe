"""The desk over fakes: what a judgement says of those who took part."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from orchestrator.domain.answers import NOT_SURE, Answer, Decision, Vote
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.cards import Tally
from orchestrator.domain.experts import Pool
from orchestrator.domain.feedback import ALL_SKILLS, DAY_S, Feedback, FeedbackCount
from orchestrator.domain.grades import GradeSource, GradeTally, grade_tally
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.skills import SkillTag
from orchestrator.errors import AlreadyJudgedError, InputError
from orchestrator.ports.cards import ScoreRow
from orchestrator.ports.jobs import QueryRecord
from orchestrator.services.feedback import FeedbackDesk
from orchestrator.settings.schema import FeedbackSettings
from tests.fakes.app import make_card, make_expert

POOL = Pool(experts=(make_expert("ada"), make_expert("bob"), make_expert("eve")))
TODAY = 1000
SKILLS = (SkillTag(name="algebra"), SkillTag(name="sums", weight=0.5))


@dataclass
class FakeFeedbackStore:
    kept: dict[tuple[str, str, str], Feedback] = field(default_factory=dict)
    counts: list[FeedbackCount] = field(default_factory=list)
    grades: dict[str, GradeTally] = field(default_factory=dict)

    def save_feedback(self, feedback: Feedback, counts: Sequence[FeedbackCount]) -> Feedback:
        key = (feedback.job_id, feedback.query_id, feedback.key)
        if key not in self.kept:
            self.kept[key] = feedback
            self.counts += counts
        return self.kept[key]

    def feedback_counts(self, fingerprints: Sequence[str], *, since_day: int) -> list[FeedbackCount]:
        return [c for c in self.counts if c.fingerprint in fingerprints and c.day >= since_day]

    def feedback_grades(self, fingerprints: Sequence[str]) -> dict[str, GradeTally]:
        return {f: tally for f, tally in self.grades.items() if f in fingerprints}


class SameNumber:
    """`1` and `1.0` say the same."""

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        return float(a) == float(b)


@dataclass
class FakeJobs:
    record: QueryRecord

    def query_record(self, job_id: str, query_id: str | None) -> QueryRecord:
        return self.record


def record(answer: Answer | None, **failures: str) -> QueryRecord:
    """`failures`: error code of an expert's response."""
    responses = tuple(
        Response(expert_id=e.id, role=CallRole.EXPERT, stage=0, error_code=failures.get(e.id))
        for e in POOL.experts
    )
    return QueryRecord(Query(id="q", question="1 + 0?"), answer, responses)


def answer(value: str | None = "1", answered_by: str | None = None, **votes: str | None) -> Answer:
    return Answer(
        text="one",
        value=value,
        answered_by=answered_by,
        votes=tuple(Vote(expert_id=e, value=v, weight=1) for e, v in votes.items()),
        decision=Decision(router="any", recruits=(), skills=SKILLS),
    )


def desk(
    of: QueryRecord,
    store: FakeFeedbackStore | None = None,
    *,
    day: int = TODAY,
    scores: list[ScoreRow] | None = None,
) -> FeedbackDesk:
    kept = [] if scores is None else scores
    return FeedbackDesk(
        save_scores=kept.extend,
        jobs=FakeJobs(of),
        store=store or FakeFeedbackStore(),
        grader=SameNumber(),
        pool=POOL,
        settings=FeedbackSettings(half_life_days=30),
        now_s=lambda: day * DAY_S + 5.0,
    )


def test_equivalent_votes_agree_with_the_answer() -> None:
    said = desk(record(answer(ada="1.0", bob="2", eve="1"))).judge("job", None, score=1)
    assert said.experts == {
        "ada": Tally(n_right=1),
        "bob": Tally(n_wrong=1),
        "eve": Tally(n_right=1),
    }
    assert (said.query_id, said.day) == ("q", TODAY)


def test_an_expert_that_could_not_be_asked_is_left_out_one_that_failed_itself_is_not() -> None:
    of = record(answer(ada="1", bob=None, eve=None), bob="engine_crashed", eve="context_exceeded")
    said = desk(of).judge("job", None, score=1)
    assert said.experts == {"ada": Tally(n_right=1), "eve": Tally(n_abstain=1)}


def test_words_without_a_value_are_those_of_who_answered() -> None:
    of = record(answer(None, answered_by="ada", ada=None))
    assert desk(of).judge("job", None, score=0).experts == {"ada": Tally(n_wrong=1)}


def test_each_skill_of_the_query_and_the_whole_card_are_counted() -> None:
    store = FakeFeedbackStore()
    desk(record(answer(ada="1", bob="2")), store).judge("job", None, score=0)
    ada = POOL.by_id["ada"].fingerprint
    assert [(c.fingerprint, c.skill, c.tally) for c in store.counts] == [
        (ada, skill, Tally(n_wrong=1)) for skill in (ALL_SKILLS, "algebra", "sums")
    ]


def test_the_same_judgement_again_changes_nothing_and_another_is_refused() -> None:
    store = FakeFeedbackStore()
    of = desk(record(answer(ada="1")), store)
    assert of.judge("job", None, score=1) == of.judge("job", None, score=1)
    with pytest.raises(AlreadyJudgedError, match="judged 1 before"):
        of.judge("job", None, score=0)
    of.judge("job", None, score=0, key="second user")
    assert sum(c.tally.n for c in store.counts if c.skill == ALL_SKILLS) == 2


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (None, "not answered yet"),
        (Answer(text="", error_code="no_answer"), "failed \\(no_answer\\)"),
        (Answer(text=NOT_SURE), "was withheld"),
    ],
)
def test_what_has_no_answer_cannot_be_judged(missing: Answer | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        desk(record(missing)).judge("job", None, score=1)


def test_cards_show_feedback_that_fades() -> None:
    store = FakeFeedbackStore()
    desk(record(answer(ada="1")), store).judge("job", None, score=1)
    measured = {"ada": make_card("ada").model_copy(update={"fingerprint": POOL.by_id["ada"].fingerprint})}
    month_later = desk(record(None), store, day=TODAY + 30)
    assert month_later.on_cards(measured)["ada"].total.n_right == 7.5
    assert desk(record(None), store, day=TODAY + 301).on_cards(measured) == measured


def test_an_expert_that_left_the_pool_is_told_of_but_not_counted() -> None:
    store = FakeFeedbackStore()
    said = desk(record(answer(gone="1")), store).judge("job", None, score=1)
    assert (set(said.experts), store.counts) == ({"gone"}, [])


def test_scores_of_open_answers_stand_beside_the_grades_on_cards() -> None:
    card = make_card("ada")
    other = make_card("bob").replaced(fingerprint="other")
    store = FakeFeedbackStore(grades={card.fingerprint: grade_tally([1.0, 0.5])})
    fed = desk(record(None), store).on_cards({"ada": card, "bob": other})
    assert fed["ada"].feedback_grades.mean == 0.75
    assert fed["ada"].without_feedback == card
    assert fed["bob"] == other


def open_record(answered_by: str | None = "ada") -> QueryRecord:
    """An answer to a chat's question that was inferred to be open."""
    decision = Decision(router="any", recruits=(), answer_type=AnswerType.OPEN)
    told = Answer(text="A tale.", answered_by=answered_by, decision=decision)
    asked = Query(id="q", question="Tell a tale.", answer_type=AnswerType.OPEN, infers=True)
    return QueryRecord(asked, told, ())


def test_a_judgement_of_an_open_answer_is_a_score_of_whose_words_it_is() -> None:
    store, scores = FakeFeedbackStore(), list[ScoreRow]()
    of = open_record()
    kept = desk(of, store, scores=scores).judge("job", None, score=0.7, key="ann")
    typed = of.query.typed(AnswerType.OPEN)
    ada = POOL.by_id["ada"].fingerprint
    assert scores == [ScoreRow(GradeSource.FEEDBACK, "ann", ada, typed.content_hash, 0.7)]
    assert (kept.score, kept.experts, store.counts) == (0.7, {}, [])


@pytest.mark.parametrize("answered_by", [None, "gone"])
def test_words_of_several_or_of_who_has_left_are_no_score(answered_by: str | None) -> None:
    scores = list[ScoreRow]()
    kept = desk(open_record(answered_by), scores=scores).judge("job", None, score=1)
    assert (kept.score, scores) == (1, [])


def test_an_inferred_number_is_judged_as_one() -> None:
    told = answer(ada="1.0", bob="2").model_copy(
        update={"decision": Decision(router="any", recruits=(), answer_type=AnswerType.NUMBER)}
    )
    asked = Query(id="q", question="1 + 0?", answer_type=AnswerType.OPEN, infers=True)
    scores = list[ScoreRow]()
    said = desk(QueryRecord(asked, told, ()), scores=scores).judge("job", None, score=1)
    assert said.experts == {"ada": Tally(n_right=1), "bob": Tally(n_wrong=1)}
    assert scores == []
