"""Learning what votes are worth from what the pool said on the profile questions.

A conditional logit (McFadden 1974); methods 3.3 and docs/decisions/0012.
Trained on many random parts of the pool per question (expert dropout), so that any few experts may vote;
accuracies are cross-fitted, as those of new queries are. The confidence is calibrated on questions that a
fold's model did not see, over the votes of the first one to six experts, which covers any stopping rule.

Shapes: E experts of the profile, N questions, I instances (a question and some of its experts), G answers to
the question with most of them, V votes of all instances.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregators.outputs.vote_lesson import N_CONSIDERED, Lesson, learn_manners
from aggregators.outputs.vote_model import (
    Calibration,
    NoneWeights,
    SignWeights,
    VoteModel,
    VoteWeights,
    calibration_features,
    log_unseen,
)
from orchestrator.domain.cards import Profile
from orchestrator.routing.parts.local import fit_local, folds
from orchestrator.runtime.threads import one_thread

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_QUESTIONS = 50
N_PARTS = 8
DROPOUT = 0.4
MOST_VOTES = 8


class Penalties(NamedTuple):
    """Ridge penalties, in questions; results hardly depend on them (docs/results/constants.md).

    Attributes:
        common: of what all experts share, in the order of `VoteWeights`.
        per_expert: of each expert's bias, slope and length.
        none: of each weight in `NoneWeights`.
        signs: of each weight of a text's sign.
        calibration: of each number in `Calibration`.
    """

    common: tuple[float, ...] = (1e-3, 1e-3, 0.3, 0.3, 0.3, 1e-2, 0.1)
    per_expert: tuple[float, ...] = (1.0, 10.0, 10.0)
    none: float = 1e-2
    signs: float = 100.0
    calibration: float = 150.0


PENALTIES = Penalties()
N_NONE = len(NoneWeights._fields)


class Instances(NamedTuple):
    """Some experts' readable votes on some questions.

    Attributes:
        question: [I].
        instance, expert: of each vote, [V].
    """

    question: Ints
    instance: Ints
    expert: Ints


class _Theta(NamedTuple):
    """The parameters: common [7], per expert [3, E] (bias, slope, length), none [5], signs [C]."""

    common: Floats
    expert: Floats
    none: Floats
    signs: Floats


class Trained(NamedTuple):
    """
    Attributes:
        surprise: −log of the probability that a model which had not seen the question gave to its right
            answer, after the best one to six experts, [N, 6].
    """

    model: VoteModel
    surprise: Floats


def fit_votes(profile: Profile) -> VoteModel | None:
    """The vote model of a profile, fitted once per process; None = too little to learn from: fewer than 50
    questions, no right response, or nothing kept of what was said."""
    trained = train_votes(profile)
    return trained and trained.model


@lru_cache(maxsize=4)
def train_votes(profile: Profile) -> Trained | None:
    """`train_votes_with` without a verifier, kept per process.

    About 5 s for 2,000 questions and 28 experts, besides `fit_local`.
    """
    return train_votes_with(profile, None)


@one_thread()
def train_votes_with(
    profile: Profile, evidence: Floats | None, penalties: Penalties = PENALTIES
) -> Trained | None:
    """The vote model of a profile, and how it does inside; None = too little to learn from.

    Args:
        evidence: of a verifier, cross-fitted, nats, [N, E], as `Lesson` has it; None = the signs of the texts
            are learnt with the other weights, where texts were kept.
    """
    transcript = profile.transcript
    if transcript is None or len(profile.texts) < LEAST_QUESTIONS or not profile.right.any():
        return None
    lesson, manners = learn_manners(profile, transcript, fit_local(profile), evidence)
    theta = _fit(lesson, penalties)
    trials = _trials(lesson, penalties)
    signs = None if manners.signs is None else SignWeights(tuple(theta.signs.tolist()), *manners.signs)
    if signs is not None:  # what they say is in nats already
        theta.common[VoteWeights._fields.index("trust")] = 1.0
    model = VoteModel(
        common=VoteWeights(*theta.common.tolist()),
        experts={expert_id: _weights(theta, row) for row, expert_id in enumerate(profile.expert_ids)},
        habits=manners.habits,
        none=NoneWeights(*theta.none.tolist()),
        calibration=_calibrate([trial.standing for trial in trials], penalties),
        leanings=manners.leanings,
        signs=signs,
    )
    return Trained(model, _by_question(trials, len(lesson.right)))


def _weights(theta: _Theta, row: int) -> VoteWeights:
    bias, slope, length, *others = theta.common.tolist()
    of_bias, of_slope, of_length = theta.expert[:, row].tolist()
    return VoteWeights(bias + of_bias, slope + of_slope, length + of_length, *others)


# ── instances ─────────────────────────────────────────────────────────────────────────────────────


def random_parts(lesson: Lesson, *, seed: int = 0) -> Instances:
    """For every question `N_PARTS` times its best one to eight experts of those that were not dropped.

    The same seed draws the same parts.
    """
    rng = np.random.default_rng(seed)
    n, n_experts = lesson.order.shape
    question = np.tile(np.arange(n), N_PARTS)
    kept = rng.random((len(question), n_experts)) >= DROPOUT
    most = rng.integers(1, MOST_VOTES + 1, len(question))[:, None]
    return _instances(lesson, question, kept & (np.cumsum(kept, axis=1) <= most))


def first_few(lesson: Lesson, k: int) -> Instances:
    """The k best experts on every question, 1 <= k <= E: N instances."""
    n, n_experts = lesson.order.shape
    return _instances(lesson, np.arange(n), np.tile(np.arange(n_experts) < k, (n, 1)))


def _instances(lesson: Lesson, question: Ints, taken: npt.NDArray[np.bool_]) -> Instances:
    """`taken`: places of each question's order, [I, E]."""
    instance, place = np.nonzero(taken)
    expert = lesson.order[question[instance], place]
    readable = lesson.said[question[instance], expert] >= 0
    return Instances(question, instance[readable], expert[readable])


