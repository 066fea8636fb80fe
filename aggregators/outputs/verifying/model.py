"""A verifier: the probability that a response is right, from the signs in its text, learnt from the profile.

Gradient-boosted trees (Friedman 2001; histograms as in LightGBM, Ke et al. 2017) over the signs of a text,
how long it is for its expert, and the expert's cross-fitted local accuracy on the question. Source of the
idea: Weaver, arXiv:2506.18203. Where we differ: one verifier that reads, instead of several models that
judge, and labels of the profile instead of weak supervision; docs/decisions/0015.

Shapes: E experts of the profile, N profile questions that the local model kept, F features.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from aggregators.outputs.verifying.signs import (
    MISSING,
    Candidates,
    Signs,
    candidates,
    chosen,
    cues,
    read_signs,
)
from aggregators.outputs.vote_model import logit
from orchestrator.domain.cards import LEAST_ACCURACY, MOST_ACCURACY, Profile, Transcript
from orchestrator.domain.queries import Query
from orchestrator.routing.parts.local import fit_local, folds
from orchestrator.runtime.garbage import no_cycle_collection

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Group = Literal["form", "consistency", "hedging", "cues"]
TEXT_SIGNS: tuple[Group, ...] = ("form", "consistency", "hedging")

Predict = Callable[[Floats], Floats]
"""Features [M, F] to probabilities of being right, [M]."""

SIZE = {"max_iter": 120, "learning_rate": 0.06, "max_leaf_nodes": 12, "min_samples_leaf": 40}
_L2 = 5.0


class StatedAnswer(NamedTuple):
    """One readable response: the answer it states, and what the router expects of its expert.

    Attributes:
        value: canonical answer.
        accuracy: of the expert on this query, in [0, 1], before its response was read.
    """

    expert_id: str
    value: str
    text: str
    accuracy: float


class Verifier:
    """
    Args:
        typical: each expert's usual `Form.length` and `Form.reasoning_length`, by id.
        groups: signs that are among the features.
    """

    def __init__(
        self, predict: Predict, typical: Mapping[str, tuple[float, float]], *, groups: Sequence[Group]
    ) -> None:
        self._predict = predict
        self._typical = typical
        self._groups = groups

    def evidence(self, query: Query, stated: Sequence[StatedAnswer]) -> list[float]:
        """Log-odds of being right that each text adds to its expert's accuracy; nats, rounded so that they do
        not depend on who else is read with them."""
        if not stated:
            return []
        rows = [
            _feature_row(signs, query, said, self._typical.get(said.expert_id), groups=self._groups)
            for said, signs in zip(stated, read_all(query, stated), strict=True)
        ]
        probability = self._predict(np.array(rows, dtype=np.float64))
        prior = np.array([said.accuracy for said in stated])
        return [round(float(value), 6) for value in added_log_odds(probability, prior)]


class Verified(NamedTuple):
    """A fitted verifier, and what it would have said of the profile's responses had it not seen their
    questions: [N, E], 0 for abstentions."""

    verifier: Verifier
    evidence: Floats


def added_log_odds(probability: Floats, accuracy: Floats) -> Floats:
    """logit(probability) − logit(accuracy), nats, both clipped to [0.02, 0.98]; 0.8 after 0.5 is log 4.

    Args:
        probability, accuracy: in [0, 1], of one shape, which is the result's; not modified.
    """
    p = np.clip(probability, LEAST_ACCURACY, MOST_ACCURACY)
    prior = np.clip(accuracy, LEAST_ACCURACY, MOST_ACCURACY)
    return np.asarray(np.log(p / (1 - p)) - np.log(prior / (1 - prior)))


def _feature_row(
    signs: Signs,
    query: Query,
    said: StatedAnswer,
    typical: tuple[float, float] | None,
    *,
    groups: Sequence[Group],
) -> tuple[float, ...]:
    """F numbers; NaN where there is nothing to say, as of the usual length of an expert without a profile."""
    usual_length, usual_reasoning = typical or (MISSING, MISSING)
    relative = (signs.form.length - usual_length, signs.form.reasoning_length - usual_reasoning)
    found: dict[Group, tuple[float, ...]] = {
        "form": (*signs.form, *relative),
        "consistency": signs.consistency,
        "hedging": signs.hedging,
        "cues": cues(query, said.value) if "cues" in groups else (),
    }
    return (logit(said.accuracy), *chain.from_iterable(found[group] for group in groups))


@no_cycle_collection()
def fit_verifier(profile: Profile, *, groups: Sequence[Group] = TEXT_SIGNS, seed: int = 0) -> Verified | None:
    """Learn from the texts of a profile; None = it has none, or all or none of them are right.

    The evidence is cross-fitted (five folds of questions), as are the accuracies behind it: evidence that a
    model gives on its own training questions is too good, and a vote that learns to trust it collapses.
    About 20 s for 2,000 questions and 28 experts, two thirds of it reading.

    Args:
        groups: signs that are among the features.
        seed: of the trees; equal arguments, equal verifier.
    """
    transcript = profile.transcript
    if transcript is None or not transcript.texts:
        return None
    local = fit_local(profile)
    accuracy = np.clip(local.crossfitted, LEAST_ACCURACY, MOST_ACCURACY)
    readings = _read_profile(profile, transcript, local.questions.tolist(), accuracy)
    if not readings:
        return None
    typical = _typical(readings)
    table = _table(readings, typical, groups=groups)
    if table.right.all() or not table.right.any():
        return None
    probability = accuracy.copy()
    experts = [reading.expert for reading in readings]
    probability[table.question, experts] = _crossfit(table, len(accuracy), seed=seed)
    verifier = Verifier(_fit(table, seed=seed), typical, groups=groups)
    return Verified(verifier, added_log_odds(probability, accuracy))


# ── reading the profile ───────────────────────────────────────────────────────────────────────────


class _Reading(NamedTuple):
    """A readable response of the profile: its column and row there, and what it shows."""

    question: int
    expert: int
    query: Query
    said: StatedAnswer
    signs: Signs
    right: bool


class _Table(NamedTuple):
    """Readings as numbers: features [M, F], right [M], question [M]."""

    features: Floats
    right: Bools
    question: npt.NDArray[np.int64]

    def of(self, rows: Bools) -> "_Table":
        return _Table(self.features[rows], self.right[rows], self.question[rows])


def _read_profile(
    profile: Profile, transcript: Transcript, questions: Sequence[int], accuracy: Floats
) -> list[_Reading]:
    """Every readable response; questions are numbered as in `questions`."""
    right = profile.right
    readings = []
    for place, question in enumerate(questions):
        query, expected = transcript.queries[question], accuracy[place].tolist()
        said = [(row, values[question]) for row, values in enumerate(transcript.values)]
        stated = {
            row: StatedAnswer(profile.expert_ids[row], value, transcript.texts[row][question], expected[row])
            for row, value in said
            if value is not None
        }
        for (row, one), signs in zip(stated.items(), read_all(query, [*stated.values()]), strict=True):
            readings.append(_Reading(place, row, query, one, signs, bool(right[row, question])))
    return readings


def read_all(query: Query, stated: Sequence[StatedAnswer]) -> list[Signs]:
    """Signs of each response to one query, in order."""
    prepared: dict[str, Candidates] = {}
    found = []
    for said in stated:
        key = "" if query.options else said.value
        if key not in prepared:
            prepared[key] = candidates(query, said.value)
        found.append(read_signs(prepared[key], chosen(query, said.value), said.text))
    return found


def _typical(readings: Sequence[_Reading]) -> dict[str, tuple[float, float]]:
    """Median lengths by expert id, of those who answered anything."""
    lengths: dict[str, list[tuple[float, float]]] = {}
    for reading in readings:
        form = reading.signs.form
        lengths.setdefault(reading.said.expert_id, []).append((form.length, form.reasoning_length))
    medians = {expert_id: np.median(pairs, axis=0).tolist() for expert_id, pairs in lengths.items()}
    return {expert_id: (length, reasoning) for expert_id, (length, reasoning) in medians.items()}


def _table(
    readings: Sequence[_Reading], typical: Mapping[str, tuple[float, float]], *, groups: Sequence[Group]
) -> _Table:
    rows = [
        _feature_row(r.signs, r.query, r.said, typical.get(r.said.expert_id), groups=groups) for r in readings
    ]
    return _Table(
        features=np.array(rows, dtype=np.float64),
        right=np.array([r.right for r in readings]),
        question=np.array([r.question for r in readings], dtype=np.int64),
    )


# ── fitting ───────────────────────────────────────────────────────────────────────────────────────


def _crossfit(table: _Table, n_questions: int, *, seed: int) -> Floats:
    """Probabilities [M] by models that did not see the question.

    The folds are those of the local model's accuracies: under others, an accuracy would tell which questions
    it was fitted without, and with that something of their outcomes.
    """
    probability = np.full(len(table.right), math.nan)
    for inside, left_out in folds(n_questions, seed=0):
        learning, unseen = np.isin(table.question, inside), np.isin(table.question, left_out)
        predict = _fit(table.of(learning), seed=seed)
        probability[unseen] = predict(table.features[unseen])
    return probability


def _fit(table: _Table, *, seed: int) -> Predict:
    from sklearn.ensemble import HistGradientBoostingClassifier  # a second of import, for those that fit

    if table.right.all() or not table.right.any():
        return _Constant(float(table.right.mean()))
    # As in `one_thread`, but looked for once, and the trees' own threads only: predictions run side by side.
    pools = ThreadpoolController().select(user_api="openmp")
    model = HistGradientBoostingClassifier(
        **SIZE, l2_regularization=_L2, early_stopping=False, random_state=seed
    )
    silent = np.isnan(table.features).all(axis=0)  # scikit-learn cannot bin a feature that nobody has

    def predict(features: Floats) -> Floats:
        with pools.limit(limits=1):
            return np.asarray(model.predict_proba(np.where(silent, 0.0, features))[:, 1], dtype=np.float64)

    with pools.limit(limits=1):
        model.fit(np.where(silent, 0.0, table.features), table.right)
    return predict


class _Constant:
    """Of a fold whose responses were all right, or all wrong."""

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def __call__(self, features: Floats) -> Floats:
        return np.full(len(features), self._probability)
