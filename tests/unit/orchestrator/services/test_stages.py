"""What is told of a question while its answer is waited for."""

from collections.abc import Generator, Sequence

from orchestrator.domain.answers import Answer, Decision
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.stages import CallPlace, CallProgress, Saying, StageNews
from orchestrator.errors import StoreUnavailableError
from orchestrator.ports.dispatch import Excerpt
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
    said = {
        CallPlace("e1", "expert"): Saying("It is six.", "6"),
        CallPlace("e2", "expert"): Saying("Er", None),
    }
    stages = Stages(books, sayings=lambda _job: said, quiet_s=0.0, clock=lambda: 0.0)
    finished = [
        (one.experts, one.failed, one.value, one.text)
        for one in stages.among(parts("", ANSWER), "job")
        if isinstance(one, StageNews) and one.event == "finished"
    ]
    assert finished == [(("e1",), False, "6", "It is six."), (("e2",), True, None, None)]


def test_sayings_that_cannot_be_read_leave_the_news() -> None:
    def away(_job_id: str) -> dict[CallPlace, Saying]:
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
    assert sayings_of(record, AnswerGrader()) == {CallPlace("ann", "expert"): Saying("The answer is 6.", "6")}


def test_an_expert_that_is_heard_twice_is_told_with_each_of_its_words() -> None:
    first = Response(expert_id="ann", role=CallRole.EXPERT, stage=0, text="5")
    again = [
        Response(expert_id="ann", role=CallRole.SAMPLE, stage=1, sample_ix=place, text=text)
        for place, text in enumerate(("6", "7"))
    ]
    query = Query(id="q", question="1 + 5?", answer_type=AnswerType.NUMBER)
    said = sayings_of(QueryRecord(query, None, (first, *again), None), AnswerGrader())
    begun = [
        call(1, "running", expert_id="ann"),
        call(2, "running", expert_id="ann", role="sample", stage=1),
        call(3, "running", expert_id="ann", role="sample", stage=1, sample_ix=1),
    ]
    books = Books(begun, [one.replaced(state="done") for one in begun])
    stages = Stages(books, sayings=lambda _job: said, quiet_s=0.0, clock=lambda: 0.0)
    finished = [
        (one.call, one.value)
        for one in stages.among(parts("", ANSWER), "job")
        if isinstance(one, StageNews) and one.event == "finished"
    ]
    assert finished == [(1, "5"), (2, "6"), (3, "7")]


class Following:
    """A stream whose calls write: `excerpts` fill before each part."""

    def __init__(self, *steps: tuple[list[Excerpt], str | Answer]) -> None:
        self._steps = steps
        self.excerpts: list[Excerpt] = []

    def parts(self) -> Generator[str | Answer, None, None]:
        for excerpts, part in self._steps:
            self.excerpts += excerpts
            yield part

    def told(self, books: Books, *, times: Sequence[float] = (0.0,)) -> list[tuple[object, ...]]:
        ticks = iter(times)
        clock = lambda: next(ticks, times[-1])  # noqa: E731 -- a clock is a function
        told = Stages(books, clock=clock).among(self.parts(), "job", at_once=True, excerpts=self.excerpts)
        return [
            (one.event, one.call, one.n_chars, one.text)
            for one in told
            if isinstance(one, StageNews) and one.event != "recruited"
        ]


def wrote(call: int, text: str) -> Excerpt:
    return Excerpt("job", call, f"e{call}", "expert", len(text), text)


def test_what_calls_write_is_told_with_its_last_words_and_without_a_look_at_the_books_for_each() -> None:
    stream = Following(
        ([wrote(7, "It")], ""),
        ([wrote(7, "It is"), wrote(7, "It is so"), wrote(9, "No")], ""),
        ([], ANSWER),
    )
    books = Books([call(7, "running"), call(9, "running")], [call(7, "done"), call(9, "done")])
    assert stream.told(books) == [
        ("started", 1, None, None),
        ("started", 2, None, None),
        ("writing", 1, 2, "It"),
        ("writing", 1, 8, "It is so"),
        ("writing", 2, 2, "No"),
        ("finished", 1, None, None),
        ("finished", 2, None, None),
    ]
    assert books.n_looks == 2


def test_while_one_writes_the_others_are_looked_at_about_once_a_second() -> None:
    stream = Following(*[([wrote(7, "x" * n)], "") for n in range(1, 5)])
    looks = [[call(7, "running"), call(9, state)] for state in ("running", "done")]
    told = stream.told(Books(*looks), times=[0.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3, 1.4, 1.4])
    assert [event for event, place, *_ in told if place == 2] == ["started", "finished"]


def test_what_is_written_is_told_beside_the_words_of_the_answer() -> None:
    stream = Following(([wrote(7, "Ye")], "Ye"), ([wrote(7, "Yes.")], "s."), ([], ANSWER))
    books = Books([call(7, "running")], [call(7, "done")])
    assert [event for event, *_ in stream.told(books)] == ["started", "writing", "writing", "finished"]


def test_nothing_is_told_of_the_writing_of_a_call_that_is_over_or_not_known() -> None:
    stream = Following(([wrote(7, "late")], ""), ([wrote(8, "whose?")], ANSWER))
    books = Books([call(7, "done")], [call(7, "done")])
    assert [event for event, *_ in stream.told(books)] == ["started", "finished"]


def test_who_stops_listening_closes_the_parts() -> None:
    said = parts("", "a", "b")
    stages = Stages(Books([]), quiet_s=0.0).among(said, "job")
    assert next(stages) == ""
    stages.close()
    assert list(said) == []
