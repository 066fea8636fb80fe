"""Copies of values are as pydantic makes them."""

import pickle

import pytest
from pydantic import BaseModel, ValidationError

from orchestrator.domain.answers import Usage
from orchestrator.domain.queries import Query


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
    copy = usage.model_copy(update={"completion_tokens": 2})
    assert (usage.completion_tokens, copy.prompt_tokens, copy.completion_tokens) == (0, 1, 2)
    assert usage.model_fields_set == {"prompt_tokens"}


def test_a_copy_is_frozen_and_can_be_copied_deeply_and_pickled() -> None:
    copy = Query(id="a", question="Why?").model_copy()
    with pytest.raises(ValidationError, match="frozen"):
        copy.question = "How?"
    assert pickle.loads(pickle.dumps(copy)) == copy == copy.model_copy(deep=True)
