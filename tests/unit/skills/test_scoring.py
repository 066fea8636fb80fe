"""Scores of profiles over fakes: taken over or judged, by one source, asked once."""

from collections.abc import Callable

import numpy as np
import pytest

from orchestrator.compositions.grading import TOP_LOGPROBS
from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import JobState
from orchestrator.domain.cards import ABSTAINED, GRADED, Tally
from orchestrator.domain.experts import ExpertRole, Pool
from orchestrator.domain.features import Feature
from orchestrator.domain.grades import GradeSource
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import SkillError, UnknownNameError
from orchestrator.ports.profiling import GivenScores, Judging
from skills.annotator import EmbeddingAnnotator
from skills.embedding import HashEmbedder
from skills.grading.grader import AnswerGrader
from skills.profiler import Profiler
from skills.scoring import N_CHECKED
from skills.vocabulary import vocabulary_of
from tests.fakes.profiling import FakeCardStore, FakeJobs, Script, make_expert, make_pool

LETTER = Query(id="letter", question="writing: to Ada.", answer_type=AnswerType.OPEN)
POEM = Query(id="poem", question="writing: a poem.", answer_type=AnswerType.OPEN, domain="verse")
SUM = Query(id="sum", question="addition: 1 + 1?", answer="2", answer_type=AnswerType.NUMBER)
QUERIES = [LETTER, POEM, SUM]

GOOD, WEAK = make_expert("good"), make_expert("weak")
CRITIC = make_expert("critic", ExpertRole.JUDGE)
POOL = make_pool(GOOD, WEAK, CRITIC)
JUDGED = Judging("critic")

GRADES = {"good": 8, "weak": 3}


def said(expert_id: str, query: Query) -> str:
    return "2" if query.id == "sum" else f"The {expert_id} answer to {query.id}."


def scripted(expert_id: str, query: Query) -> Script:
    """The critic grades by the name in the candidate; in pairs the good one wins."""
    if expert_id != "critic":
        return Script(said(expert_id, query))
    if len(query.candidates) == 2:
        return Script("Better: 1" if "good" in query.candidates[0] else "Better: 2")
    if query.rubric:
        passes = ("yes", "yes") if "good" in query.candidates[0] else ("no", "yes")
        return Script("\n".join(f"Check {i}: {p}" for i, p in enumerate(passes, start=1)))
    grade = next(grade for name, grade in GRADES.items() if name in query.candidates[0])
    return Script(f"Grade: {grade}")


class Setup:
    """A profiler over fakes; a second one over the same stores is a later run."""

    def __init__(self, answer: Callable[[str, Query], Script] = scripted) -> None:
        self.cards = FakeCardStore()
        self.jobs = FakeJobs(answer)

    def profiler(self, pool: Pool = POOL) -> Profiler:
        embedder = HashEmbedder()
        vocabulary = vocabulary_of(["addition", "writing"])
        return Profiler(
            jobs=self.jobs,  # type: ignore[arg-type]  # the fake has the part that profiling uses
            cards=self.cards,
            dispatcher=self.jobs,
            grader=AnswerGrader(),
            annotator=EmbeddingAnnotator(embedder, vocabulary, floor=0.2, max_skills=1),
            matcher=None,
            embedder=embedder,
            pool=pool,
        )

    @property
    def judged(self) -> int:
        """Calls of the judge so far."""
        return sum(expert == "critic" for expert, _ in self.jobs.asked)


def given(**scores: float) -> GivenScores:
    """`letter_good=.5`."""
    pairs = {tuple(name.split("_")): score for name, score in scores.items()}
    return GivenScores({(q, e): s for (q, e), s in pairs.items()}, "eve")


ALL_GIVEN = given(letter_good=0.9, poem_good=0.7, letter_weak=0.2, poem_weak=0.4)


def mean(report: object, expert_id: str) -> float:
    card = report.cards[expert_id]  # type: ignore[attr-defined]
    assert card.graded is not None
    return float(card.graded.total.mean)


def test_open_questions_need_no_answer_and_are_kept_ungraded_until_somebody_scores() -> None:
    setup = Setup()
    report = setup.profiler().run(QUERIES)
    assert (report.n_open, report.grading) == (2, None)
    assert report.cards["good"].graded is None
    assert report.cards["good"].total == Tally(n_right=1)
    outcomes = {row.outcome for (_, h), row in setup.cards.outcomes.items() if h != SUM.content_hash}
    assert outcomes == {GRADED}


