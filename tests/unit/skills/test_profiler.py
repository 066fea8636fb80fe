import itertools
from collections.abc import Callable

import numpy as np
import pytest

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import JobState
from orchestrator.domain.cards import ABSTAINED, RIGHT, UNKNOWN, WRONG, Tally
from orchestrator.domain.experts import Expert, ExpertRole, Pool
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.errors import SkillError, UnknownNameError
from skills.annotator import EmbeddingAnnotator, LlmAnnotator
from skills.embedding import HashEmbedder
from skills.grading.grader import AnswerGrader
from skills.matcher import EmbeddingMatcher
from skills.profiler import Profiler
from skills.vocabulary import vocabulary_of
from tests.fakes.profiling import FakeCardStore, FakeJobs, Script, make_expert, make_pool

ADD = Query(id="add", question="addition: 1 + 2?", answer="3", answer_type="number", domain="maths")
SUM = Query(id="sum", question="addition: 2 + 2?", answer="4", answer_type="number", domain="maths")
SPELL = Query(id="spell", question="spelling: cat backwards?", answer="tac", domain="words")
QUERIES = [ADD, SUM, SPELL]

ANSWERS = {
    ("good", "add"): "3",
    ("good", "sum"): "4",
    ("good", "spell"): "tac",
    ("weak", "add"): "3",
    ("weak", "sum"): "5",
    ("weak", "spell"): "cat",
    ("odd", "add"): "7",
    ("odd", "sum"): "6",
    ("odd", "spell"): "dog",
}


def scripted(expert_id: str, query: Query) -> Script:
    """Aggregators name the right answer whenever it is a candidate."""
    if query.candidates:
        return Script(str(query.answer))
    return Script(ANSWERS[expert_id, query.id])


class Setup:
    """A profiler over fakes; a second one over the same stores is a later run."""

    def __init__(self, pool: Pool, answer: Callable[[str, Query], Script] = scripted) -> None:
        self.cards = FakeCardStore()
        self.jobs = FakeJobs(answer)
        self.pool = pool

    def profiler(self, pool: Pool | None = None) -> Profiler:
        embedder = HashEmbedder()
        return Profiler(
            jobs=self.jobs,  # type: ignore[arg-type]  # the fake has the part that profiling uses
            cards=self.cards,
            dispatcher=self.jobs,
            grader=AnswerGrader(),
            annotator=EmbeddingAnnotator(
                embedder, vocabulary_of(["addition", "spelling"]), floor=0.2, max_skills=1
            ),
            matcher=None,
            embedder=embedder,
            pool=pool or self.pool,
        )


GOOD, WEAK, ODD = (make_expert(name) for name in ("good", "weak", "odd"))
JUDGE = make_expert("judge", ExpertRole.AGGREGATOR)


def test_counts_right_and_wrong_per_skill_and_domain() -> None:
    """weak: 1 of 2 additions right, the spelling wrong."""
    card = Setup(make_pool(GOOD, WEAK)).profiler().run(QUERIES).cards["weak"]
    assert card.skills == {
        "addition": Tally(n_right=1, n_wrong=1),
        "spelling": Tally(n_wrong=1),
    }
    assert card.domains == {"maths": Tally(n_right=1, n_wrong=1), "words": Tally(n_wrong=1)}
    assert card.total == Tally(n_right=1, n_wrong=2)
    assert card.mean_tokens == 4.0
    assert card.mean_latency_ms == 50.0


def test_all_experts_of_a_first_run_share_one_job() -> None:
    setup = Setup(make_pool(GOOD, WEAK))
    setup.profiler().run(QUERIES, exam=False)
    assert [(job.kind, job.composition, job.experts) for job in setup.jobs.submitted] == [
        ("profile", "roll_call", ("good", "weak"))
    ]


def test_a_second_run_asks_nothing_and_counts_the_same() -> None:
    setup = Setup(make_pool(GOOD, WEAK))
    first = setup.profiler().run(QUERIES)
    setup.jobs.asked.clear()
    second = setup.profiler().run(QUERIES)
    assert setup.jobs.asked == []
    assert (second.n_asked, second.n_reused) == (0, 6)
    assert second.cards == first.cards


