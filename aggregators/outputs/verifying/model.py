"""A verifier: the probability that a response is right, from the signs in its text, learnt from the profile.

Gradient-boosted trees (Friedman 2001; histograms as in LightGBM, Ke et al. 2017) over the signs of a text, how
long it is for its expert, and the expert's cross-fitted local accuracy on the question. Source of the idea:
Weaver, arXiv:2506.18203. Where we differ: one verifier that reads, instead of several models that judge, and
labels of the profile instead of weak supervision; docs/decisions/0015.

Shapes: E experts of the profile, N profile questions that the local model kept, F features.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregators.outputs.verifying.signs import (
    MISSING,
    Candidates,
    Signs,
    candidates,
    chosen,
    cues,
    read_signs,
)
from aggregators.outputs.vote_model import LEAST_ACCURACY, MOST_ACCURACY, logit
from orchestrator.domain.cards import RIGHT, Profile, Transcript
from orchestrator.domain.queries import Query
from orchestrator.routing.local import fit_local, folds

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Predict = Callable[[Floats], Floats]
"""Features [M, F] to probabilities of being right, [M]."""

SIZE = {"max_iter": 120, "learning_rate": 0.06, "max_leaf_nodes": 12, "min_samples_leaf": 40}
_L2 = 5.0


class Claim(NamedTuple):
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
        with_cues: whether test-taking cues are among the features; for ablations.
    """

    def __init__(
        self, predict: Predict, typical: Mapping[str, tuple[float, float]], *, with_cues: bool
    ) -> None:
        self._predict = predict
        self._typical = typical
        self._with_cues = with_cues

    def evidence(self, query: Query, claims: Sequence[Claim]) -> list[float]:
        """Log-odds of being right that each text adds to its expert's accuracy; nats, rounded so that they do
        not depend on who else is read with them."""
        if not claims:
            return []
        rows = [
            feature_row(signs, query, claim, self._typical.get(claim.expert_id), with_cues=self._with_cues)
            for claim, signs in zip(claims, _read_all(query, claims), strict=True)
        ]
        probability = self._predict(np.array(rows, dtype=np.float64))
        prior = np.array([claim.accuracy for claim in claims])
        return [round(float(value), 6) for value in added_log_odds(probability, prior)]


class Verified(NamedTuple):
    """A fitted verifier, and what it would have said of the profile's responses had it not seen their
    questions: [N, E], 0 for abstentions."""

    verifier: Verifier
    evidence: Floats


def added_log_odds(probability: Floats, accuracy: Floats) -> Floats:
    """logit(probability) − logit(accuracy), both clipped to [0.02, 0.98]; 0.8 after 0.5 is log 4."""
    p = np.clip(probability, LEAST_ACCURACY, MOST_ACCURACY)
    prior = np.clip(accuracy, LEAST_ACCURACY, MOST_ACCURACY)
    return np.asarray(np.log(p / (1 - p)) - np.log(prior / (1 - prior)))


def feature_row(
    signs: Signs, query: Query, claim: Claim, typical: tuple[float, float] | None, *, with_cues: bool
) -> tuple[float, ...]:
    """F numbers, NaN where there is nothing to say: an expert that was not in the profile has no usual length."""
    usual_length, usual_reasoning = typical or (MISSING, MISSING)
    relative = (signs.form.length - usual_length, signs.form.reasoning_length - usual_reasoning)
    extra = cues(query, claim.value) if with_cues else ()
    return (*signs.row, *relative, logit(claim.accuracy), *extra)


def fit_verifier(profile: Profile, *, with_cues: bool = False, seed: int = 0) -> Verified | None:
    """Learn from the texts of a profile; None = it has none, or all or none of them are right.

    The evidence is cross-fitted (five folds of questions), as are the accuracies behind it: evidence that a
    model gives on its own training questions is too good, and a vote that learns to trust it collapses.
    About 20 s for 2,000 questions and 28 experts, two thirds of it reading.
    """
    transcript = profile.transcript
    if transcript is None or not transcript.texts:
        return None
    local = fit_local(profile)
    questions = local.questions.tolist()
    answered = _answered(transcript, questions)
    right = (profile.outcomes[:, local.questions] == RIGHT).T
    if not answered.any() or right[answered].all() or not right[answered].any():
        return None
    accuracy = np.clip(local.crossfitted, LEAST_ACCURACY, MOST_ACCURACY)
    signs = _read_profile(transcript, questions)
    typical = _typical(profile.expert_ids, answered, signs)
    rows = _feature_rows(profile.expert_ids, transcript, questions, accuracy, signs, typical, with_cues)
    table = _Table(np.array(rows, dtype=np.float64), right[answered], np.nonzero(answered)[0])
    probability = accuracy.copy()
    probability[answered] = _crossfit(table, len(questions), seed=seed)
    verifier = Verifier(_fit(table, seed=seed), typical, with_cues=with_cues)
    return Verified(verifier, added_log_odds(probability, accuracy))


