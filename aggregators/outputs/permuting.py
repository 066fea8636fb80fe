"""A multiple-choice question with its options in another order, and answers mapped back.

A permutation p shows option p[i] of the question in place i. Source: Medprompt, arXiv:2311.16452.
"""

import itertools
import math
import random
from collections.abc import Sequence

from aggregators.outputs.votes import Ballot, read_ballots
from orchestrator.domain.assignments import QueryState, Response
from orchestrator.domain.queries import LETTERS, Query
from orchestrator.ports.skills import Grader

Permutation = tuple[int, ...]

_FEW = 5
"""Options up to which all permutations are listed."""


def drawn(n_options: int, k: int, rng: random.Random) -> list[Permutation]:
    """Up to k different permutations, none of which leaves all options in their places.

    Of two options there is but one.

    Args:
        n_options: >= 2.
        k: >= 1.
        rng: equal states, equal draws.
    """
    identity = tuple(range(n_options))
    if n_options <= _FEW:
        others = [p for p in itertools.permutations(identity) if p != identity]
        rng.shuffle(others)
        return others[:k]
    found: dict[Permutation, None] = {}
    while len(found) < min(k, math.factorial(n_options) - 1):
        shuffled = list(identity)
        rng.shuffle(shuffled)
        if tuple(shuffled) != identity:
            found[tuple(shuffled)] = None
    return list(found)


def permuted(query: Query, order: Permutation) -> Query:
    """The question with its options in that order, without its reference answer."""
    return query.replaced(options=tuple(query.options[i] for i in order), answer=None)


def mapped_back(letter: str, order: Permutation) -> str | None:
    """The letter of the question's own option; None = there is no such place. `("A", (2, 0, 1))` -> C.

    Args:
        letter: as the permuted question has it, in either case.
    """
    place = LETTERS.find(letter.upper()) if len(letter) == 1 else -1
    return LETTERS[order[place]] if 0 <= place < len(order) else None


def read_permuted(
    grader: Grader, state: QueryState, replies: Sequence[tuple[Response, Permutation]]
) -> list[Ballot]:
    """Ballots of replies to permuted questions, with the question's own letters."""
    found = []
    for reply, order in replies:
        shown = state.model_copy(update={"query": permuted(state.query, order)})
        [ballot] = read_ballots(grader, shown, [reply])
        value = None if ballot.value is None else mapped_back(ballot.value, order)
        found.append(ballot._replace(value=value))
    return found


def spelled(letter: str) -> str:
    """An answer in words, where no response says it in the question's own letters."""
    return f"The answer is ({letter})."