def test_adding_an_expert_asks_only_that_expert() -> None:
    setup = Setup(make_pool(GOOD))
    setup.profiler().run(QUERIES)
    setup.jobs.asked.clear()
    report = setup.profiler(make_pool(GOOD, WEAK)).run(QUERIES)
    assert {expert for expert, _ in setup.jobs.asked} == {"weak"}
    assert set(report.cards) == {"good", "weak"}


def test_adding_a_question_asks_only_that_question() -> None:
    setup = Setup(make_pool(GOOD, WEAK))
    setup.profiler().run(QUERIES[:2])
    setup.jobs.asked.clear()
    setup.profiler().run(QUERIES)
    assert setup.jobs.asked == [("good", "spell"), ("weak", "spell")]


def test_changed_options_are_measured_anew() -> None:
    setup = Setup(make_pool(GOOD))
    setup.profiler().run(QUERIES)
    changed = make_pool(make_expert("good", max_tokens=64))
    assert setup.profiler(changed).run(QUERIES).n_asked == 3


def test_experts_can_be_named() -> None:
    report = Setup(make_pool(GOOD, WEAK)).profiler().run(QUERIES, experts=["weak"])
    assert set(report.cards) == {"weak"}


def test_an_unknown_expert_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'good'"):
        Setup(make_pool(GOOD)).profiler().run(QUERIES, experts=["goood"])


def test_an_interrupted_run_goes_on_where_it_stopped() -> None:
    setup = Setup(make_pool(GOOD, WEAK))
    setup.jobs.interrupt_after = 1
    with pytest.raises(KeyboardInterrupt):
        setup.profiler().run(QUERIES, exam=False)
    assert setup.cards.latest_profile_hash() is None
    report = setup.profiler().run(QUERIES, exam=False)
    assert sorted(setup.jobs.asked) == sorted(itertools.product(["good", "weak"], ["add", "sum", "spell"]))
    assert len(setup.jobs.submitted) == 1
    assert report.cards["good"].total == Tally(n_right=3)


def test_a_run_that_was_stopped_is_not_gone_on_with_by_one_for_fewer_experts() -> None:
    """Both experts were asked two of three questions; then `weak` alone is wanted."""
    setup = Setup(make_pool(GOOD, WEAK))
    setup.jobs.interrupt_after = 2
    with pytest.raises(KeyboardInterrupt):
        setup.profiler().run(QUERIES, exam=False)
    setup.jobs.asked.clear()

    setup.profiler().run(QUERIES, experts=["weak"], exam=False)

    assert setup.jobs.asked == [("weak", "spell")]
    assert not any(p.state is JobState.RUNNING for p in setup.jobs.jobs())
    setup.profiler().run(QUERIES, exam=False)
    assert setup.jobs.asked == [("weak", "spell"), ("good", "spell")]


def test_a_run_that_was_stopped_with_another_pool_is_ended_and_what_it_measured_of_others_is_lost() -> None:
    setup = Setup(make_pool(GOOD, WEAK))
    setup.jobs.interrupt_after = 1
    with pytest.raises(KeyboardInterrupt):
        setup.profiler().run(QUERIES, exam=False)

    changed = make_pool(GOOD, make_expert("weak", weights_hash="other"))
    setup.profiler(changed).run(QUERIES, exam=False)

    assert not any(p.state is JobState.RUNNING for p in setup.jobs.jobs())


def test_a_run_on_other_questions_is_left_alone() -> None:
    setup = Setup(make_pool(GOOD))
    setup.jobs.interrupt_after = 1
    with pytest.raises(KeyboardInterrupt):
        setup.profiler().run(QUERIES[:2], exam=False)

    setup.profiler().run(QUERIES[2:], exam=False)

    assert [p.state for p in setup.jobs.jobs()] == [JobState.RUNNING, JobState.DONE]


def test_a_job_that_finished_before_its_outcomes_were_stored_is_read_not_run() -> None:
    setup = Setup(make_pool(GOOD))
    first = setup.profiler().run(QUERIES, exam=False)
    setup.cards.outcomes.clear()
    setup.jobs.asked.clear()
    assert setup.profiler().run(QUERIES, exam=False).cards == first.cards
    assert setup.jobs.asked == []


