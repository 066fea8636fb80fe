"""A label model: how far verifiers are to be trusted, from where they agree, without labels.

Source: Weaver, arXiv:2506.18203; objectives over several scores: arXiv:2310.02743.

Shapes: I items (an answer of a query each), V verifiers.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Objective = Literal["mean", "wco", "uwo"]

LEAST_YES, MOST_YES = 0.1, 0.9
"""A verifier that says yes more rarely or more often tells nothing, and is dropped."""

LEAST_TRUST, MOST_TRUST = 0.01, 0.99
"""Range of a verifier's reliability a = E[v·y] = 2·accuracy − 1."""

LEAST_VERIFIERS = 3
"""Fewer tell nothing by their agreement: they count alike."""

EM_STEPS, EM_ENOUGH = 100, 1e-8


# ── scores ───────────────────────────────────────────────────────────────────────────────────────


def min_max(scores: Floats) -> Floats:
    """Each verifier's scores scaled to [0, 1] over the batch; 0.5 where it gave one score to all.

    Args:
        scores: [I, V]; nan = not given, and stays so. Not modified.
    """
    given = ~np.isnan(scores)
    low = np.min(np.where(given, scores, np.inf), axis=0, initial=np.inf)
    high = np.max(np.where(given, scores, -np.inf), axis=0, initial=-np.inf)
    spread = np.where(high > low, high - low, 1.0)
    scaled = np.where(high > low, (scores - np.where(np.isfinite(low), low, 0.0)) / spread, 0.5)
    return np.where(given, scaled, np.nan)


def binarised(scaled: Floats, threshold: float) -> Floats:
    """Votes [I, V]: 1 = yes, −1 = no, 0 = none.

    Args:
        scaled: [I, V], in [0, 1]; nan = not given. Not modified.
        threshold: in [0, 1]; a score of it or more is a yes.
    """
    return np.where(np.isnan(scaled), 0.0, np.where(np.nan_to_num(scaled) >= threshold, 1.0, -1.0))


def informative(votes: Floats) -> Bools:
    """The verifiers that say yes to between 10 % and 90 % of what they voted on; bool [V].

    Args:
        votes: [I, V] of 1, −1, 0 = none.
    """
    n = np.abs(votes).sum(axis=0)
    yes = (votes > 0).sum(axis=0) / np.maximum(n, 1)
    return np.asarray((n > 0) & (yes >= LEAST_YES) & (yes <= MOST_YES))


def objective(scaled: Sequence[float], kind: Objective, *, penalty: float = 0.5) -> float:
    """One score of several in [0, 1]: `mean`; `wco`, their minimum; `uwo`, mean − penalty · variance.

    Source: arXiv:2310.02743. `([.2, .6], "uwo")` -> .4 − .5·.04 = .38.

    Args:
        scaled: at least one score, in [0, 1].
        penalty: lambda of `uwo`, >= 0.
    """
    scores = np.asarray(scaled, dtype=np.float64)
    if kind == "wco":
        return float(scores.min())
    return float(scores.mean()) - (penalty * float(scores.var()) if kind == "uwo" else 0.0)


# ── trust, from agreement alone ──────────────────────────────────────────────────────────────────


def agreement(votes: Floats) -> Floats:
    """Moments M [V, V], in [−1, 1]: mean of v_i·v_j over the items that both voted on; nan without any.

    Args:
        votes: [I, V] of 1, −1, 0 = none.
    """
    both = np.abs(votes).T @ np.abs(votes)
    return np.where(both > 0, (votes.T @ votes) / np.maximum(both, 1), np.nan)


def reliabilities(moments: npt.ArrayLike) -> list[float]:
    """a_i = E[v_i·y] of each verifier, in [.01, .99], from E[v_i·v_j] = a_i·a_j.

    a_i² = M_ij·M_ik / M_jk, median over all triples; the sign is taken to be +: better than chance.

    M12 .48, M13 .32, M23 .24 -> .8, .6, .4.

    Args:
        moments: [V, V], V >= 3; the diagonal is not read.
    """
    m = np.asarray(moments, dtype=np.float64)
    return [_reliability(m, i) for i in range(len(m))]


def _reliability(m: Floats, i: int) -> float:
    others = [j for j in range(len(m)) if j != i]
    squares = [
        m[i, j] * m[i, k] / m[j, k]
        for place, j in enumerate(others)
        for k in others[place + 1 :]
        if m[j, k] and np.isfinite([m[i, j], m[i, k], m[j, k]]).all()
    ]
    square = float(np.median(squares)) if squares else 0.0
    return float(np.clip(np.sqrt(max(square, 0.0)), LEAST_TRUST, MOST_TRUST))


def posterior(votes: Sequence[float], trust: Sequence[float], balance: float) -> float:
    """Probability that an item is right, by naive Bayes.

    logit = logit(balance) + Σ v_i·log((1 + a_i) / (1 − a_i)).

    Args:
        votes: 1, −1, or 0 for none.
        trust: a_i of each verifier, in (−1, 1).
        balance: share of items that are right, in (0, 1).
    """
    evidence = sum(v * np.log((1 + a) / (1 - a)) for v, a in zip(votes, trust, strict=True))
    return float(1 / (1 + np.exp(-(np.log(balance / (1 - balance)) + evidence))))


def dawid_skene(votes: Floats, balance: float) -> Floats:
    """Probability that each item is right, [I], by EM over how each verifier votes on right and wrong ones.

    Started at the majority; the class balance is known and kept; one pseudo-observation of each kind keeps
    rates inside (0, 1). Source: Dawid and Skene 1979, as in Weaver.

    Args:
        votes: [I, V] of 1, −1, 0 = none. Not modified.
        balance: share of items that are right, in (0, 1).
    """
    said = np.abs(votes)
    n = said.sum(axis=1)
    right = np.where(n > 0, 0.5 + votes.sum(axis=1) / np.maximum(2 * n, 1), balance)
    prior = np.log(balance / (1 - balance))
    yes, no = votes > 0, votes < 0
    for _ in range(EM_STEPS):
        of_right = (right @ yes + 1) / (right @ said + 2)
        of_wrong = ((1 - right) @ yes + 1) / ((1 - right) @ said + 2)
        evidence = yes @ np.log(of_right / of_wrong) + no @ np.log((1 - of_right) / (1 - of_wrong))
        new = 1 / (1 + np.exp(-(prior + evidence)))
        if np.abs(new - right).max(initial=0.0) < EM_ENOUGH:
            return np.asarray(new)
        right = new
    return np.asarray(right)
