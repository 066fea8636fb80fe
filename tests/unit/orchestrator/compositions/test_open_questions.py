"""Open questions in compositions: who answers them, and what no answer to one pretends."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from aggregators.outputs import AGGREGATORS
from orchestrator.compositions.catalogue import Catalogue
from orchestrator.compositions.graded import as_tally, open_knowledge, open_settings
from orchestrator.compositions.knowledge import Knowledge
from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.compositions.typed import Routing, is_open
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Ask, CallRole, Done, Job, QueryState, Response
from orchestrator.domain.cards import CompetenceCard, Profile, Tally
from orchestrator.domain.experts import Pool
from orchestrator.domain.grades import grade_tally
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.terms import StructuredOutput, Terms
from orchestrator.errors import NotProfiledError
from orchestrator.settings.members import LitellmParams, Member
from orchestrator.settings.schema import CompositionSettings, MusterSettings, Settings
from skills.grading.grader import AnswerGrader
from tests.fakes.ballots import expert
from tests.fakes.prose import BRIEF, LETTER, LONG, Writes, graded_card, graded_profile, moody, steady

NAMES = ("good", "best", "fair")
SUM = Query(id="sum", question="1 + 1?", answer_type=AnswerType.NUMBER)
WRITERS: Mapping[str, Writes] = {"good": steady(0.6), "best": moody(0.9, 0.1), "fair": steady(0.5)}
PROFILE = graded_profile(WRITERS, 150)
EXACT = {name: graded_card(name, total=Tally(n_right=n, n_wrong=9 - n)) for name, n in zip(NAMES, (8, 5, 2))}  # noqa: B905
GRADED = {name: graded_card(name, *[s] * 50) for name, s in zip(NAMES, (0.6, 0.8, 0.5))}  # noqa: B905


class NoEmbedder:
    name = "none"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.ones((len(texts), 2), dtype=np.float32)


class NoSkills:
    def calls(self, query: Query) -> None:
        return None

    def annotate(
        self, queries: Sequence[Query], responses: object, *, vectors: object = None
    ) -> list[tuple[()]]:
        return [()] * len(queries)


def catalogue(
    cards: Mapping[str, CompetenceCard],
    profile: Profile | None = None,
    compositions: Mapping[str, CompositionSettings] | None = None,
) -> Catalogue:
    known = Knowledge(cards, profile)
    members = tuple(
        Member(model_name=name, litellm_params=LitellmParams(model=f"recorded/{name}")) for name in NAMES
    )
    muster = MusterSettings(compositions=dict(compositions or {}))
    settings = Settings(model_list=members, muster=muster, base_dir=Path())
    return Catalogue(
        settings,
        pool=Pool(experts=tuple(expert(name) for name in NAMES)),
        aggregators=AGGREGATORS,
        grader=AnswerGrader(),
        embedder=NoEmbedder,  # type: ignore[arg-type]
        annotator=lambda _: NoSkills(),  # type: ignore[arg-type,return-value]
        matcher=lambda _: None,
        cards=lambda: cards,
        knowledge=lambda: known,
    )


def answered(
    made: Catalogue, composition: str, query: Query, says: Mapping[str, str], terms: Terms | None = None
) -> Answer:
    """The answer when experts say so; in as many waves as it takes."""
    steps = made.build(Job(id="j", composition=composition, **(terms.said if terms else {})))
    state = QueryState(id=1, job_id="j", query=query)
    for stage in range(9):
        [step] = steps.step([state])
        if isinstance(step, Done):
            return step.answer
        assert isinstance(step, Ask)
        heard = tuple(
            Response(expert_id=c.expert_id, role=CallRole.EXPERT, stage=stage, text=says[c.expert_id])
            for c in step.calls
        )
        changes = {"stage": stage + 1, "decision": step.decision or state.decision}
        state = state.model_copy(update={**changes, "responses": (*state.responses, *heard)})
    raise AssertionError("it never ends")


SAYS = {"good": LONG, "best": LONG + " And so it stood.", "fair": LONG}
VOTING = [
    "auto", "auto_k3", "auto_verifier", "skills", "knn", "cluster", "category", "centroid", "kshot",
    "posterior", "static_top_3", "random_3", "self_consistency", "majority_all", "debate_mutual",
    "choice_shuffle", "stability", "cascade",
]  # fmt: skip


@pytest.mark.parametrize("composition", VOTING)
def test_a_composition_that_votes_hands_open_questions_to_the_best_graded_expert(composition: str) -> None:
    answer = answered(catalogue(EXACT, PROFILE), composition, LETTER, SAYS)
    assert (answer.answered_by, answer.error_code) == ("best", None)
    assert (answer.confidence, answer.votes, answer.n_calls) == (None, (), 1)
    assert answer.expected_grade is not None


@pytest.mark.parametrize("composition", VOTING)
def test_it_says_so_unless_it_is_the_default(composition: str) -> None:
    answer = answered(catalogue(EXACT, PROFILE), composition, LETTER, SAYS)
    said = [note for note in answer.notes if "an open question has no votes" in note]
    assert bool(said) == (composition != "auto")


def test_others_are_asked_where_the_best_is_brief() -> None:
    answer = answered(catalogue(EXACT, PROFILE), "auto", LETTER, {**SAYS, "best": BRIEF})
    assert (answer.answered_by, answer.n_calls) == ("good", 3)
    assert answer.decision is not None
    assert answer.decision.expert_ids == ("best", "good", "fair")


@pytest.mark.parametrize("composition", ["best_single", "expert:good", "mbr"])
def test_a_composition_that_handles_prose_keeps_its_way_and_has_no_votes_or_confidence(
    composition: str,
) -> None:
    answer = answered(catalogue(GRADED), composition, LETTER, SAYS)
    assert (answer.confidence, answer.votes, answer.error_code) == (None, (), None)
    assert answer.expected_grade is not None
    assert answer.expected_grade.source == "rubric"


def test_best_single_is_the_best_graded_expert_not_the_most_accurate() -> None:
    cards = {name: EXACT[name].replaced(graded=GRADED[name].graded) for name in NAMES}
    made = catalogue(cards)
    assert answered(made, "best_single", LETTER, SAYS).answered_by == "best"
    assert answered(made, "best_single", SUM, dict.fromkeys(NAMES, "The answer is 2.")).answered_by == "good"


def test_where_nobody_was_graded_the_most_accurate_expert_answers_without_a_grade() -> None:
    answer = answered(catalogue(EXACT), "auto", LETTER, SAYS)
    assert (answer.answered_by, answer.expected_grade, answer.confidence) == ("good", None, None)
    assert answer.decision is not None
    assert any("nobody was graded" in note for note in answer.decision.notes)


def test_a_pool_that_was_never_measured_still_answers() -> None:
    answer = answered(catalogue({}), "auto", LETTER, SAYS)
    assert (answer.answered_by, answer.expected_grade) == ("good", None)


def test_questions_of_both_kinds_are_answered_side_by_side_in_order() -> None:
    made = catalogue(EXACT, PROFILE).build(Job(id="j", composition="auto"))
    states = [QueryState(id=i, job_id="j", query=query) for i, query in enumerate([LETTER, SUM, LETTER, SUM])]
    routers = [step.decision.router for step in made.step(states) if isinstance(step, Ask) and step.decision]
    assert routers == ["graded", "symbolic", "graded", "symbolic"]


def test_a_dry_run_says_whom_an_open_question_would_go_to() -> None:
    made = catalogue(EXACT, PROFILE).build(Job(id="j", composition="auto"))
    assert isinstance(made, Routing)
    assert [decision.router for decision in made.route([SUM, LETTER])] == ["symbolic", "graded"]


def test_a_pool_that_was_only_graded_answers_open_questions_where_exact_ones_need_a_profile() -> None:
    made = catalogue(GRADED, PROFILE).build(Job(id="j", composition="knn"))
    assert isinstance(made, Routing)
    assert made.route([LETTER])[0].expert_ids == ("best",)
    with pytest.raises(NotProfiledError):
        made.route([SUM])
    [step] = made.step([QueryState(id=1, job_id="j", query=SUM)])
    assert isinstance(step, Done)
    assert step.answer.error_code == "not_profiled"


def test_without_any_profile_it_is_refused_at_once() -> None:
    with pytest.raises(NotProfiledError):
        catalogue({}).build(Job(id="j", composition="knn"))


def test_an_open_question_with_a_schema_is_answered_in_json_and_voted_on() -> None:
    terms = Terms(structured_output=StructuredOutput(json_schema={"type": "object"}))
    assert is_open(LETTER, Terms())
    assert not is_open(LETTER, terms)
    answer = answered(catalogue(EXACT, PROFILE), "auto", LETTER, dict.fromkeys(NAMES, '{"a": 1}'), terms)
    assert (answer.text, answer.expected_grade) == ('{"a": 1}', None)


def test_only_the_experts_of_a_composition_are_asked() -> None:
    spec = STOCK_COMPOSITIONS["auto"].model_copy(update={"experts": ("good", "fair"), "temperature": 0.2})
    made = open_settings("own", spec, reads_prose=False)
    assert (made.spec.experts, made.spec.temperature) == (("good", "fair"), 0.2)
    answer = answered(catalogue(EXACT, PROFILE, {"own": spec}), "own", LETTER, SAYS)
    assert answer.answered_by == "good"


def test_a_request_for_one_expert_is_kept_to() -> None:
    answer = answered(catalogue(EXACT, PROFILE), "auto", LETTER, {**SAYS, "best": BRIEF}, Terms(k=1))
    assert (answer.answered_by, answer.n_calls) == ("best", 1)


def test_a_request_for_another_router_is_told_that_it_was_not_used() -> None:
    answer = answered(catalogue(EXACT, PROFILE), "auto", LETTER, SAYS, Terms(router="random"))
    assert answer.answered_by == "best"
    assert any("answered as composition 'open' does" in note for note in answer.notes)


def test_a_router_that_counts_right_answers_makes_way_for_one_that_goes_by_grades() -> None:
    spec = CompositionSettings(
        router="category", router_options={"k": 2}, aggregator="synthesize", abstain_below=0.3
    )
    made = open_settings("own", spec, reads_prose=True)
    assert (made.spec.router, made.spec.router_options) == ("graded", {"k": 2, "first": 2})
    assert (made.spec.aggregator, made.spec.abstain_below) == ("synthesize", None)
    assert made.note is not None
    assert "'category' counts right answers" in made.note


def test_as_many_are_asked_as_the_router_would_have_asked_at_once() -> None:
    spec = CompositionSettings(
        router="posterior", router_options={"k": 6, "first": 2}, aggregator="synthesize"
    )
    assert open_settings("own", spec, reads_prose=True).spec.router_options == {"k": 2, "first": 2}


def test_imported_grades_are_known_without_the_answers_behind_them() -> None:
    known = open_knowledge(Knowledge(GRADED, None))
    assert known.profile is None
    assert known.cards["best"].total.accuracy == pytest.approx(0.8)


def test_a_router_that_can_go_by_grades_stays() -> None:
    spec = CompositionSettings(router="knn", router_options={"k": 1}, aggregator="first")
    assert open_settings("own", spec, reads_prose=True) == (spec, None)


def test_grades_stand_for_as_many_right_answers() -> None:
    """Grades of .5 and 1: one and a half right answers of two."""
    assert as_tally(grade_tally([0.5, 1.0])) == Tally(n_right=1.5, n_wrong=0.5)


def test_what_is_known_of_open_questions_has_skills_too() -> None:
    known = open_knowledge(Knowledge(EXACT, graded_profile(WRITERS, 10, skill="prose")))
    good = known.cards["good"]
    assert good.skills["prose"].accuracy == pytest.approx(0.6)
    assert good.total.accuracy == pytest.approx(0.6)
    assert good.graded is not None
    assert good.graded.total.n == 10


def test_without_grades_what_is_known_of_exact_questions_is_all_there_is() -> None:
    known = Knowledge(EXACT, None)
    assert open_knowledge(known) is known