@pytest.mark.parametrize(
    "code",
    ["expert_unavailable", "generation_timeout", "engine_crashed", "engine_load_failed", "rate_limited"],
)
def test_infrastructure_errors_are_not_held_against_the_expert_and_are_retried(code: str) -> None:
    broken = {"good"}

    def answer(expert_id: str, query: Query) -> Script:
        down = expert_id in broken and query.id != "add"
        return Script(error_code=code) if down else scripted(expert_id, query)

    setup = Setup(make_pool(GOOD, WEAK), answer)
    report = setup.profiler().run(QUERIES, exam=False)
    assert report.unmeasured == {"good": 2}
    assert (report.failures, report.n_measured) == ({"good": code}, report.n_asked - 2)
    assert report.cards["good"].total == Tally(n_right=1)
    broken.clear()
    setup.jobs.asked.clear()
    report = setup.profiler().run(QUERIES, exam=False)
    assert setup.jobs.asked == [("good", "sum"), ("good", "spell")]
    assert report.unmeasured == {}
    assert report.cards["good"].total == Tally(n_right=3)


def test_an_expert_that_was_down_for_a_whole_run_is_asked_again() -> None:
    broken = {"good"}

    def answer(expert_id: str, query: Query) -> Script:
        return Script(error_code="engine_crashed") if broken else scripted(expert_id, query)

    setup = Setup(make_pool(GOOD), answer)
    assert setup.profiler().run(QUERIES).cards == {}
    broken.clear()
    assert setup.profiler().run(QUERIES).cards["good"].total == Tally(n_right=3)


def test_the_models_own_failures_are_abstentions() -> None:
    failures = {
        "add": Script(error_code="context_exceeded"),
        "sum": Script("The answer is", finish_reason=FinishReason.LENGTH),
        "spell": Script(""),
    }
    setup = Setup(make_pool(GOOD), lambda _, query: failures[query.id])
    assert setup.profiler().run(QUERIES).cards["good"].total == Tally(n_abstain=3)


def test_a_corrected_reference_is_graded_again_without_asking() -> None:
    setup = Setup(make_pool(WEAK))
    setup.profiler().run(QUERIES)
    setup.jobs.asked.clear()
    corrected = [ADD, SUM.model_copy(update={"answer": "5"}), SPELL]
    card = setup.profiler().run(corrected).cards["weak"]
    assert setup.jobs.asked == []
    assert card.total == Tally(n_right=2, n_wrong=1)


def test_cards_are_versioned_by_questions_answers_and_annotation() -> None:
    setup = Setup(make_pool(GOOD))
    first = setup.profiler().run(QUERIES).profile_hash
    assert setup.profiler().run(QUERIES[::-1]).profile_hash == first
    assert setup.profiler().run(QUERIES[:2]).profile_hash != first
    relabelled = [ADD.model_copy(update={"answer": "4"}), SUM, SPELL]
    assert setup.profiler().run(relabelled).profile_hash != first


def test_exam_shows_one_right_and_two_wrong_responses() -> None:
    """Only for sum and spell are one right (good) and two wrong (weak, odd) on record."""
    setup = Setup(make_pool(GOOD, WEAK, ODD, JUDGE))
    report = setup.profiler().run(QUERIES)
    exam = next(job for job in setup.jobs.submitted if job.composition == "exam")
    shown = {q.id: sorted(q.candidates) for q, _ in setup.jobs.responses(exam.id)}
    assert shown == {"sum#exam": ["4", "5", "6"], "spell#exam": ["cat", "dog", "tac"]}
    assert exam.experts == ("judge",)
    assert report.n_exam_questions == 2


def test_aggregator_only_expert_gets_a_card_with_its_exam_alone() -> None:
    card = Setup(make_pool(GOOD, WEAK, ODD, JUDGE)).profiler().run(QUERIES).cards["judge"]
    assert card.skills == {}
    assert card.total == Tally()
    assert card.aggregation == {"maths": Tally(n_right=1), "words": Tally(n_right=1)}


def test_an_exam_that_was_taken_still_counts_in_a_run_without_one() -> None:
    setup = Setup(make_pool(GOOD, WEAK, ODD, JUDGE))
    first = setup.profiler().run(QUERIES)
    assert setup.profiler().run(QUERIES, exam=False).cards == first.cards


