"""What is told of a question while its answer is waited for."""

from collections.abc import Generator, Sequence

from orchestrator.domain.answers import Answer, Decision
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.stages import CallProgress, Saying, StageNews
from orchestrator.errors import StoreUnavailableError
from orchestrator.ports.jobs import QueryRecord
from orchestrator.services.stages import Stages, news, sayings_of
from skills.grading.grader import AnswerGrader

ANSWER = Answer(text="Yes.")


def call(number: int, state: str = "waiting", **more: object) -> CallProgress:
    fields = {"expert_id": f"e{number}", "role": "expert", "number": number, "state": state, **more}
    return CallProgress.model_validate(fields)


def told(before: Sequence[CallProgress], now: Sequence[CallProgress]) -> list[tuple[object, ...]]:
    return [
        (one.event, *one.experts, *([one.ahead] if one.ahead is not None else []))
        for one in news(before, now)
    ]


def test_recruits_are_told_once_with_their_places_in_line() -> None:
    first = [call(1, ahead=2), call(2, "running")]
    assert told([], first) == [("recruited", "e1", "e2"), ("waiting", "e1", 2), ("started", "e2")]
    assert told(first, first) == []


def test_a_place_that_changes_and_an_engine_that_is_loaded_are_told() -> None:
    assert told([call(1, ahead=2)], [call(1, ahead=1)]) == [("waiting", "e1", 1)]
    assert told([call(1)], [call(1, loading=True)]) == [("loading", "e1")]
    assert told([call(1, loading=True)], [call(1, "running")]) == [("started", "e1")]


def test_what_was_not_seen_to_start_started_all_the_same() -> None:
    assert told([call(1)], [call(1, "done")]) == [("started", "e1"), ("finished", "e1")]
    [_, finished] = news([call(1)], [call(1, "failed")])
    assert finished.failed is True


def test_later_calls_are_no_recruits() -> None:
    later = call(3, "running", role="aggregate")
    assert [one.event for one in news([call(1, "done")], [call(1, "done"), later])] == ["started"]


class Books:
    """Calls at each look; an error is raised. `n_looks` counts."""

    def __init__(self, *looks: Sequence[CallProgress] | Exception) -> None:
        self._looks = list(looks)
        self.n_looks = 0

    def call_progress(self, job_id: str) -> Sequence[CallProgress]:
        self.n_looks += 1
        look = self._looks.pop(0)
        if isinstance(look, Exception):
            raise look
        return look


def parts(*said: str | Answer) -> Generator[str | Answer, None, None]:
    yield from said


def heard(books: Books, *said: str | Answer, quiet_s: float = 0.0) -> list[str]:
    stages = Stages(books, quiet_s=quiet_s, clock=lambda: 0.0)
    return [
        part.event if isinstance(part, StageNews) else part.text if isinstance(part, Answer) else part
        for part in stages.among(parts(*said), "job")
    ]


def test_news_come_where_nothing_is_said_and_before_the_end() -> None:
    books = Books([call(1, "running")], [call(1, "done")])
    assert heard(books, "", "Ye", "s.", ANSWER) == [
        "recruited",
        "started",
        "",
        "Ye",
        "s.",
        "finished",
        "Yes.",
    ]


def test_a_question_that_is_soon_answered_is_not_looked_at() -> None:
    books = Books()
    assert heard(books, "Yes.", ANSWER) == ["Yes.", "Yes."]
    assert heard(books, "", ANSWER, quiet_s=3.0) == ["", "Yes."]
    assert books.n_looks == 0


def test_books_that_cannot_be_read_break_no_stream() -> None:
    assert heard(Books(StoreUnavailableError("away")), "", ANSWER) == ["", "Yes."]


def test_who_has_finished_is_told_with_what_it_said_and_what_that_was_read_as() -> None:
    books = Books([call(1, "running"), call(2, "running")], [call(1, "done"), call(2, "failed")])
    said = {"e1": Saying("It is six.", "6"), "e2": Saying("Er", None)}
    stages = Stages(books, sayings=lambda _job: said, quiet_s=0.0, clock=lambda: 0.0)
    finished = [
        (one.experts, one.failed, one.value, one.text)
        for one in stages.among(parts("", ANSWER), "job")
        if isinstance(one, StageNews) and one.event == "finished"
    ]
    assert finished == [(("e1",), False, "6", "It is six."), (("e2",), True, None, None)]


def test_sayings_that_cannot_be_read_leave_the_news() -> None:
    def away(_job_id: str) -> dict[str, Saying]:
        raise StoreUnavailableError("away")

    books = Books([call(1, "running")], [call(1, "done")])
    stages = Stages(books, sayings=away, quiet_s=0.0, clock=lambda: 0.0)
    told = [one for one in stages.among(parts("", ANSWER), "job") if isinstance(one, StageNews)]
    assert [one.event for one in told] == ["recruited", "started", "finished"]


def test_words_are_read_as_the_type_that_the_question_was_found_to_have() -> None:
    query = Query(id="q", question="1 + 5?", answer_type=AnswerType.OPEN, infers=True)
    responses = tuple(
        Response(expert_id=who, role=role, stage=0, text=text, error_code=code)
        for who, role, text, code in (
            ("ann", CallRole.EXPERT, "The answer is 6.", None),
            ("bob", CallRole.EXPERT, "", "engine_crashed"),
            ("cat", CallRole.AGGREGATE, "The answer is 7.", None),
        )
    )
    decision = Decision(router="any", recruits=(), answer_type=AnswerType.NUMBER)
    record = QueryRecord(query, None, responses, decision)
    assert sayings_of(record, AnswerGrader()) == {"ann": Saying("The answer is 6.", "6")}


def test_who_stops_listening_closes_the_parts() -> None:
    said = parts("", "a", "b")
    stages = Stages(Books([]), quiet_s=0.0).among(said, "job")
    assert next(stages) == ""
    stages.close()
    assert list(said) == []
