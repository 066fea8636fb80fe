"""The profile as numbers that weights of votes are learnt from, and the manners of its experts.

Manners are what is usual for an expert: how long its responses are, which options it leans towards, and what
signs its texts show. Lengths and leanings are learnt from `LEAST_FOR_MANNERS` questions on, signs from
`LEAST_FOR_SIGNS`. Ours: docs/decisions/0046; sources of the parts: methods 3.3.

Shapes: N profile questions that the local model kept, E experts, C signs of a text.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregators.outputs.leaning import Leanings, by_letter, looked_up
from aggregators.outputs.verifying.linear import N_SIGNS, profile_signs
from aggregators.outputs.vote_model import WIDEST, Habit
from orchestrator.domain.cards import LEAST_ACCURACY, MOST_ACCURACY, RIGHT, Profile, Transcript
from orchestrator.domain.queries import LETTERS, AnswerType, Query
from orchestrator.routing.parts.local import LocalModel, evenly, folds

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_FOR_MANNERS = 200
"""From fewer questions manners are not learnt: lengths would overrule the better of two experts."""

LEAST_FOR_SIGNS = 300
"""From fewer questions signs of texts are not learnt: they are many."""

N_CONSIDERED = 6
"""Experts whose accuracy says how easy a question is, and whose votes the confidence is calibrated on."""

MOST_READ, N_READ = 1000, 8
"""Questions, evenly spread, and experts of each, best first, whose texts are read. More cost time only."""

_LEAST_SPREAD = 1e-6


class Lesson(NamedTuple):
    """The profile as numbers.

    Attributes:
        said: which answer each expert gave, int [N, E]; −1 = abstained or not measured.
        right: the answer that is right, int [N]; −1 = nobody gave it.
        n_options: [N], 0 = open question.
        logit, length: of the cross-fitted accuracy and of the response, [N, E].
        order: experts best first, [N, E].
        evidence: what a verifier adds to the log-odds, cross-fitted, [N, E]; 0 without one.
        leaning: of the expert towards the option that it said, cross-fitted, [N, E], nats; 0 = none.
        signs: of the texts in spreads from their means, [N, E, C]; 0 = missing or not read; C = 0 where no
            text was.
    """

    said: Ints
    right: Ints
    n_options: Ints
    logit: Floats
    length: Floats
    order: Ints
    evidence: Floats
    leaning: Floats
    signs: Floats

    @property
    def ease(self) -> Floats:
        """Mean logit of the accuracies of each question's best six experts, nats; [N]."""
        best = np.take_along_axis(self.logit, self.order[:, :N_CONSIDERED], axis=1)
        return np.asarray(best.mean(axis=1))

    def of(self, rows: Ints) -> "Lesson":
        """The lesson of some questions, in the order of `rows`, int [M]."""
        return Lesson(
            self.said[rows],
            self.right[rows],
            self.n_options[rows],
            self.logit[rows],
            self.length[rows],
            self.order[rows],
            self.evidence[rows],
            self.leaning[rows],
            self.signs[rows],
        )


class SignScale(NamedTuple):
    """Mean and spread (> 0) of each sign over the responses that were read; C of each."""

    means: tuple[float, ...]
    spreads: tuple[float, ...]


class Manners(NamedTuple):
    """Lengths, leanings and signs that are usual, by expert id.

    Attributes:
        leanings: by letter of the option, nats.
        signs: None = no text was read.
    """

    habits: Mapping[str, Habit]
    leanings: Mapping[str, Mapping[str, float]]
    signs: SignScale | None


def learn_manners(
    profile: Profile, transcript: Transcript, local: LocalModel, evidence: Floats | None = None
) -> tuple[Lesson, Manners]:
    """The lesson of a profile, and the manners of its experts.

    Args:
        transcript: the profile's own.
        local: fitted on it; N is the number of its questions.
        evidence: of a verifier that has read the texts, cross-fitted, nats, [N, E]; None = their signs are
            read.
    """
    ids, questions = profile.expert_ids, local.questions.tolist()
    usual = dict(zip(ids, (_habit(chars[local.questions]) for chars in transcript.chars), strict=True))
    plain = _lesson(profile, transcript, local, usual)
    if len(questions) < LEAST_FOR_MANNERS:
        lesson = plain._replace(length=np.zeros_like(plain.length))
        return lesson if evidence is None else lesson._replace(evidence=evidence), Manners(usual, {}, None)
    leaning, leanings = _leaning(profile, transcript, questions)
    lesson = plain._replace(leaning=leaning)
    if evidence is not None:
        return lesson._replace(evidence=evidence), Manners(usual, leanings, None)
    if not transcript.texts or len(questions) < LEAST_FOR_SIGNS:
        return lesson, Manners(usual, leanings, None)
    signs, scale = _signs(profile, transcript, questions, plain.order)
    return lesson._replace(signs=signs), Manners(usual, leanings, scale)