def test_profile_holds_outcomes_of_present_fingerprints() -> None:
    """good 1 1 1; weak 1 0 0; odd has changed since: unknown."""
    setup = Setup(make_pool(GOOD, WEAK, ODD))
    setup.profiler().run(QUERIES)
    changed = make_pool(GOOD, WEAK, make_expert("odd", weights_hash="other"))
    profile = setup.profiler(changed).profile()
    assert profile is not None
    assert profile.expert_ids == ("good", "weak", "odd")
    assert profile.outcomes.dtype == np.int8
    assert profile.outcomes.tolist() == [[RIGHT] * 3, [RIGHT, WRONG, WRONG], [UNKNOWN] * 3]
    assert profile.domains == ("maths", "maths", "words")
    assert [tags[0].name for tags in profile.skills] == ["addition", "addition", "spelling"]
    assert np.allclose(np.linalg.norm(profile.embeddings, axis=1), 1.0)


def test_profile_holds_what_was_said() -> None:
    """Where nothing is known of an expert, there is no value and no text."""
    setup = Setup(make_pool(GOOD, ODD))
    setup.profiler().run(QUERIES)
    profile = setup.profiler(make_pool(GOOD, make_expert("odd", weights_hash="other"))).profile()
    assert profile is not None
    said = profile.transcript
    assert said is not None
    assert said.queries == tuple(QUERIES)
    assert all(value is not None for value in said.values[0])
    assert said.values[1] == (None,) * 3
    assert said.chars.tolist() == [[len(text) for text in said.texts[0]], [0, 0, 0]]


def test_there_is_no_profile_before_the_first_run() -> None:
    assert Setup(make_pool(GOOD)).profiler().profile() is None


def test_abstentions_appear_in_the_profile() -> None:
    setup = Setup(make_pool(GOOD), lambda *_: Script("I'm sorry, but I can't help."))
    setup.profiler().run([ADD])
    profile = setup.profiler().profile()
    assert profile is not None
    assert profile.outcomes.tolist() == [[ABSTAINED]]


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([], "no questions"),
        ([ADD, Query(id="open", question="What?")], "1 profile questions have no answer, first: open"),
        ([ADD, ADD.model_copy(update={"id": "again"})], "again = add"),
    ],
)
def test_a_set_that_cannot_be_graded_is_refused(queries: list[Query], message: str) -> None:
    with pytest.raises(SkillError, match=message):
        Setup(make_pool(GOOD)).profiler().run(queries)


def test_a_model_that_annotates_is_asked_through_a_job_and_its_skills_are_matched() -> None:
    setup = Setup(make_pool(GOOD))
    asking = LlmAnnotator("annotator")
    embedder = HashEmbedder()

    def answer(expert_id: str, query: Query) -> Script:
        return Script("Spellings, Addition") if expert_id == "annotator" else scripted(expert_id, query)

    setup.jobs.answer = answer
    profiler = Profiler(
        jobs=_Sampled(setup.jobs),  # type: ignore[arg-type]
        cards=setup.cards,
        dispatcher=setup.jobs,
        grader=AnswerGrader(),
        annotator=asking,
        matcher=EmbeddingMatcher(embedder, ["spelling"], floor=0.4),
        embedder=embedder,
        pool=setup.pool,
    )
    card = profiler.run([SPELL]).cards["good"]
    assert card.skills == {"spelling": Tally(n_right=1)}
    assert asking.annotate([SPELL], [()])[0][0] == SkillTag(name="addition")


class _Sampled:
    """A job store whose annotation responses come twice: as two samples that agree."""

    def __init__(self, jobs: FakeJobs) -> None:
        self._jobs = jobs
        self.submit, self.job, self.jobs = jobs.submit, jobs.job, jobs.jobs

    def responses(self, job_id: str) -> object:
        twice = self._jobs.job(job_id).job.composition == "annotate"
        return ((q, r * 2 if twice else r) for q, r in self._jobs.responses(job_id))


def test_progress_is_reported() -> None:
    seen: list[int] = []
    Setup(make_pool(GOOD)).profiler().run(QUERIES, on_progress=lambda p: seen.append(p.completed))
    assert seen == [3]


def test_costs_count_prompt_and_output_tokens() -> None:
    """The text "addition: 1 + 2?" has 16 characters, about 4 tokens: 4 * 1e-6 + 4 * 2e-6 = 1.2e-5 USD."""
    paid: Expert = GOOD.model_copy(update={"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6})
    card = Setup(make_pool(paid)).profiler().run([ADD]).cards["good"]
    assert card.cost_per_query == pytest.approx(1.2e-5)
