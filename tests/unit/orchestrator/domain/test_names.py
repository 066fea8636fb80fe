import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.names import composition_of, model_name, model_names, name_fault, short_name
from orchestrator.errors import UnknownNameError

COMPOSITIONS = ("auto", "knn", "org/mix")
EXPERTS = ("alpha", "org/beta", "expert:odd")


def resolved(model: str) -> str:
    return composition_of(model, compositions=COMPOSITIONS, experts=EXPERTS)


@pytest.mark.parametrize(
    ("model", "composition"),
    [
        ("auto", "auto"),
        ("muster/auto", "auto"),
        ("muster/knn", "knn"),
        ("knn", "knn"),
        ("muster/org/mix", "org/mix"),
        ("alpha", "expert:alpha"),
        ("org/beta", "expert:org/beta"),
        ("expert:odd", "expert:expert:odd"),
    ],
)
def test_a_model_names_one_composition(model: str, composition: str) -> None:
    assert resolved(model) == composition


def test_a_fusion_may_be_named_as_a_composition_is() -> None:
    names = {"compositions": COMPOSITIONS, "experts": EXPERTS, "fusions": frozenset({"org/beta"})}
    assert composition_of("muster/org/beta", **names) == "expert:org/beta"
    assert composition_of("org/beta", **names) == "expert:org/beta"
    with pytest.raises(UnknownNameError):
        composition_of("muster/alpha", **names)


@pytest.mark.parametrize(
    "model",
    [
        "expert:alpha",
        "expert:org/beta",
        "expert:expert:odd",
        "muster/expert:alpha",
        "muster/alpha",
        "route:auto",
        "route:expert:alpha",
        "muster/muster/auto",
        "roll_call",
        "",
    ],
)
def test_names_that_stand_on_the_books_only_are_nobodys_model(model: str) -> None:
    with pytest.raises(UnknownNameError) as refused:
        resolved(model)
    listed = str(refused.value).partition("Valid: ")[2].removesuffix(".").split(", ")
    assert sorted(listed) == ["alpha", "auto", "expert:odd", "muster/knn", "muster/org/mix", "org/beta"]


@pytest.mark.parametrize(
    ("composition", "model"), [("auto", "auto"), ("knn", "muster/knn"), ("expert:org/a", "org/a")]
)
def test_compositions_have_the_names_of_the_rest_api(composition: str, model: str) -> None:
    assert model_name(composition) == model


def test_every_name_there_is_is_listed_once_auto_first() -> None:
    names = model_names(COMPOSITIONS, EXPERTS)
    assert names == ("auto", "muster/knn", "muster/org/mix", "alpha", "org/beta", "expert:odd")


@given(st.sampled_from(model_names(COMPOSITIONS, EXPERTS)))
def test_a_listed_name_comes_back_from_its_composition(model: str) -> None:
    assert model_name(resolved(model)) == model


@pytest.mark.parametrize("model", ["auto", "knn", "org/mix", "alpha", "org/beta", "expert:odd"])
def test_short_names_name_the_same_composition_again(model: str) -> None:
    assert short_name(resolved(model)) == model


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("my own", "blanks"),
        ("new\nline", "blanks"),
        ("a\x00b", "(U+0000)"),
        ("\u202egpj.exe", "(U+202E)"),
        ("zero\u200bwidth", "(U+200B)"),
        ("-rf", "option"),
        ("..", "dots"),
        ("org/./beta", "dots"),
        ("/abs", "empty part"),
        ("a//b", "empty part"),
    ],
)
def test_a_name_that_nothing_could_say_is_a_fault_that_is_told(name: str, part: str) -> None:
    assert part in str(name_fault(name))


@pytest.mark.parametrize(
    "name", ["org/beta", "Qwen2.5-7B", "é😀", "<b>", "a?b#c", "v1..2", "модель", "compare"]
)
def test_a_name_that_can_be_written_and_read_is_none(name: str) -> None:
    assert name_fault(name) is None
