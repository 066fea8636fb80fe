"""When compositions see new cards; which engines they need late."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from aggregators.outputs import AGGREGATORS
from orchestrator.compositions.catalogue import FEEDBACK_S, MOST_SHAPED, REFRESH_S, Catalogue
from orchestrator.compositions.knowledge import Knowledge
from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Ask, Done, Job, QueryState
from orchestrator.domain.cards import CompetenceCard, Tally
from orchestrator.domain.experts import Expert, ExpertRole, Pool
from orchestrator.domain.queries import Query
from orchestrator.ports.skills import Grader
from orchestrator.settings.load import load_settings
from orchestrator.settings.schema import CompositionSettings, Settings
from tests.fakes.app import make_card, make_expert
from tests.fakes.ballots import OPEN, says, state
from tests.fakes.grader import FakeGrader
from tests.fakes.packages import install, put_on_path
from tests.integration.scripted_pool import write_pool


@dataclass
class World:
    """`loads` counts how often the profile was read."""

    cards: dict[str, CompetenceCard]
    now_s: float = 0.0
    loads: int = 0

    def knowledge(self) -> Knowledge:
        self.loads += 1
        return Knowledge(self.cards, None)

    def judge(self) -> None:
        """One more answer of alpha was right."""
        card = self.cards["alpha"]
        more = Tally(n_right=card.total.n_right + 1, n_wrong=2, n_abstain=1)
        feedback = Tally(n_right=card.feedback.n_right + 1)
        self.cards = {"alpha": card.replaced(total=more, feedback=feedback)}


def make(folder: Path, *, read_text: Callable[..., None] = lambda *_: None) -> tuple[World, Catalogue]:
    """`read_text`: what makes the embedder and the annotator."""
    world = World({"alpha": make_card("alpha")})
    settings = load_settings(write_pool(folder))
    return world, catalogue_of(world, settings, [make_expert("alpha")], read_text=read_text)


def catalogue_of(
    world: World,
    settings: Settings,
    experts: Sequence[Expert],
    *,
    read_text: Callable[..., None] = lambda *_: None,
    grader: Grader | None = None,
) -> Catalogue:
    return Catalogue(
        settings,
        pool=Pool(experts=tuple(experts)),
        aggregators=AGGREGATORS,
        grader=grader,
        embedder=read_text,
        annotator=read_text,
        matcher=lambda known: None,
        measured=lambda: world.cards,
        cards=lambda: world.cards,
        knowledge=world.knowledge,
        clock=lambda: world.now_s,
    )


def n_right(catalogue: Catalogue) -> float:
    return catalogue.knowledge.cards["alpha"].total.n_right


def test_feedback_reaches_routing_once_in_a_while_without_reading_the_profile_again(tmp_path: Path) -> None:
    world, catalogue = make(tmp_path)
    assert n_right(catalogue) == 7
    seen = []
    for now_s in (REFRESH_S - 1, REFRESH_S, 2 * REFRESH_S, REFRESH_S + FEEDBACK_S):
        world.judge()
        world.now_s = now_s
        catalogue.refresh()
        seen.append(n_right(catalogue))
    assert seen == [7, 9, 9, 11]
    assert world.loads == 1


def test_new_measurements_reach_routing_at_the_next_look(tmp_path: Path) -> None:
    world, catalogue = make(tmp_path)
    assert n_right(catalogue) == 7
    profiled = {"outcomes_hash": "more", "total": Tally(n_right=70, n_wrong=20)}
    world.cards = {"alpha": make_card("alpha").model_copy(update=profiled)}
    world.now_s = REFRESH_S
    catalogue.refresh()
    assert (n_right(catalogue), world.loads) == (70, 2)


def test_people_see_the_cards_of_the_moment(tmp_path: Path) -> None:
    world, catalogue = make(tmp_path)
    world.judge()
    assert catalogue.cards["alpha"].total.n_right == 8
    assert world.loads == 0


@pytest.mark.parametrize(
    ("composition", "engines"),
    [
        ("synthesize", ("scribe-engine", "judge-engine")),
        ("by_model", ("scribe-engine", "judge-engine")),
        ("by_agents", ()),
        ("auto", ()),
        ("by_nobody", ()),
        ("by_package", ()),
        ("route:synthesize", ()),
        ("expert:alpha", ()),
        ("roll_call", ()),
        ("unheard of", ()),
    ],
)
def test_the_engines_that_write_answers_come_late_and_nothing_is_built_to_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composition: str, engines: tuple[str, ...]
) -> None:
    """An aggregator that does not exist, or whose package is broken, has none: queries fail when stepped."""
    site = install(tmp_path / "site", "broken", {"muster.aggregators": {"torn": "no_such_module:ROW"}})
    put_on_path(monkeypatch, site)
    own = {
        "by_model": CompositionSettings(router="all", aggregator="synthesize"),
        "by_agents": CompositionSettings(
            router="all", aggregator="debate", aggregator_options={"protocol": "mutual"}
        ),
        "by_nobody": CompositionSettings(router="all", aggregator="nobody"),
        "by_package": CompositionSettings(router="all", aggregator="torn"),
    }
    settings = load_settings(write_pool(tmp_path))
    settings = settings.model_copy(
        update={"muster": settings.muster.model_copy(update={"compositions": own})}
    )
    roles = frozenset({ExpertRole.AGGREGATOR})
    writers = [make_expert(name).model_copy(update={"roles": roles}) for name in ("scribe", "judge")]
    world = World({})
    catalogue = catalogue_of(world, settings, [make_expert("alpha"), *writers])
    assert catalogue.later_engines(Job(id="job", composition=composition)) == engines
    assert world.loads == 0


def alone(catalogue: Catalogue) -> Decision:
    """The decision of a job that names alpha."""
    state = QueryState(id=0, job_id="j", query=Query(id="q", question="What is 2 plus 2?"))
    [step] = catalogue.build(Job(id="j", composition="expert:alpha")).step([state])
    assert isinstance(step, Ask)
    assert step.decision is not None
    return step.decision


def refuse(*_: object) -> None:
    raise AssertionError("not needed")


def test_an_expert_by_name_needs_neither_profile_nor_embedder(tmp_path: Path) -> None:
    world, catalogue = make(tmp_path, read_text=refuse)
    decision = alone(catalogue)
    assert decision.expert_ids == ("alpha",)
    assert world.loads == 0


def test_an_expert_by_name_is_as_good_as_its_card_says_at_the_moment(tmp_path: Path) -> None:
    world, catalogue = make(tmp_path)
    before = alone(catalogue)
    world.judge()
    assert alone(catalogue) == before
    world.now_s = REFRESH_S
    catalogue.refresh()
    assert alone(catalogue).recruits[0].accuracy > before.recruits[0].accuracy


def test_what_requests_ask_of_their_calls_is_not_kept(tmp_path: Path) -> None:
    """A client that sends another seed, temperature or length with each question costs no memory."""
    _, catalogue = make(tmp_path)
    for n in range(200):
        for name in ("expert:alpha", "route:expert:alpha"):
            asked = {"seed": n, "max_tokens": 1 + n, "temperature": n / 200, "stream": n % 2 == 0}
            catalogue.build(Job(id=f"j{n}", composition=name, **asked))
    assert catalogue.n_kept == 1


def test_jobs_of_one_composition_differ_in_what_they_ask_of_their_calls(tmp_path: Path) -> None:
    _, catalogue = make(tmp_path)
    fresh = QueryState(id=0, job_id="j", query=Query(id="q", question="What is 2 plus 2?"))
    asked = {}
    for seed in (3, 4):
        job = Job(id="j", composition="expert:alpha", seed=seed, max_tokens=seed, temperature=seed / 10)
        [step] = catalogue.build(job).step([fresh])
        assert isinstance(step, Ask)
        asked[seed] = step.calls[0].sampling
    assert [(asked[n].max_tokens, asked[n].temperature) for n in (3, 4)] == [(3, 0.3), (4, 0.4)]
    assert asked[3].seed != asked[4].seed


def answer_of(catalogue: Catalogue, job: Job) -> str | None:
    """The winner of two answers that tie."""
    tied = state({"alpha": 0.5, "beta": 0.5}, query=OPEN, responses=[says("alpha", "4"), says("beta", "5")])
    [step] = catalogue.build(job).step([tied])
    assert isinstance(step, Done)
    return step.answer.value


def test_names_that_nobody_knows_are_not_kept_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of experts that have left the pool may be on the books."""
    monkeypatch.setattr("orchestrator.compositions.catalogue.MOST_KEPT", 8)
    _, catalogue = make(tmp_path)
    for n in range(50):
        catalogue.build(Job(id="j", composition=f"expert:gone-{n}"))
    assert catalogue.n_kept == 8