def _habit(chars: npt.NDArray[np.int32]) -> Habit:
    logs = np.log1p(chars[chars > 0]) if (chars > 0).any() else np.zeros(1)
    return Habit(float(np.median(logs)), float(logs.std()) + 0.1)


def _lesson(
    profile: Profile, transcript: Transcript, local: LocalModel, habits: Mapping[str, Habit]
) -> Lesson:
    """Without leanings, signs and evidence."""
    questions = local.questions.tolist()
    columns = [_answers(profile, transcript, question) for question in questions]
    accuracy = np.clip(local.crossfitted, LEAST_ACCURACY, MOST_ACCURACY)
    typical, spread = np.array([habits[expert_id] for expert_id in profile.expert_ids]).T
    length = (np.log1p(transcript.chars[:, questions].T) - typical) / spread
    return Lesson(
        said=np.array([said for said, _ in columns], dtype=np.int64),
        right=np.array([right for _, right in columns], dtype=np.int64),
        n_options=np.array([len(transcript.queries[q].options) for q in questions], dtype=np.int64),
        logit=np.log(accuracy / (1 - accuracy)),
        length=np.clip(length, -WIDEST, WIDEST),
        order=np.argsort(-accuracy, axis=1, kind="stable"),
        evidence=np.zeros_like(length),
        leaning=np.zeros_like(length),
        signs=np.zeros((*length.shape, 0)),
    )


def _answers(profile: Profile, transcript: Transcript, question: int) -> tuple[list[int], int]:
    """Each expert's answer to a question, numbered, and the number of the right one.

    All that were graded right are one answer; wrong ones differ where their canonical forms do. (Grading
    them against one another would cost more than the rest of the fit.)
    """
    numbers: dict[str, int] = {}
    said = []
    for row, values in enumerate(transcript.values):
        value = values[question]
        if value is None:
            said.append(-1)
            continue
        name = "right" if profile.outcomes[row, question] == RIGHT else f"wrong {value}"
        said.append(numbers.setdefault(name, len(numbers)))
    return said, numbers.get("right", -1)


# ── leanings ──────────────────────────────────────────────────────────────────────────────────────


def _leaning(
    profile: Profile, transcript: Transcript, questions: list[int]
) -> tuple[Floats, dict[str, dict[str, float]]]:
    """Cross-fitted in the folds of the accuracies, [N, E]; and by expert id and letter, from all of them."""
    queries = [transcript.queries[q] for q in questions]
    said = np.array([[_option(transcript.queries[q], of[q]) for of in transcript.values] for q in questions])
    right = np.array([_right_option(query) for query in queries])
    leanings = Leanings(said, right, np.array([len(query.options) for query in queries]))
    crossfitted = np.zeros(said.shape)
    for inside, left_out in folds(len(questions), seed=0):
        crossfitted[left_out] = looked_up(leanings.of(inside), said[left_out])
    whole = leanings.of(np.arange(len(questions)))
    return crossfitted, {e: by_letter(of.tolist()) for e, of in zip(profile.expert_ids, whole, strict=True)}


def _option(query: Query, value: str | None) -> int:
    """Place of the option that an answer states; −1 = it states none."""
    if value is None or len(value) != 1 or query.answer_type is not AnswerType.CHOICE:
        return -1
    return LETTERS[: len(query.options)].find(value)


def _right_option(query: Query) -> int:
    is_choice = query.answer_type is AnswerType.CHOICE
    return query.answer if is_choice and isinstance(query.answer, int) else -1


# ── signs of texts ────────────────────────────────────────────────────────────────────────────────


def _signs(
    profile: Profile, transcript: Transcript, questions: list[int], order: Ints
) -> tuple[Floats, SignScale]:
    signs = np.zeros((*order.shape, N_SIGNS))
    read = evenly(len(questions), MOST_READ)
    rows = profile_signs(
        profile.expert_ids, transcript, [questions[i] for i in read.tolist()], order[read, :N_READ]
    )
    scale = _scale(rows.reshape(-1, N_SIGNS))
    spreads = (rows - np.array(scale.means)) / np.array(scale.spreads)
    signs[read] = np.clip(np.nan_to_num(spreads), -WIDEST, WIDEST)
    return signs, scale


def _scale(rows: Floats) -> SignScale:
    """Of responses' rows, [M, C]; 0 and 1 for a sign that none of them has."""
    known = ~np.isnan(rows)
    n = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, rows, 0.0).sum(axis=0) / n
    spreads = np.sqrt(np.where(known, (rows - means) ** 2, 0.0).sum(axis=0) / n)
    return SignScale(tuple(means.tolist()), tuple(np.where(spreads > _LEAST_SPREAD, spreads, 1.0).tolist()))