def test_an_exact_question_still_needs_its_answer() -> None:
    with pytest.raises(SkillError, match="1 profile questions have no answer, first: sum"):
        Setup().profiler().run([LETTER, SUM.replaced(answer=None)])


def test_given_scores_are_counted_for_whom_they_are_of() -> None:
    report = Setup().profiler().run(QUERIES, scoring=ALL_GIVEN)
    assert mean(report, "good") == pytest.approx(0.8)
    assert mean(report, "weak") == pytest.approx(0.3)
    grading = report.grading
    assert grading is not None
    assert (grading.source, grading.judge, grading.n_scored) == (GradeSource.IMPORTED, "eve", 4)
    assert (grading.unscored, grading.overruled, grading.check) == ({}, 0, None)


def test_what_has_no_score_is_told_and_not_counted() -> None:
    report = Setup().profiler().run(QUERIES, scoring=given(letter_good=0.9, letter_weak=0.2, poem_weak=0.4))
    assert report.grading is not None
    assert report.grading.unscored == {"good": 1}
    assert mean(report, "good") == pytest.approx(0.9)


def test_an_empty_answer_has_0_whatever_was_given() -> None:
    def silent(expert_id: str, query: Query) -> Script:
        return Script("") if (expert_id, query.id) == ("weak", "poem") else scripted(expert_id, query)

    setup = Setup(silent)
    report = setup.profiler().run(QUERIES, scoring=ALL_GIVEN)
    assert mean(report, "weak") == pytest.approx(0.1)
    assert report.grading is not None
    assert report.grading.overruled == 1
    assert setup.cards.outcomes[WEAK.fingerprint, POEM.content_hash].outcome == ABSTAINED


def test_a_refusal_is_an_answer_and_a_cut_one_is_graded_as_it_stands() -> None:
    def curt(expert_id: str, query: Query) -> Script:
        if query.id == "letter":
            return Script("I'm sorry, I can't do that.")
        return Script("It was a dark and", finish_reason=FinishReason.LENGTH)

    setup = Setup(curt)
    setup.profiler().run([LETTER, POEM])
    assert {row.outcome for row in setup.cards.outcomes.values()} == {GRADED}


def test_scores_hold_until_others_are_given() -> None:
    setup = Setup()
    setup.profiler().run(QUERIES, scoring=ALL_GIVEN)
    again = setup.profiler().run(QUERIES)
    assert mean(again, "good") == pytest.approx(0.8)
    assert again.grading is not None
    assert again.grading.judge == "eve"
    corrected = setup.profiler().run(QUERIES, scoring=given(letter_good=0.1))
    assert mean(corrected, "good") == pytest.approx((0.1 + 0.7) / 2)


def test_two_judges_are_never_mixed() -> None:
    """Eve scored everything, the second judge one answer: of that judge there is one score."""
    setup = Setup()
    setup.profiler().run(QUERIES, scoring=ALL_GIVEN)
    other = GivenScores({("letter", "good"): 0.1}, "dan")
    report = setup.profiler().run(QUERIES, scoring=other)
    card = report.cards["good"]
    assert card.graded is not None
    assert (card.graded.judge, card.graded.total.n, card.graded.total.mean) == ("dan", 1, 0.1)
    assert report.cards["weak"].graded is None


def test_a_profile_has_the_scores_of_its_cards() -> None:
    setup = Setup()
    setup.profiler().run(QUERIES)
    unscored = setup.profiler().profile()
    assert unscored is not None
    assert unscored.scores is None
    setup.profiler().run(QUERIES, scoring=ALL_GIVEN)
    profile = setup.profiler().profile()
    assert profile is not None
    assert profile.expert_ids == ("good", "weak")
    assert profile.scores is not None
    assert np.allclose(profile.scores, [[0.9, 0.7, np.nan], [0.2, 0.4, np.nan]], equal_nan=True)


def test_a_judge_grades_every_answer_and_reads_some_twice() -> None:
    setup = Setup()
    report = setup.profiler().run(QUERIES, scoring=JUDGED)
    assert mean(report, "good") == pytest.approx(8 / 9)
    assert mean(report, "weak") == pytest.approx(3 / 9)
    grading = report.grading
    assert grading is not None
    assert (grading.source, grading.judge, grading.n_scored) == (GradeSource.RUBRIC, "critic", 4)
    assert grading.check is not None
    assert grading.check == (4, 1.0, 0.0)
    assert setup.judged == 8
    assert "critic" not in report.cards


