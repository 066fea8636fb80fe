"""Methods compared on the same questions: accuracies, paired differences, who is worth its calls.

Shapes: N answers. A question that is answered under several splits counts once per split, and its
answers are resampled together.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestrator.domain.values import Value
from orchestrator.evaluation.statistics import Estimate, calibration_error, clustered_mean

AUTO, BEST_SINGLE, ORACLE = "auto", "best_single", "oracle"
ECE_BINS = 15

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Ground(NamedTuple):
    """Questions that all methods were asked; [N] each.

    Attributes:
        question: index of the question; equal where the same one is asked under another split.
        round: index of the split.
        domain: label of the question, or "".
    """

    question: Ints
    round: Ints
    domain: tuple[str, ...]


class Trial(NamedTuple):
    """Results of one method; [N] in the order of its ground.

    Attributes:
        score: in [0, 1]; 1 = right, 0 = wrong or silent, of an open question what the answer was graded.
        calls: different experts asked.
        confidence: in [0, 1]; nan where the method gave none.
        seconds: per round, what building the method and running it took.
        chars: characters of its answers, [N]; None = nobody counted.
    """

    name: str
    score: Floats
    calls: Ints
    confidence: Floats
    seconds: float = 0.0
    chars: Ints | None = None


class Difference(Value):
    """Mean score of `a` minus that of `b` on the same queries, with its paired 95 % interval."""

    a: str
    b: str
    difference: float
    ci95: tuple[float, float]

    @property
    def is_gain(self) -> bool:
        """True if the whole interval lies above 0."""
        return self.ci95[0] > 0

    @property
    def is_loss(self) -> bool:
        """True if the whole interval lies below 0."""
        return self.ci95[1] < 0


class Summary(NamedTuple):
    """Accuracy (mean score) in [0, 1] with its 95 % interval over questions; `sd` over rounds (0 for one);
    `ece`: expected calibration error of the confidences, None where a method gives none."""

    name: str
    accuracy: Estimate
    sd: float
    per_round: tuple[float, ...]
    calls: float
    ece: float | None


def summarise(trial: Trial, ground: Ground) -> Summary:
    """Figures of one method over all rounds; its interval is over questions, not over rounds."""
    rounds = tuple(float(trial.score[ground.round == r].mean()) for r in np.unique(ground.round))
    stated = ~np.isnan(trial.confidence)
    return Summary(
        name=trial.name,
        accuracy=clustered_mean(trial.score, ground.question),
        sd=float(np.std(rounds, ddof=1)) if len(rounds) > 1 else 0.0,
        per_round=rounds,
        calls=float(trial.calls.mean()),
        ece=calibration_error(trial.confidence[stated], trial.score[stated], bins=ECE_BINS)
        if stated.any()
        else None,
    )


def difference(a: Trial, b: Trial, ground: Ground) -> Difference:
    """Score of one method minus that of the other, paired question by question."""
    gain = a.score.astype(np.float64) - b.score.astype(np.float64)
    value, low, high = clustered_mean(gain, ground.question)
    return Difference(a=a.name, b=b.name, difference=value, ci95=(low, high))


def against(baseline: str, trials: Iterable[Trial], ground: Ground) -> list[Difference]:
    """Every trial minus the baseline's, but for the oracle, which nobody can run."""
    return [difference(other, base, ground) for base, other in _pairs(baseline, trials)]


def minus_others(name: str, trials: Iterable[Trial], ground: Ground) -> list[Difference]:
    """One trial minus each other, but for the oracle."""
    return [difference(base, other, ground) for base, other in _pairs(name, trials)]


def _pairs(name: str, trials: Iterable[Trial]) -> list[tuple[Trial, Trial]]:
    """That trial with each other; none where it was not run."""
    by_name = {trial.name: trial for trial in trials}
    if name not in by_name:
        return []
    return [(by_name[name], t) for other, t in by_name.items() if other not in (name, ORACLE)]


def by_domain(trials: Sequence[Trial], ground: Ground) -> dict[str, dict[str, float]]:
    """domain -> method -> accuracy; domains in order of their names, "" left out."""
    labels = np.array(ground.domain)
    return {
        str(domain): {trial.name: float(trial.score[labels == domain].mean()) for trial in trials}
        for domain in np.unique(labels)
        if domain
    }


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names that no other one beats at as few calls; fewest calls first.

    Args:
        points: name -> (calls, accuracy).
    """
    front: list[str] = []
    best = -np.inf
    for name in sorted(points, key=lambda n: (points[n][0], -points[n][1], n)):
        if points[name][1] > best:
            best = points[name][1]
            front.append(name)
    return front


def verdict(against_best_single: Sequence[Difference]) -> str:
    """The first line of a report: whether recruiting pays on these questions, by how much, and how sure.

    `auto` speaks first, since it was not chosen after the fact. If only others gain, the largest is named.
    """
    if not against_best_single:
        return f"no comparison: '{BEST_SINGLE}' was not run"
    auto = next((d for d in against_best_single if d.a == AUTO), None)
    gains = [d for d in against_best_single if d.is_gain]
    if auto is not None and auto.is_gain:
        return f"route: '{AUTO}' beats the best single expert by {points(auto)}"
    if gains:
        best = max(gains, key=lambda d: d.difference)
        return f"route: '{best.a}' beats the best single expert by {points(best)}"
    shown = auto or max(against_best_single, key=lambda d: d.difference)
    return (
        "do not route: the best single expert is as good on these questions "
        f"('{shown.a}' {points(shown, signed=True)})"
    )


def points(d: Difference, *, signed: bool = False) -> str:
    """`4.2 points (95 % interval 2.1 to 6.3)`."""
    sign = "+" if signed else ""
    low, high = (100 * bound for bound in d.ci95)
    return f"{100 * d.difference:{sign}.1f} points (95 % interval {low:{sign}.1f} to {high:{sign}.1f})"
