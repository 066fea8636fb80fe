"""Constants of the rule for open questions, inside profile sets: `python -m benchmarks.open_rule [DIR]`.

No question of a test set is looked at. The largest profile of each split is divided `--draws` times by
chance: the rule (`aggregators.outputs.prose.rule`) is fitted on some questions and answers the others, with
the shipped constants, with each of `VARIANTS`, and without each sign. Figures are mean gains over the best
single expert in points, without the guard; beside the rule's, those of its ranker where it chooses for every
question.

    shrunk     grades near the question, by a kernel over the embeddings and drawn to the overall mean by so
               many pseudo-observations: gain of its one expert over the best overall

DIR is a replay set of open questions with their texts (docs/replay.md; default $MUSTER_REPLAY_DIR). The last
line of output is one JSON object.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import numpy.typing as npt

from aggregators.outputs.prose.ranker import Sheet
from aggregators.outputs.prose.rule import N_BEST, Constants, Fit, answered, fit
from aggregators.outputs.prose.signs import Signs, read_signs
from benchmarks.reporting import add_replay_set, finish, option_parser, progress
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.recording import Recording
from orchestrator.evaluation.replay.sets import ReplaySet
from orchestrator.evaluation.replay.splits import profile_names, split

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SIZES = (100, 200)
BANDWIDTHS = (0.1, 0.2, 0.4)
PSEUDO_OBSERVATIONS = 15.0


class Variant(NamedTuple):
    """A way to fit the rule. `n_best`: experts to learn from; `left_out`: place of a sign not seen."""

    constants: Constants = Constants()
    n_best: int = N_BEST
    left_out: int | None = None


VARIANTS: Mapping[str, Variant] = {
    "shipped": Variant(),
    **{f"ridge {r}": Variant(Constants(ridge=r)) for r in (10.0, 30.0, 300.0, 1000.0)},
    **{f"brief share {s}": Variant(Constants(brief_share=s)) for s in (0.1, 0.15, 0.25, 0.3, 0.5)},
    **{f"{n} asked": Variant(Constants(n_asked=n)) for n in (2, 4)},
    **{f"best {n}": Variant(n_best=n) for n in (3, 4, 8)},
    **{f"without {name}": Variant(left_out=place) for place, name in enumerate(Signs._fields) if place},
}
"""By name. The length itself stays: without it nothing is brief."""


class Gain(NamedTuple):
    """Gains in [-1, 1] on the questions that were left out, and the mean number of experts asked."""

    rule: float
    ranker: float
    calls: float


class Graded(NamedTuple):
    """A pool's answers: grades [E, Q], signs [E, Q, 9], and the questions' embeddings [Q, D]."""

    grades: Floats
    signs: Floats
    embeddings: Floats

    def sheet(self, rows: Sequence[int], columns: Ints, left_out: int | None) -> Sheet:
        signs = self.signs[list(rows)][:, columns]
        if left_out is not None:
            signs = signs.copy()
            signs[..., left_out] = 0.0
        return Sheet(tuple(map(str, rows)), self.grades[list(rows)][:, columns], signs)


def graded(replay: ReplaySet, pool: str) -> Graded:
    """
    Raises:
        InputError: a question is not open, or has no score or text.
    """
    recording = Recording(replay, pool)
    scores, embeddings = recording.scores, replay.embeddings
    if scores is None or np.isnan(scores).any() or not recording.has_texts or embeddings is None:
        raise InputError(
            "not every answer of the set has a score and a text, and every question an embedding.",
            remedy="Give a set of open questions (docs/replay.md).",
        )
    signs = [
        [
            read_signs(query.question, recording.value(row, column) or "")
            for column, query in enumerate(replay.queries)
        ]
        for row in range(len(recording.experts))
    ]
    return Graded(scores.astype(np.float64), np.array(signs, dtype=np.float64), embeddings.astype(np.float64))


def gain(pool: Graded, learning: Ints, left_out: Ints, variant: Variant) -> Gain:
    """The rule fitted on some questions, on others."""
    means = pool.grades[:, learning].mean(axis=1)
    rows = np.argsort(-means, kind="stable")[: variant.n_best].tolist()
    rule = fit(pool.sheet(rows, learning, variant.left_out), variant.constants)
    sheet = pool.sheet(rows, left_out, variant.left_out)
    held = answered(rule, sheet, variant.constants)
    always = answered(_for_every(rule), sheet, variant.constants)
    n_more = min(variant.constants.n_asked, len(rows)) - 1
    return Gain(held.gain, always.gain, 1 + n_more * float(held.brief.mean()))


def _for_every(rule: Fit) -> Fit:
    """The rule that asks on whatever the best expert says."""
    return rule._replace(usual=tuple(one._replace(brief=np.inf) for one in rule.usual))


def shrunk_gain(pool: Graded, learning: Ints, left_out: Ints, bandwidth: float) -> float:
    """Gain of whoever is best near each question, drawn to the overall mean."""
    grades, mean = pool.grades[:, learning], pool.grades[:, learning].mean(axis=1)
    cosine = np.minimum(pool.embeddings[left_out] @ pool.embeddings[learning].T, 1.0)
    kernel = np.exp((cosine - 1) / bandwidth)
    near = PSEUDO_OBSERVATIONS * mean + kernel @ grades.T
    chosen = (near / (PSEUDO_OBSERVATIONS + kernel.sum(axis=1, keepdims=True))).argmax(axis=1)
    single = pool.grades[int(mean.argmax()), left_out]
    return float((pool.grades[chosen, left_out] - single).mean())


def divisions(replay: ReplaySet, seeds: Sequence[int], draws: int, size: int) -> Iterator[tuple[Ints, Ints]]:
    """Questions to learn from and others, of each split's largest profile."""
    largest = profile_names(replay)[-1]
    for seed in seeds:
        profile = split(replay, seed=seed, profile=largest).profile
        for draw in range(draws):
            shuffled = np.random.default_rng([seed, draw]).permutation(profile)
            yield shuffled[:size], shuffled[size:]