def test_what_was_judged_is_not_asked_again() -> None:
    setup = Setup()
    first = setup.profiler().run(QUERIES, scoring=JUDGED)
    setup.jobs.asked.clear()
    second = setup.profiler().run(QUERIES, scoring=JUDGED)
    assert setup.jobs.asked == []
    assert second.cards == first.cards
    assert second.grading == first.grading


def test_a_new_expert_is_judged_alone() -> None:
    setup = Setup()
    setup.profiler(make_pool(GOOD, CRITIC)).run(QUERIES, scoring=JUDGED)
    setup.jobs.asked.clear()
    report = setup.profiler().run(QUERIES, scoring=JUDGED)
    graded = [job for job in setup.jobs.submitted if job.composition == "grading"][-1]
    assert len(list(setup.jobs.responses(graded.id))) == 2
    assert mean(report, "weak") == pytest.approx(3 / 9)
    assert mean(report, "good") == pytest.approx(8 / 9)


@pytest.mark.parametrize(
    "changed",
    [{"rubric": ("Polite?", "Signed?")}, {"answer": "Dear Ada"}],
)
def test_another_rubric_or_reference_is_judged_anew(changed: dict[str, object]) -> None:
    setup = Setup()
    setup.profiler().run(QUERIES, scoring=JUDGED)
    setup.jobs.asked.clear()
    setup.profiler().run([LETTER.replaced(**changed), POEM, SUM], scoring=JUDGED)
    graded = [job for job in setup.jobs.submitted if job.composition == "grading"][-1]
    assert {query.question for query, _ in setup.jobs.responses(graded.id)} >= {LETTER.question}


def test_what_another_rubric_was_worth_does_not_count_where_the_new_one_gave_no_score() -> None:
    def vague(expert_id: str, query: Query) -> Script:
        is_vague = expert_id == "critic" and query.rubric and "weak" in query.candidates[0]
        return Script("Nice.") if is_vague else scripted(expert_id, query)

    setup = Setup(vague)
    setup.profiler().run([LETTER, POEM], scoring=JUDGED)
    checked = [query.replaced(rubric=("Polite?", "Signed?")) for query in (LETTER, POEM)]
    report = setup.profiler().run(checked, scoring=JUDGED)
    assert report.cards["weak"].graded is None
    assert mean(report, "good") == 1.0


def test_pairs_against_another_anchor_are_another_judges() -> None:
    setup = Setup()
    setup.profiler().run(QUERIES, scoring=Judging("critic", anchor="weak"))
    report = setup.profiler().run(QUERIES, scoring=Judging("critic", anchor="good"))
    assert (mean(report, "good"), mean(report, "weak")) == (0.5, 0.0)
    assert report.grading is not None
    assert report.grading.judge == "critic against good"
    assert {row.judge for row in setup.cards.scores.values()} == {
        "critic against weak",
        "critic against good",
    }


def test_another_judge_of_the_same_name_is_asked_anew() -> None:
    setup = Setup()
    setup.profiler().run(QUERIES, scoring=JUDGED)
    setup.jobs.asked.clear()
    other = make_expert("critic", ExpertRole.JUDGE, weights_hash="new")
    setup.profiler(make_pool(GOOD, WEAK, other)).run(QUERIES, scoring=JUDGED)
    assert setup.judged == 8


def test_checks_give_shares() -> None:
    checked = [q.replaced(rubric=("Polite?", "Signed?")) for q in (LETTER, POEM)]
    report = Setup().profiler().run(checked, scoring=JUDGED)
    assert mean(report, "good") == 1.0
    assert mean(report, "weak") == 0.5
    assert report.grading is not None
    assert report.grading.source is GradeSource.RUBRIC


def test_references_alone_are_a_source_of_their_own() -> None:
    guided = [LETTER.replaced(answer="Dear Ada"), POEM]
    report = Setup().profiler().run(guided, scoring=JUDGED)
    assert report.grading is not None
    assert report.grading.source is GradeSource.REFERENCE


def test_equal_texts_are_judged_once_and_score_alike() -> None:
    def alike(expert_id: str, query: Query) -> Script:
        return scripted(expert_id, query) if expert_id == "critic" else Script("the good words")

    setup = Setup(alike)
    report = setup.profiler().run([LETTER], scoring=JUDGED)
    assert mean(report, "good") == mean(report, "weak")
    assert setup.judged == 2, "once, and once more to check"