# ── the conditional logit ─────────────────────────────────────────────────────────────────────────


class _Problem:
    """Scores of the instances' answers as a function of the parameters, [I, G + 1]; none is the last."""

    def __init__(self, lesson: Lesson, instances: Instances) -> None:
        self._lesson = lesson
        question, instance, expert = instances
        self.n, self.width = len(question), int(lesson.said.max(initial=0)) + 2
        self._cell = question[instance] * lesson.said.shape[1] + expert
        self.place = instance * self.width + lesson.said[question[instance], expert]
        self.given = np.zeros((self.n, self.width), dtype=bool)
        self.given.ravel()[self.place] = True
        self.n_votes = np.bincount(instance, minlength=self.n)
        right = lesson.right[question]
        hit = (right >= 0) & self.given[np.arange(self.n), right]
        self.right = np.where(hit, right, self.width - 1)
        self.none = _none_features(lesson, question, self.given.sum(axis=1), self.n_votes)

    def scores(self, theta: _Theta) -> Floats:
        weights = _vote_weights(self._lesson, theta).ravel()[self._cell]
        summed = np.bincount(self.place, weights, self.n * self.width).reshape(self.n, self.width)
        scores = np.where(self.given, summed, -np.inf)
        scores[:, -1] = self.none @ theta.none
        return scores

    def loss(self, theta: _Theta) -> tuple[float, _Theta]:
        """Mean negative log likelihood of the right answers, in questions · N_PARTS, and its gradient."""
        probability = softmax(self.scores(theta))
        rows = np.arange(self.n)
        loss = -float(np.log(np.maximum(probability[rows, self.right], 1e-12)).sum())
        probability[rows, self.right] -= 1
        shape = self._lesson.said.shape
        n_cells = shape[0] * shape[1]
        flat = np.bincount(self._cell, probability.ravel()[self.place], n_cells).astype(np.float64)
        gradient = _pulled_back(self._lesson, flat.reshape(shape), self.none.T @ probability[:, -1])
        return loss, gradient


def _none_features(lesson: Lesson, question: Ints, n_answers: Ints, n_votes: Ints) -> Floats:
    n_options = lesson.n_options[question]
    unseen = np.array([log_unseen(o, a) if o else 0.0 for o, a in zip(n_options, n_answers, strict=True)])
    choice = (n_options > 0).astype(float)
    return np.stack([choice, 1 - choice, unseen, lesson.ease[question], n_votes.astype(float)], axis=1)


def _vote_weights(lesson: Lesson, theta: _Theta) -> Floats:
    """Weight of every expert's vote on every question, [N, E]; as `VoteModel.weight`."""
    bias, slope, length, off, long, trust, lean = theta.common
    of_bias, of_slope, of_length = theta.expert
    z = lesson.length
    return np.asarray(
        bias
        + of_bias
        + (slope + of_slope) * lesson.logit
        + (length + of_length) * z
        + off * np.abs(z)
        + long * np.maximum(z - 1, 0)
        + trust * lesson.evidence
        + lean * lesson.leaning
        + lesson.signs @ theta.signs
    )


def _pulled_back(lesson: Lesson, of_votes: Floats, of_none: Floats) -> _Theta:
    """The parameters' gradient from that of the vote weights, [N, E]."""
    z = lesson.length
    per_expert = np.stack(
        [of_votes.sum(axis=0), (of_votes * lesson.logit).sum(axis=0), (of_votes * z).sum(axis=0)]
    )
    form = [(of_votes * np.abs(z)).sum(), (of_votes * np.maximum(z - 1, 0)).sum()]
    of_text = [(of_votes * lesson.evidence).sum(), (of_votes * lesson.leaning).sum()]
    of_signs = np.tensordot(of_votes, lesson.signs, axes=2)
    return _Theta(np.array([*per_expert.sum(axis=1), *form, *of_text]), per_expert, of_none, of_signs)


