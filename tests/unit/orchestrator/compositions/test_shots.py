"""Which solved questions an expert is shown, and in whose words."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.compositions.shots import (
    LOOK_S,
    Shots,
    Solved,
    fitting,
    nearest,
    remembered,
    solved_in,
)
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Job
from orchestrator.domain.cards import GRADED, FloatMatrix, Profile
from orchestrator.domain.experts import EngineSpec, Expert
from orchestrator.domain.queries import AnswerType, Message, Query
from orchestrator.domain.terms import StructuredOutput
from orchestrator.domain.tools import Tool, ToolUse
from orchestrator.ports.memory import Remembered
from orchestrator.prompts import Shot
from orchestrator.settings.shots import ShotSettings
from tests.fakes.transcripts import spoken_profile, with_texts

EAST, NORTH, BETWEEN = (1.0, 0.0), (0.0, 1.0), (0.8, 0.6)
POINTS = {"east": EAST, "north": NORTH, "between": BETWEEN}
JOB = Job(id="j", composition="auto")


class Compass:
    """Vectors by the direction that a text names."""

    name = "compass"

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        return np.array([self._point(text) for text in texts], dtype=np.float32)

    def _point(self, text: str) -> tuple[float, float]:
        return next((point for word, point in POINTS.items() if word in text), EAST)


def expert(name: str = "one", **fields: object) -> Expert:
    engine = EngineSpec(id=name, backend="scripted", model=name, max_model_len=4096)
    return Expert.model_validate({"id": name, "engine": engine, "max_tokens": 64, **fields})


def asked(text: str = "east?", **fields: object) -> Query:
    return Query.model_validate({"id": "q", "question": text, "answer_type": "text", **fields})


def profile() -> Profile:
    """Four questions east, east, north, north. `one` solves the first three, `two` all but the first."""
    wrong_at = {"one": 3, "two": 0}
    said = {name: (lambda i, at=at: "B" if i == at else "A") for name, at in wrong_at.items()}
    points = (EAST, EAST, NORTH, NORTH)
    silent = spoken_profile(said, 4, point=lambda i: points[i], is_open=True)
    return with_texts(silent, lambda expert_id, i, value: f"{expert_id} on {i}")


def shots_of(settings: ShotSettings, known: Profile | None = None, memory: object = None) -> Shots:
    return Shots(settings, embedder=Compass, profile=known or profile(), memory=memory)


def shown(shots: Sequence[Shot]) -> list[tuple[str, str]]:
    return [(shot.query.id, shot.reply) for shot in shots]


def test_nearest_solved_questions_are_shown_the_nearest_last() -> None:
    """Between east (.8) and north (.6), nearer to east: of three shots north comes first, east last."""
    shots = shots_of(ShotSettings(k=3)).of(asked("between?"), expert("one"), JOB)
    assert shown(shots) == [("2", "one on 2"), ("1", "one on 1"), ("0", "one on 0")]


def test_a_question_that_the_expert_got_wrong_is_shown_in_anothers_words() -> None:
    shots = shots_of(ShotSettings(k=2)).of(asked("north?"), expert("one"), JOB)
    assert shown(shots) == [("3", "two on 3"), ("2", "one on 2")]


def test_an_expert_that_was_never_measured_reads_those_who_solve_most() -> None:
    shots = shots_of(ShotSettings(k=1)).of(asked("east?"), expert("three"), JOB)
    assert shown(shots) == [("0", "one on 0")]


def test_the_question_itself_is_never_shown() -> None:
    known = profile().transcript
    assert known is not None
    same = known.queries[0].replaced(answer=None)
    for query in (same, same.replaced(infers=True)):
        shots = shots_of(ShotSettings(k=4, floor=-1)).of(query, expert(), JOB)
        assert "0" not in dict(shown(shots))
        assert len(shots) == 3


def test_unlike_questions_are_left_out() -> None:
    assert {
        i for i, _ in shown(shots_of(ShotSettings(k=4, floor=0.7)).of(asked("east?"), expert(), JOB))
    } == {
        "0",
        "1",
    }


def test_long_shots_are_left_out() -> None:
    """`Question 0?` and `one on 0` have 11 + 8 characters."""
    query = asked("east?")
    assert len(shots_of(ShotSettings(k=4, max_chars=19)).of(query, expert(), JOB)) == 2
    assert shots_of(ShotSettings(k=4, max_chars=18)).of(query, expert(), JOB) == ()


def test_shots_have_the_answer_type_of_the_question() -> None:
    number = asked("east?", answer_type="number")
    assert shots_of(ShotSettings()).of(number, expert(), JOB) == ()


TOOLS = ToolUse(tools=(Tool(name="f", description="", parameters={}),))


@pytest.mark.parametrize(
    ("fields", "terms"),
    [
        ({"answer_type": "open"}, {}),
        ({"context": (Message(role="user", content="Hello."),)}, {}),
        ({"after": (Message(role="assistant", content="It is"),)}, {}),
        ({}, {"raw": True}),
        ({}, {"structured_output": StructuredOutput(json_schema={"type": "object"})}),
        ({}, {"tools": TOOLS}),
    ],
)
def test_nothing_is_shown_where_it_would_be_taken_for_the_conversation_or_the_form(
    fields: dict[str, object], terms: dict[str, object]
) -> None:
    query = asked("east?", **fields)
    assert shots_of(ShotSettings(floor=-1)).of(query, expert(), JOB.model_copy(update=terms)) == ()


def test_without_a_profile_or_without_its_texts_there_are_no_shots() -> None:
    texts_gone = spoken_profile({"one": lambda i: "A"}, 2, is_open=True)
    assert Shots(ShotSettings(), embedder=Compass, profile=None, memory=None).of(asked(), expert(), JOB) == ()
    assert shots_of(ShotSettings(), texts_gone).of(asked(), expert(), JOB) == ()


def test_graded_responses_are_nobodys_solution() -> None:
    known = profile()
    graded = replace(known, outcomes=np.full_like(known.outcomes, GRADED))
    assert solved_in(graded).queries == ()


def test_shots_that_leave_no_room_for_the_response_are_left_out_the_farthest_first() -> None:
    """256 tokens of context, 64 of them for the response and 1 for the question leave 191: one shot of
    600 / 4 = 150 tokens fits, two do not."""
    short = EngineSpec(id="one", backend="scripted", model="one", max_model_len=256)
    shots = [Shot(asked("a" * 300), "b" * 300), Shot(asked("c" * 300), "d" * 300)]
    assert fitting(shots, asked("east?"), expert(engine=short)) == (shots[1],)
    assert fitting(shots, asked("east?"), expert()) == tuple(shots)


def known(
    question: str,
    *,
    confidence: float | None = 0.95,
    score: float | None = None,
    age_days: float = 0.0,
    **fields: object,
) -> Remembered:
    answer = {"text": f"reply to {question}", "value": "v", "confidence": confidence, "answered_by": "one"}
    return Remembered(
        Query(id=question, question=question, answer_type=AnswerType.TEXT),
        Answer.model_validate({**answer, **fields}),
        score,
        age_days,
    )


class Books:
    """Answered questions by owner; counts the looks."""

    def __init__(self, **of_owner: Sequence[Remembered]) -> None:
        self.of_owner = of_owner
        self.n_looks = 0

    def latest_answered(self, owner: str, *, limit: int) -> list[Remembered]:
        self.n_looks += 1
        return list(self.of_owner.get(owner, ()))[:limit]


MEMORY = ShotSettings(taken_from="memory", k=2, least_confidence=0.9, half_life_days=10)


def taken(*latest: Remembered) -> set[str]:
    return {query.id for query in remembered(latest, Compass, settings=MEMORY).queries}


def test_sure_answers_and_those_judged_right_are_remembered() -> None:
    """Confidence counts where nobody judged; a judgement counts whatever the confidence."""
    assert taken(known("sure"), known("unsure", confidence=0.89), known("unknown", confidence=None)) == {
        "sure"
    }
    assert taken(known("right", confidence=None, score=0.75), known("wrong", score=0.7)) == {"right"}


def test_answers_that_nobody_can_show_are_not_remembered() -> None:
    silent = known("silent", text="")
    unread = known("unread", value=None)
    assert taken(silent, unread) == set()


def test_a_remembered_question_that_said_no_type_has_the_one_that_its_answer_was_read_as() -> None:
    read_as = known("east").answer.replaced(answer_type=AnswerType.NUMBER)
    unsaid = Query(id="east", question="east", answer_type=AnswerType.OPEN, infers=True)
    solved = remembered([Remembered(unsaid, read_as, None, 0.0)], Compass, settings=MEMORY)
    assert [query.answer_type for query in solved.queries] == [AnswerType.NUMBER]
    open_one = read_as.replaced(answer_type=AnswerType.OPEN)
    assert remembered([Remembered(unsaid, open_one, 1.0, 0.0)], Compass, settings=MEMORY).queries == ()


def test_the_latest_answer_of_equal_questions_is_the_one_remembered() -> None:
    latest, older = known("east", text="new"), known("east", text="old")
    assert [*remembered([latest, older], Compass, settings=MEMORY).replies] == [{"one": "new"}]


def test_similarity_of_old_questions_fades_by_half_lives() -> None:
    """North now, between (.6 to north) ten and twenty days old: .6 · 1/2 = .3 against east's 0."""
    old = known("between old", age_days=10)
    books = Books(k=[known("east"), known("north new", age_days=0), old])
    shots = shots_of(MEMORY, memory=books).of(asked("north?"), expert(), JOB.replaced(owner="k"))
    assert [shot.query.id for shot in shots] == ["between old", "north new"]
    older = remembered([known("a", age_days=10), known("b", age_days=20)], Compass, settings=MEMORY)
    assert older.shares == (0.5, 0.25)


