from hypothesis import given
from hypothesis import strategies as st

from workers.backends.stop_strings import cut_at_stop, held_back

WORDS = st.lists(st.text("ab", min_size=1, max_size=3), max_size=3)


def test_earliest_of_several_stop_strings_cuts() -> None:
    assert cut_at_stop("one two three", ("three", "two")) == ("one ", True)


def test_text_without_stop_string_is_whole() -> None:
    assert cut_at_stop("one two", ("four", "")) == ("one two", False)


def test_beginning_of_a_stop_string_and_half_a_character_are_held_back() -> None:
    assert held_back("answer EN", ("END",)) == "answer "
    assert held_back("caf\ufffd", ()) == "caf"
    assert held_back("a", ("END",)) == ""


@given(st.text("ab", max_size=12), st.text("ab", max_size=4), WORDS)
def test_what_was_shown_is_never_taken_back(text: str, more: str, stop: list[str]) -> None:
    """Text is watched at every token, so no stop string is in it yet; `more` is what the next token adds."""
    if not cut_at_stop(text, stop).stopped:
        assert cut_at_stop(text + more, stop).text.startswith(held_back(text, stop))
