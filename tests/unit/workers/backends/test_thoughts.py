"""Thoughts apart from what is said, by marks that are tokens, channels or texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.experts import ThoughtMarks
from workers.backends.thoughts import Said, Thoughts, known_marks, split_text

THINK = ThoughtMarks(open="<think>", close="</think>")
HARMONY = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>")
LETTERS = {ch: number for number, ch in enumerate("abcdefghijklmnopqrstuvwxyz \n.")}


class Tokenizer:
    """One token a letter, and the given ones; `special` ones vanish when they are decoded."""

    def __init__(self, *added: str, special: bool = True) -> None:
        self.added = {word: len(LETTERS) + number for number, word in enumerate(added)}
        self.special = special

    def thoughts(self, *, template: str | None = None, marks: ThoughtMarks | None = None) -> Thoughts:
        return Thoughts(
            self.added, template=template, marks=marks, decode=self.decode, decode_all=self.decode_all
        )

    def ids(self, *parts: str) -> list[int]:
        return [
            token
            for part in parts
            for token in ([self.added[part]] if part in self.added else [LETTERS[ch] for ch in part])
        ]

    def decode(self, ids: object, *, keep: bool = False) -> str:
        words = {number: word for word, number in (LETTERS | self.added).items()}
        shown = set(LETTERS) | (set(self.added) if keep or not self.special else set())
        assert isinstance(ids, list)
        return "".join(words[number] for number in ids if words[number] in shown)

    def decode_all(self, ids: object) -> str:
        return self.decode(ids, keep=True)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<think>", "</think>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<seed:think>", "</seed:think>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|think|>", "<|/think|>"),
        ("<|begin_of_reasoning|>", "<|end_of_reasoning|>"),
        ("<thought_start>", "<thought_end>"),
    ],
)
@pytest.mark.parametrize("special", [True, False])
def test_marks_are_known_from_the_added_tokens(opening: str, closing: str, special: bool) -> None:
    tokenizer = Tokenizer("<eos>", closing, opening, special=special)
    thoughts = tokenizer.thoughts()
    ids = tokenizer.ids(opening, "\nmust be a. ", closing, "\n\nit is b")
    assert thoughts.split(ids, begun=False) == Said("it is b", "must be a.")


def test_without_marks_all_is_said() -> None:
    tokenizer = Tokenizer("<eos>", "<|im_start|>", "<|im_end|>")
    thoughts = tokenizer.thoughts()
    assert not thoughts.are_marked
    assert thoughts.split(tokenizer.ids(" as it is\n"), begun=False) == Said(" as it is\n")


def test_a_thought_that_the_prompt_opened_is_one() -> None:
    tokenizer = Tokenizer("<think>", "</think>")
    thoughts = tokenizer.thoughts()
    assert thoughts.begun(tokenizer.ids("why", "<think>", "\n"))
    assert not thoughts.begun(tokenizer.ids("why", "<think>", "\n", "</think>", "\n"))
    assert not thoughts.begun(tokenizer.ids("why"))
    ids = tokenizer.ids("hm", "</think>", "a")
    assert thoughts.split(ids, begun=True) == thoughts.split(ids, begun=False) == Said("a", "hm")


def test_a_thought_without_an_end_leaves_nothing_said() -> None:
    tokenizer = Tokenizer("<think>", "</think>")
    assert tokenizer.thoughts().split(tokenizer.ids("hm"), begun=True) == Said("", "hm")
    assert tokenizer.thoughts().split(tokenizer.ids("<think>", "hm"), begun=False) == Said("", "hm")


def test_channels_are_thoughts_but_the_final_one() -> None:
    tokenizer = Tokenizer(*HARMONY)
    channel, message, start, end, over = HARMONY
    ids = tokenizer.ids(
        *(channel, "analysis", message, "is it a", end, start, "assistant"),
        *(channel, "final", message, "it is b", over),
    )
    assert tokenizer.thoughts().split(ids, begun=False) == Said("it is b", "is it a")
    assert tokenizer.thoughts().split(tokenizer.ids("it is b"), begun=False) == Said("it is b")
    cut = tokenizer.ids(channel, "analysis", message, "is it a")
    assert tokenizer.thoughts().split(cut, begun=False) == Said("", "is it a")


def test_a_template_may_name_marks_that_are_no_tokens() -> None:
    assert known_marks((), "{{ text.split('</think>')[-1] }}") == THINK
    assert known_marks((), "{{ text }}") is None
    assert known_marks((), None) is None


def test_marks_that_the_pool_names_go_first() -> None:
    tokenizer = Tokenizer("<think>", "</think>", "<|a|>", "<|b|>")
    thoughts = tokenizer.thoughts(marks=ThoughtMarks(open="<|a|>", close="<|b|>"))
    assert thoughts.split(tokenizer.ids("<|a|>", "x", "<|b|>", "y"), begun=False) == Said("y", "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>a</think>\n\nb", Said("b", "a")),
        ("\n<think>\na\n</think>b", Said("b", "a")),
        ("<think>a", Said("", "a")),
        ("b <think>a</think>", Said("b <think>a</think>")),
        ("a</think>b", Said("a</think>b")),
        ("<thi", Said("")),
        ("", Said("")),
        ("  ", Said("  ")),
    ],
)
def test_in_a_text_a_thought_comes_first(text: str, said: Said) -> None:
    assert split_text(text, THINK) == said


def test_a_lone_closing_mark_ends_a_thought_where_the_pool_says_so() -> None:
    assert split_text("a</think>b", THINK, lone_close=True) == Said("b", "a")
    assert split_text("no thought", THINK, lone_close=True) == Said("no thought")


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", "b c", "\n"]), max_size=12), st.booleans())
def test_nothing_that_was_said_or_thought_is_lost(parts: list[str], begun: bool) -> None:
    tokenizer = Tokenizer("<think>", "</think>")
    said = tokenizer.thoughts().split(tokenizer.ids(*parts), begun=begun)
    letters = "".join(part for part in parts if part not in tokenizer.added)
    assert sorted("".join((said.reasoning + said.text).split())) == sorted("".join(letters.split()))
