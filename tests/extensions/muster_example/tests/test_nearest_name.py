import random

import numpy as np
import pytest

from orchestrator.domain.queries import Query
from orchestrator.errors import ConfigError
from orchestrator.ports.composing import RoutingInput
from orchestrator.routing import RouterContext, make_router

POOL = RouterContext(cards={}, profile=None, expert_ids=("algebra", "poetry"))


def test_the_expert_that_the_question_names_is_recruited() -> None:
    question = RoutingInput(Query(id="q", question="Write some Poetry"), (), np.zeros(2, np.float32))
    [decision] = make_router("nearest_name", POOL).recruit([question], rng=random.Random(0))
    assert decision.expert_ids == ("poetry",)
    assert decision.recruits[0].score == 1.0


def test_unknown_options_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"router 'nearest_name' has no option 'n'.*Valid: k"):
        make_router("nearest_name", POOL, {"n": 2})
