from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import GenerationRequest
from workers.backends.decoding.rows import SORT_WINDOW, Limits, Row, WaitingRows, uniforms


def row(name: str, n_prompt: int, *, n_output: int = 10, priority: int = 0) -> Row:
    messages = (Message(role="user", content="x"),)
    request = GenerationRequest(name, messages, Sampling(max_tokens=n_output), None, priority)
    return Row(request=request, prompt_ids=[5] * n_prompt)


def queue(*rows: Row) -> WaitingRows:
    waiting = WaitingRows()
    for each in rows:
        waiting.push(each)
    return waiting


def names(waiting: WaitingRows) -> list[str]:
    return [each.request.id for each in waiting.first(len(waiting))]


def test_priority_comes_before_length_and_length_before_arrival() -> None:
    waiting = queue(row("long", 30), row("short", 3), row("urgent", 50, priority=9), row("short2", 3))
    assert names(waiting) == ["urgent", "short", "short2", "long"]


def test_long_request_is_not_overtaken_by_more_than_a_window_of_later_ones() -> None:
    waiting = queue(row("long", 30), *(row(str(i), 3) for i in range(2 * SORT_WINDOW)))
    assert names(waiting).index("long") == SORT_WINDOW - 1


def test_batch_takes_rows_while_rows_times_longest_fits() -> None:
    """Final lengths 13, 14, 20: two rows make 28 <= 45, three would make 60."""
    waiting = queue(row("a", 3), row("b", 4), row("c", 10))
    assert waiting.count_fitting(Limits(rows=8, tokens=45), n_running=0, widest=0) == 2
    assert waiting.count_fitting(Limits(rows=8, tokens=60), n_running=0, widest=0) == 3
    assert waiting.count_fitting(Limits(rows=1, tokens=60), n_running=0, widest=0) == 1


def test_running_rows_count_against_the_limits() -> None:
    """One running row of 20 and a newcomer of 13 take 2 * 20 tokens."""
    waiting = queue(row("a", 3))
    assert waiting.count_fitting(Limits(rows=8, tokens=40), n_running=1, widest=20) == 1
    assert waiting.count_fitting(Limits(rows=8, tokens=39), n_running=1, widest=20) == 0


def test_batch_work_leaves_room_to_who_is_waited_for() -> None:
    """Of 32 rows two are kept, and of 640 tokens 40: 30 rows of 20 tokens are 600."""
    limits = Limits(rows=32, tokens=640)
    batch = [row(str(n), 10) for n in range(4)]
    assert queue(*batch).count_fitting(limits, n_running=28, widest=20) == 2
    assert queue(*batch, row("urgent", 10, priority=10)).count_fitting(limits, n_running=30, widest=20) == 1
    assert queue(row("urgent", 11, priority=10)).count_fitting(limits, n_running=30, widest=20) == 0


def test_lone_row_is_never_blocked_by_the_limits() -> None:
    assert queue(row("a", 90)).count_fitting(Limits(rows=1, tokens=20), n_running=0, widest=0) == 1


def test_removed_row_no_longer_waits() -> None:
    waiting = queue(row("a", 3), row("b", 4))
    assert waiting.remove("a")
    assert not waiting.remove("a")
    assert names(waiting) == ["b"]


@given(st.integers(-(2**70), 2**70))
def test_draws_repeat_for_a_seed_and_lie_in_the_unit_interval(seed: int) -> None:
    draws = list(islice(uniforms(seed), 70))
    assert draws == list(islice(uniforms(seed), 70))
    assert all(0 <= draw < 1 for draw in draws)