def test_shapes_that_requests_give_a_composition_put_none_of_the_configurations_out(tmp_path: Path) -> None:
    _, catalogue = make(tmp_path)
    catalogue.build(Job(id="j", composition="random_3"))
    for k in range(1, 101):
        catalogue.build(Job(id="j", composition="random_3", k=k))
    assert catalogue.n_kept == 1 + MOST_SHAPED


def test_a_draw_follows_the_seed_of_its_job(tmp_path: Path) -> None:
    """`random` ties: 2 answers, 40 seeds; what is fitted once has the configuration's seed."""
    settings = load_settings(write_pool(tmp_path))
    drawn = CompositionSettings(router="all", aggregator="majority", aggregator_options={"ties": "random"})
    muster = settings.muster.model_copy(update={"compositions": {"drawn": drawn}})
    settings = settings.model_copy(update={"muster": muster})
    experts = [make_expert("alpha"), make_expert("beta")]
    catalogue = catalogue_of(World({}), settings, experts, grader=FakeGrader())
    winners = {answer_of(catalogue, Job(id="j", composition="drawn", seed=seed)) for seed in range(40)}
    assert winners == {"4", "5"}
    assert len({answer_of(catalogue, Job(id="j", composition="drawn", seed=7)) for _ in range(5)}) == 1
    assert catalogue.n_kept == 1