def test_no_key_is_shown_what_another_one_asked() -> None:
    books = Books(mine=[known("east mine")], theirs=[known("east theirs")])
    shots = shots_of(MEMORY, memory=books)
    for owner in ("mine", "theirs", ""):
        seen = [s.query.id for s in shots.of(asked(), expert(), JOB.replaced(owner=owner))]
        assert seen == ([f"east {owner}"] if owner else [])


def test_the_books_are_looked_at_once_in_a_while() -> None:
    now = [0.0]
    books = Books(k=[known("east")])
    shots = Shots(MEMORY, embedder=Compass, profile=None, memory=books, clock=lambda: now[0])
    mine = JOB.replaced(owner="k")
    for now[0], n_looks in ((0.0, 1), (LOOK_S / 2, 1), (LOOK_S, 2)):
        assert len(shots.of(asked(), expert(), mine)) == 1
        assert books.n_looks == n_looks


Points = st.lists(st.sampled_from([EAST, NORTH, BETWEEN]), min_size=1, max_size=8)


@given(points=Points, k=st.integers(1, 5), floor=st.floats(-1, 1))
def test_shots_are_at_most_k_rise_in_similarity_and_reach_the_floor(
    points: list[tuple[float, float]], k: int, floor: float
) -> None:
    queries = tuple(asked(f"n{i}") for i in range(len(points)))
    vectors = np.array(points, dtype=np.float32)
    solved = Solved(queries, vectors, ({"one": "reply"},) * len(points), (1.0,) * len(points))
    settings = ShotSettings(k=k, floor=floor)
    shots = nearest(
        solved, asked("else"), np.array(EAST, dtype=np.float32), expert_id="one", settings=settings
    )
    likeness = [round(float(vectors[queries.index(shot.query)][0]), 6) for shot in shots]
    assert len(shots) <= k
    assert likeness == sorted(likeness)
    assert all(value >= floor for value in likeness)