def measured(
    replay: ReplaySet, pool: Graded, seeds: Sequence[int], draws: int, sizes: Sequence[int]
) -> dict[str, dict[str, Gain]]:
    """Mean gains by size of what was learnt from and name of the variant."""
    found: dict[str, dict[str, Gain]] = {}
    for size in sizes:
        gains: dict[str, list[Gain]] = defaultdict(list)
        for learning, left_out in divisions(replay, seeds, draws, size):
            for name, variant in VARIANTS.items():
                gains[name].append(gain(pool, learning, left_out, variant))
            for bandwidth in BANDWIDTHS:
                alone = shrunk_gain(pool, learning, left_out, bandwidth)
                gains[f"shrunk {bandwidth}"].append(Gain(alone, alone, 1.0))
        found[str(size)] = {name: Gain(*np.mean(of, axis=0).tolist()) for name, of in gains.items()}
    return found


def points(one: Gain) -> dict[str, float]:
    return {
        "rule": round(100 * one.rule, 2),
        "ranker": round(100 * one.ranker, 2),
        "calls": round(one.calls, 2),
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    add_replay_set(parser)
    parser.add_argument("--pools", default="peers,classic", help="separated by commas")
    parser.add_argument("--seeds", type=int, default=10, help="splits 0, 1, ...")
    parser.add_argument("--draws", type=int, default=4, help="divisions of each profile")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="questions to learn from")
    options = parser.parse_args(words)
    sizes = [int(size) for size in options.sizes.split(",")]
    replay = read_replay_set(options.folder)
    report: dict[str, object] = {}
    for name in options.pools.split(","):
        progress(f"{name}: reading signs")
        pool = graded(replay, name)
        found = measured(replay, pool, range(options.seeds), options.draws, sizes)
        for size, gains in found.items():
            for variant, one in gains.items():
                progress(f"{name} {size} {variant}: {points(one)}")
        report[name] = {size: {v: points(one) for v, one in gains.items()} for size, gains in found.items()}
    finish(report)


if __name__ == "__main__":
    main()
