"""Copies of values are as pydantic makes them."""

import copy
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from orchestrator.domain.answers import Usage
from orchestrator.domain.queries import Query
from orchestrator.domain.values import Value


def test_a_copy_is_pydantics() -> None:
    query = Query(id="a", question="Why?")
    ours = query.model_copy(update={"question": "How?"})
    theirs = BaseModel.model_copy(query, update={"question": "How?"})
    assert ours == theirs
    assert ours.model_fields_set == theirs.model_fields_set
    assert ours.model_dump_json(exclude_unset=True) == theirs.model_dump_json(exclude_unset=True)
    assert (hash(ours), repr(ours)) == (hash(theirs), repr(theirs))


def test_a_copy_leaves_the_value_as_it_was() -> None:
    usage = Usage(prompt_tokens=1)
    changed = usage.model_copy(update={"completion_tokens": 2})
    assert (usage.completion_tokens, changed.prompt_tokens, changed.completion_tokens) == (0, 1, 2)
    assert usage.model_fields_set == {"prompt_tokens"}


def test_a_copy_is_frozen_and_can_be_copied_deeply() -> None:
    query = Query(id="a", question="Why?").model_copy()
    with pytest.raises(ValidationError, match="frozen"):
        query.question = "How?"
    assert copy.deepcopy(query) == query == query.model_copy(deep=True)


def kinds_of(kind: type[Value]) -> Iterator[type[Value]]:
    for below in kind.__subclasses__():
        yield below
        yield from kinds_of(below)


def test_no_value_has_what_a_copy_would_leave_out() -> None:
    kinds = list(kinds_of(Value))
    assert len(kinds) > 20
    assert [k for k in kinds if k.__private_attributes__ or k.model_config["extra"] != "forbid"] == []