def test_pairs_against_an_anchor_in_both_orders() -> None:
    setup = Setup()
    report = setup.profiler().run(QUERIES, scoring=Judging("critic", anchor="weak"))
    assert mean(report, "good") == 1.0
    assert mean(report, "weak") == 0.5, "the anchor is as good as itself, without asking"
    assert setup.judged == 4
    assert report.grading is not None
    assert (report.grading.source, report.grading.check) == (GradeSource.PAIRWISE, (2, 1.0, 0.0))


def test_a_judge_that_always_prefers_the_first_tells_nothing_and_its_check_says_so() -> None:
    def biased(expert_id: str, query: Query) -> Script:
        return Script("Better: 1") if expert_id == "critic" else scripted(expert_id, query)

    report = Setup(biased).profiler().run(QUERIES, scoring=Judging("critic", anchor="weak"))
    assert mean(report, "good") == 0.5
    assert report.grading is not None
    assert report.grading.check == (2, 0.0, 1.0)


def test_a_silent_anchor_loses_and_nobody_is_asked() -> None:
    def silent(expert_id: str, query: Query) -> Script:
        return Script("") if expert_id == "weak" else scripted(expert_id, query)

    setup = Setup(silent)
    report = setup.profiler().run([LETTER], scoring=Judging("critic", anchor="weak"))
    assert (mean(report, "good"), mean(report, "weak")) == (1.0, 0.0)
    assert setup.judged == 0


TELLING = CRITIC.replaced(features=frozenset({Feature.LOGPROBS}))


@pytest.mark.parametrize("tells", [True, False])
def test_probabilities_are_asked_for_and_done_without_where_a_server_does_not_tell_them(tells: bool) -> None:
    """Two readings (one of them to check) of four answers; of each, one answer is tried first."""
    setup = Setup()
    setup.jobs.tells_logprobs = tells
    report = setup.profiler(make_pool(GOOD, WEAK, TELLING)).run(QUERIES, scoring=JUDGED)
    assert mean(report, "good") == pytest.approx(8 / 9)
    assert report.grading is not None
    assert report.grading.check == (4, 1.0, 0.0)
    judged = [job for job in setup.jobs.submitted if "grading" in job.composition]
    assert {job.logprobs for job in judged[1::2]} == ({TOP_LOGPROBS} if tells else {None})
    assert setup.judged == (8 if tells else 10)


def test_what_a_server_does_not_tell_is_not_asked_for_of_every_answer_by_the_next_run() -> None:
    setup = Setup()
    setup.jobs.tells_logprobs = False
    pool = make_pool(GOOD, WEAK, TELLING)
    first = setup.profiler(pool).run(QUERIES, scoring=JUDGED)
    setup.jobs.asked.clear()
    assert setup.profiler(pool).run(QUERIES, scoring=JUDGED).cards == first.cards
    assert setup.jobs.asked == []


def test_pairs_ask_for_no_probabilities() -> None:
    setup = Setup()
    setup.profiler(make_pool(GOOD, WEAK, TELLING)).run(QUERIES, scoring=Judging("critic", anchor="weak"))
    assert {job.logprobs for job in setup.jobs.submitted} == {None}


def test_replies_that_cannot_be_read_give_no_score_and_are_told() -> None:
    def vague(expert_id: str, query: Query) -> Script:
        is_vague = expert_id == "critic" and "weak" in query.candidates[0]
        return Script("Nice.") if is_vague else scripted(expert_id, query)

    report = Setup(vague).profiler().run(QUERIES, scoring=JUDGED)
    grading = report.grading
    assert grading is not None
    assert grading.unscored == {"weak": 2}
    assert grading.notes == ("2 replies of judge critic could not be read, such as 'Nice.'",)
    assert report.cards["weak"].graded is None


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Script("I find it nice."), "it replied, such as 'I find it nice.'"),
        (Script(error_code="context_exceeded"), "it replied, such as context_exceeded"),
        (Script(error_code="engine_crashed"), "it could not be asked"),
    ],
)
def test_a_judge_without_a_single_score_is_refused_and_the_grades_stay(reply: Script, why: str) -> None:
    setup = Setup(lambda expert_id, query: reply if expert_id == "critic" else scripted(expert_id, query))
    setup.profiler().run(QUERIES, scoring=ALL_GIVEN)
    before = setup.cards.cards()
    with pytest.raises(SkillError, match="judge 'critic' gave none of 4 answers a score") as told:
        setup.profiler().run(QUERIES, scoring=JUDGED)
    assert why in str(told.value)
    assert setup.cards.cards() == before


