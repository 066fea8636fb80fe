from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.assignments import NO_EXPERT, Job
from orchestrator.domain.requests import AskOptions
from orchestrator.domain.terms import Shape, StructuredOutput, Terms

JOB = Job(id="j", composition="auto", seed=7, temperature=0.5, max_tokens=9)


def test_zero_is_said_and_nothing_is_not() -> None:
    assert Terms(seed=0, temperature=0.0, stop=(), trace=False).said == {"seed": 0, "temperature": 0.0}


def test_a_query_without_terms_is_answered_on_its_jobs() -> None:
    assert JOB.under(None) is JOB
    assert JOB.under(Terms()) is JOB


def test_what_a_query_says_goes_before_what_its_job_says() -> None:
    own = JOB.under(Terms(temperature=0.0, stop=("x",)))
    assert (own.temperature, own.stop, own.seed, own.max_tokens) == (0.0, ("x",), 7, 9)


def test_a_composition_is_chosen_by_the_shape_alone() -> None:
    terms = Terms(composition="expert:a", k=2, seed=1, temperature=0.0)
    assert terms.shape == Shape("expert:a", None, 2)
    shaped = JOB.shaped(terms)
    assert (shaped.composition, shaped.k, shaped.seed, shaped.temperature) == ("expert:a", 2, 7, 0.5)
    assert JOB.shaped(Terms(seed=1)) is JOB


def test_options_of_a_request_are_terms() -> None:
    form = StructuredOutput(json_schema={"type": "object"})
    assert AskOptions(model="auto", structured_output=form, seed=0).said == {
        "structured_output": form,
        "seed": 0,
    }


def test_jobs_that_were_stored_before_there_were_terms_are_read() -> None:
    text = '{"id":"j","composition":"auto","seed":3,"experts":["a"],"max_tokens":5,"trace":true}'
    job = Job.model_validate_json(text)
    assert (job.seed, job.experts, job.max_tokens, job.trace) == (3, ("a",), 5, True)


@pytest.mark.parametrize(
    ("job", "query", "left"),
    [
        ((), (), ("a", "b")),
        (("b", "c"), (), ("b",)),
        ((), ("c", "a"), ("a",)),
        (("b",), ("a", "c"), ("a",)),
        ((), ("c",), NO_EXPERT),
        (("c",), (), NO_EXPERT),
    ],
)
def test_no_terms_ask_for_somebody_whom_the_key_may_not_ask(
    job: tuple[str, ...], query: tuple[str, ...], left: tuple[str, ...]
) -> None:
    allowed = Job(id="j", composition="any", experts=job, allowed=("a", "b"))
    assert allowed.under(Terms(experts=query)).experts == left
    assert allowed.under(None).experts == allowed.under(Terms()).experts


@given(
    given=st.fixed_dictionaries(
        {},
        optional={
            "k": st.none() | st.integers(1, 9),
            "seed": st.none() | st.integers(0, 9),
            "stop": st.lists(st.text(max_size=3), max_size=2).map(tuple),
            "trace": st.booleans(),
            "experts": st.just(()) | st.just(("a",)),
        },
    ),
    later=st.fixed_dictionaries({}, optional={"k": st.none() | st.integers(1, 9), "raw": st.booleans()}),
)
def test_what_is_said_is_what_is_not_as_it_is_by_itself(given: dict[str, Any], later: dict[str, Any]) -> None:
    """However the terms were made: by fields, as a copy, or read from JSON."""
    terms = Terms(**given).model_copy(update=later)
    nothing = Terms()
    differs = {
        name: getattr(terms, name)
        for name in Terms.model_fields
        if getattr(terms, name) != getattr(nothing, name)
    }
    assert terms.said == differs
    assert Terms.model_validate_json(terms.model_dump_json()).said == differs
    assert AskOptions(model="auto", **terms.said).said == differs
