"""Pieces of answers, from the engine's text to whoever reads along."""

import re
import threading

from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.votes import SettledWords, without_reasoning
from orchestrator.domain.assignments import Assignment, Call, CallRole, Sampling
from orchestrator.domain.queries import Message
from orchestrator.ports.dispatch import Excerpt, Piece, Told
from orchestrator.services.drafts import Draft
from tests.fakes.work import HandClock
from workers.pieces import Heard, Watch, Watches, as_it_is, follow, writers


def assignment(*, stream: bool = True, followed: bool = False) -> Assignment:
    call = Call(
        expert_id="e",
        role=CallRole.EXPERT,
        messages=(Message(role="user", content="Why?"),),
        sampling=Sampling(stream=stream, followed=followed),
    )
    return Assignment(id=1, job_id="job", query_id=1, stage=0, engine_id="e", call=call)


def told_of(*texts: str) -> list[Piece]:
    told: list[Told] = []
    write = writers(SettledWords, told.append)(assignment())
    assert write is not None
    for text in texts:
        write(text)
    return [piece for piece in told if isinstance(piece, Piece)]


def test_only_what_somebody_reads_has_a_writer() -> None:
    assert writers(as_it_is, print)(assignment(stream=False)) is None


def followed(*texts: str, stream: bool = False, step_s: float = 0.1) -> list[Told]:
    told: list[Told] = []
    clock = HandClock(step_s=step_s)
    write = writers(SettledWords, told.append, clock=clock)(assignment(stream=stream, followed=True))
    assert write is not None
    for text in texts:
        write(text)
    return told


def test_who_follows_a_call_is_told_now_and_then_what_it_has_written() -> None:
    told = followed(*"abcdefg")
    assert told == [
        Excerpt("job", 1, "e", "expert", n, text) for n, text in ((1, "a"), (4, "abcd"), (7, "abcdefg"))
    ]


def test_however_much_is_written_only_its_last_words_are_told() -> None:
    [_, second] = followed("x" * 1000, "end", step_s=1.0)
    assert isinstance(second, Excerpt)
    assert (second.n_chars, len(second.text), second.text[-4:]) == (1003, 600, "xend")


def test_an_answer_that_is_read_along_with_is_followed_as_well() -> None:
    told = followed("It ", "is", stream=True, step_s=1.0)
    assert [one.text for one in told if isinstance(one, Piece)] == ["It", " is"]
    assert [one.text for one in told if isinstance(one, Excerpt)] == ["It ", "It is"]


def test_pieces_follow_each_other_under_one_name_and_a_second_run_has_another() -> None:
    first, second = told_of("It", " is ", "so"), told_of("It")
    assert [(p.at, p.text) for p in first] == [(0, "It"), (2, " is"), (5, " so")]
    assert len({p.writer for p in first} | {p.writer for p in second}) == 2


def test_reasoning_is_not_told_and_neither_are_blanks_around_the_words() -> None:
    told = told_of(" <thi", "nk>so", "</think> Yes", ", ", "<b>no</b> <", "think>mm")
    assert "".join(p.text for p in told) == "Yes, <b>no</b>"


def test_a_tag_that_turns_out_to_be_none_is_told() -> None:
    assert "".join(p.text for p in told_of("a <th", "ree")) == "a <three"


PARTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "th", "ink>", "<THINK>", "</thinK>", "a", " ", "\n", "b<"]),
    max_size=14,
)


@given(PARTS)
def test_pieces_are_the_beginning_of_the_final_words(parts: list[str]) -> None:
    told = told_of(*parts)
    whole = without_reasoning("".join(parts))
    text = "".join(p.text for p in told)
    assert whole.startswith(text)
    assert [p.at for p in told] == [len("".join(q.text for q in told[:n])) for n in range(len(told))]
    draft = Draft()
    assert draft.add(told) == text
    assert text + draft.finish(whole) == whole


@given(PARTS)
def test_all_that_is_certain_is_told_at_once(parts: list[str]) -> None:
    """Certain: the words so far without an open block, a tag that has only begun, and blanks at the end."""
    told = "".join(p.text for p in told_of(*parts))
    begun = re.sub(r"<(?:t(?:h(?:i(?:nk?)?)?)?)?\Z", "", "".join(parts), flags=re.IGNORECASE)
    assert told == without_reasoning(begun)


def test_a_waiter_hears_of_its_job_only_and_nothing_twice() -> None:
    watches = Watches()
    with watches.watch("mine") as mine, watches.watch("other") as other:
        watches.add(Piece("mine", "w", 0, "a"))
        watches.move(["mine", "nobody's"])
        assert mine.wait(0.0) == Heard(True, (Piece("mine", "w", 0, "a"),))
        assert mine.wait(0.0) == other.wait(0.0) == Heard(False, ())
        watches.move(None)
        assert mine.wait(0.0).moved
        assert other.wait(0.0).moved


def test_who_waits_is_woken_from_another_thread() -> None:
    watch = Watch()
    threading.Timer(0.01, watch.move).start()
    assert watch.wait(60.0) == Heard(True, ())


def test_the_books_are_looked_at_when_the_job_moved_and_not_for_each_piece() -> None:
    watch, looks = Watch(), []
    pieces = [Piece("job", "w", at, "x") for at in range(3)]

    def has_ended() -> bool:
        looks.append(1)
        return len(looks) == 2

    following = follow(watch, has_ended=has_ended, pause_s=lambda: 60.0, until=1e9, clock=HandClock())
    heard = []
    for piece in pieces:
        watch.add(piece)
        heard += next(following)
    assert (heard, len(looks)) == (pieces, 1)
    watch.move()
    assert list(following) == [(), ()]
    assert len(looks) == 2


def test_following_ends_when_the_time_is_up() -> None:
    clock = HandClock(step_s=1.0)
    ends = follow(Watch(), has_ended=lambda: False, pause_s=lambda: 0.0, until=clock.now + 10, clock=clock)
    assert set(ends) == {()}