# ── reading the profile ───────────────────────────────────────────────────────────────────────────


class _Table(NamedTuple):
    """Readable responses, question by question: features [M, F], right [M], question [M]."""

    features: Floats
    right: Bools
    question: npt.NDArray[np.int64]

    def of(self, rows: Bools) -> "_Table":
        return _Table(self.features[rows], self.right[rows], self.question[rows])


def _answered(transcript: Transcript, questions: Sequence[int]) -> Bools:
    """[N, E]"""
    return np.array([[values[q] is not None for values in transcript.values] for q in questions])


def _claims(
    expert_ids: Sequence[str], transcript: Transcript, question: int, accuracy: Sequence[float]
) -> Iterator[Claim]:
    for row, expert_id in enumerate(expert_ids):
        value = transcript.values[row][question]
        if value is not None:
            yield Claim(expert_id, value, transcript.texts[row][question], accuracy[row])


def _read_all(query: Query, claims: Sequence[Claim]) -> list[Signs]:
    prepared: dict[str, Candidates] = {}
    found = []
    for claim in claims:
        key = "" if query.options else claim.value
        if key not in prepared:
            prepared[key] = candidates(query, claim.value)
        found.append(read_signs(prepared[key], chosen(query, claim.value), claim.text))
    return found


def _read_profile(transcript: Transcript, questions: Sequence[int]) -> list[Signs]:
    """Signs of every readable response, question by question."""
    everyone = [""] * len(transcript.values)
    certain = [1.0] * len(everyone)  # reading does not look at the accuracy
    return [
        signs
        for question in questions
        for signs in _read_all(
            transcript.queries[question], list(_claims(everyone, transcript, question, certain))
        )
    ]


def _typical(
    expert_ids: Sequence[str], answered: Bools, signs: Sequence[Signs]
) -> dict[str, tuple[float, float]]:
    """Median lengths of those who answered anything."""
    experts = np.nonzero(answered)[1]
    lengths = np.array([(s.form.length, s.form.reasoning_length) for s in signs])
    medians = {row: np.median(lengths[experts == row], axis=0) for row in np.unique(experts).tolist()}
    return {expert_ids[row]: (float(a), float(b)) for row, (a, b) in medians.items()}


def _feature_rows(
    expert_ids: Sequence[str],
    transcript: Transcript,
    questions: Sequence[int],
    accuracy: Floats,
    signs: Sequence[Signs],
    typical: Mapping[str, tuple[float, float]],
    with_cues: bool,
) -> list[tuple[float, ...]]:
    read = iter(signs)
    return [
        feature_row(
            next(read), transcript.queries[question], claim, typical.get(claim.expert_id), with_cues=with_cues
        )
        for place, question in enumerate(questions)
        for claim in _claims(expert_ids, transcript, question, accuracy[place].tolist())
    ]


# ── fitting ───────────────────────────────────────────────────────────────────────────────────────


def _crossfit(table: _Table, n_questions: int, *, seed: int) -> Floats:
    """Probabilities [M] by models that did not see the question."""
    probability = np.full(len(table.right), math.nan)
    for inside, left_out in folds(n_questions, seed=seed + 2):
        learning, unseen = np.isin(table.question, inside), np.isin(table.question, left_out)
        predict = _fit(table.of(learning), seed=seed)
        probability[unseen] = predict(table.features[unseen])
    return probability


def _fit(table: _Table, *, seed: int) -> Predict:
    from sklearn.ensemble import HistGradientBoostingClassifier  # a second of import, for those that fit

    if table.right.all() or not table.right.any():
        return _Constant(float(table.right.mean()))
    model = HistGradientBoostingClassifier(
        **SIZE, l2_regularization=_L2, early_stopping=False, random_state=seed
    )
    model.fit(table.features, table.right)
    return lambda features: np.asarray(model.predict_proba(features)[:, 1], dtype=np.float64)


class _Constant:
    """Of a fold whose responses were all right, or all wrong."""

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def __call__(self, features: Floats) -> Floats:
        return np.full(len(features), self._probability)