def test_a_judge_whose_engine_failed_is_asked_again_by_the_next_run() -> None:
    broken = [True]

    def answer(expert_id: str, query: Query) -> Script:
        is_down = expert_id == "critic" and broken[0] and "weak" in query.candidates[0]
        return Script(error_code="engine_crashed") if is_down else scripted(expert_id, query)

    setup = Setup(answer)
    first = setup.profiler().run(QUERIES, scoring=JUDGED)
    assert first.grading is not None
    assert first.grading.unscored == {"weak": 2}
    broken[0] = False
    second = setup.profiler().run(QUERIES, scoring=JUDGED)
    assert mean(second, "weak") == pytest.approx(3 / 9)
    assert second.grading is not None
    assert second.grading.unscored == {}


def test_a_run_that_was_stopped_while_judging_goes_on_and_the_old_grades_stand_until_then() -> None:
    setup = Setup()
    setup.profiler().run(QUERIES, scoring=ALL_GIVEN)
    setup.jobs.interrupt_after = 2
    with pytest.raises(KeyboardInterrupt):
        setup.profiler().run(QUERIES, scoring=JUDGED)
    assert {row.source for row in setup.cards.scores.values()} == {GradeSource.IMPORTED}
    judged = setup.judged
    report = setup.profiler().run(QUERIES, scoring=JUDGED)
    assert setup.judged == 8, f"{judged} were asked before"
    assert mean(report, "good") == pytest.approx(8 / 9)


def test_a_run_that_was_stopped_while_judging_is_ended_by_one_of_another_pool() -> None:
    setup = Setup()
    setup.profiler().run(QUERIES)
    setup.jobs.interrupt_after = 1
    with pytest.raises(KeyboardInterrupt):
        setup.profiler().run(QUERIES, scoring=JUDGED)
    new = make_pool(GOOD, WEAK, make_expert("more"), CRITIC)
    setup.jobs.answer = lambda e, q: scripted("good", q) if e == "more" else scripted(e, q)
    setup.profiler(new).run(QUERIES, scoring=JUDGED)
    assert not any(p.state is JobState.RUNNING for p in setup.jobs.jobs())


def test_thirty_answers_are_read_twice_of_more() -> None:
    many = [LETTER.replaced(id=f"l{i}", question=f"writing: letter {i}.") for i in range(40)]
    setup = Setup()
    report = setup.profiler().run(many, scoring=JUDGED)
    assert report.grading is not None
    assert report.grading.check is not None
    assert report.grading.check.n == N_CHECKED
    assert setup.judged == 80 + N_CHECKED


def test_a_judge_that_answers_too_is_told() -> None:
    both = make_expert("good", ExpertRole.EXPERT, ExpertRole.JUDGE)

    def answer(expert_id: str, query: Query) -> Script:
        return Script("Grade: 5") if query.candidates else scripted(expert_id, query)

    report = Setup(answer).profiler(make_pool(both, WEAK)).run(QUERIES, scoring=Judging("good"))
    assert report.grading is not None
    assert report.grading.notes == ("judge good scores answers of its own: models favour these",)


@pytest.mark.parametrize(
    ("scoring", "error", "message"),
    [
        (Judging("weak"), SkillError, "'weak' is no judge"),
        (Judging("nobody"), UnknownNameError, "nobody"),
        (Judging("critic", anchor="nobody"), UnknownNameError, "nobody"),
        (Judging("critic", anchor="critic"), SkillError, "the anchor 'critic' answers no questions"),
    ],
)
def test_who_may_not_judge_is_refused_before_anybody_is_asked(
    scoring: Judging, error: type[Exception], message: str
) -> None:
    setup = Setup()
    with pytest.raises(error, match=message):
        setup.profiler().run(QUERIES, scoring=scoring)
    assert setup.jobs.asked == []


@pytest.mark.parametrize("scoring", [JUDGED, ALL_GIVEN])
def test_scores_without_an_open_question_are_refused(scoring: Judging | GivenScores) -> None:
    with pytest.raises(SkillError, match="none of the questions is open"):
        Setup().profiler().run([SUM], scoring=scoring)


def test_outcomes_are_of_exact_questions_only() -> None:
    with pytest.raises(SkillError, match="question 'letter' is open"):
        Setup().profiler().outcomes(QUERIES, experts=["good"])