def _fit(lesson: Lesson, penalties: Penalties) -> _Theta:
    """The penalised maximum of the likelihood; instances of one question count as one question."""
    from scipy.optimize import minimize

    problem = _Problem(lesson, random_parts(lesson))
    n_experts, n_signs = lesson.signs.shape[1:]
    per_expert = np.repeat(penalties.per_expert, n_experts)
    others = [penalties.none] * N_NONE + [penalties.signs] * n_signs
    penalty = np.array([*penalties.common, *per_expert, *others])

    def objective(flat: Floats) -> tuple[float, Floats]:
        loss, gradient = problem.loss(_unpacked(flat, n_experts))
        packed = np.concatenate([part.ravel() for part in gradient])
        return loss / N_PARTS + float(penalty @ flat**2) / 2, packed / N_PARTS + penalty * flat

    start = np.zeros(len(penalty))
    start[1] = 0.5
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-8})
    return _unpacked(found.x, n_experts)


def _unpacked(flat: Floats, n_experts: int) -> _Theta:
    ends = np.cumsum([len(VoteWeights._fields), 3 * n_experts, N_NONE])
    common, expert, none, signs = np.split(flat, ends)
    return _Theta(common, expert.reshape(3, n_experts), none, signs)


def softmax(scores: Floats) -> Floats:
    """Shares that sum to 1 over the last axis; −inf gives 0. Each row has a finite score.

    Args:
        scores: float, [..., G]; not modified.
    """
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exps / exps.sum(axis=-1, keepdims=True))


# ── calibration ───────────────────────────────────────────────────────────────────────────────────


class _Standing(NamedTuple):
    """Leading answers on questions left out: log-odds stated, number of votes and of answers, right; [S]."""

    log_odds: Floats
    n_votes: Floats
    n_answers: Floats
    right: Floats


class _Trial(NamedTuple):
    """What a fold's model makes of the questions that were left out, after the k best experts.

    Attributes:
        questions: left out, [L].
        surprise: −log probability of the right answer, [L].
    """

    questions: Ints
    k: int
    standing: _Standing
    surprise: Floats


def _trials(lesson: Lesson, penalties: Penalties) -> list[_Trial]:
    trials = []
    for inside, left_out in folds(len(lesson.right), seed=0):  # those of the accuracies
        theta = _fit(lesson.of(inside), penalties)
        unseen = lesson.of(left_out)
        trials += [_trial(unseen, left_out, k, theta) for k in range(1, N_CONSIDERED + 1)]
    return trials


def _by_question(trials: list[_Trial], n_questions: int) -> Floats:
    """Their surprise, [n_questions, N_CONSIDERED]."""
    surprise = np.zeros((n_questions, N_CONSIDERED))
    for trial in trials:
        surprise[trial.questions, trial.k - 1] = trial.surprise
    return surprise


def _calibrate(standings: list[_Standing], penalties: Penalties) -> Calibration:
    log_odds, n_votes, n_answers, right = (
        np.concatenate(columns) for columns in zip(*standings, strict=True)
    )
    features = np.array([calibration_features(*of) for of in zip(n_votes, n_answers, strict=True)])
    shift = _offset_logit(features, right, log_odds, penalty=penalties.calibration * N_CONSIDERED)
    return Calibration(*shift.tolist())


def _trial(lesson: Lesson, questions: Ints, k: int, theta: _Theta) -> _Trial:
    """The standing leaves out questions without a readable vote."""
    problem = _Problem(lesson, first_few(lesson, k))
    probability = softmax(problem.scores(theta))
    rows = np.arange(problem.n)
    leader = np.where(problem.given, probability, -1.0).argmax(axis=1)
    p = np.clip(probability[rows, leader], 1e-6, 1 - 1e-6)
    columns = (np.log(p / (1 - p)), problem.n_votes, problem.given.sum(axis=1), leader == problem.right)
    voted = problem.n_votes > 0
    standing = _Standing(*(np.asarray(column, dtype=np.float64)[voted] for column in columns))
    surprise = -np.log(np.maximum(probability[rows, problem.right], 1e-12))
    return _Trial(questions, k, standing, surprise)


def _offset_logit(features: Floats, right: Floats, offset: Floats, *, penalty: float) -> Floats:
    """Ridge logistic regression with an offset, by Newton's method."""
    beta = np.zeros(features.shape[1])
    for _ in range(20):
        p = 1 / (1 + np.exp(-(offset + features @ beta)))
        gradient = features.T @ (p - right) + penalty * beta
        curvature = (features * (p * (1 - p))[:, None]).T @ features + penalty * np.eye(len(beta))
        beta = beta - np.linalg.solve(curvature, gradient)
    return beta
