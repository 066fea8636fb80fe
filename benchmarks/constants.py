"""Chooses the constants of `auto` inside profile sets: `python -m benchmarks.constants [DIR]`.

No question of a test set is looked at. The largest profile of each split is divided: its smallest recorded
profile against the rest of it, and `FOLDS` folds. On each part, pools are profiled and the questions left out
answered by the production router and vote; then every variant of a constant is compared on the same answers.

    stopping     when to ask on: all combinations of `STOPPING`; of those that need at most so many calls as
                 `MOST_CALLS` says, the most accurate on the mean of all settings. For each split alone, what
                 the best one that takes no more calls gains on the shipped one
    within       how much less accurate experts count as equally good, at the shipped stopping rule, with the
                 loads that one device would need for the left-out questions as a batch
    penalties    of vote weights and of the calibration, as factors of the shipped ones: with the log loss and
                 the calibration error of the confidence

DIR is a replay set (docs/replay.md; default $MUSTER_REPLAY_DIR). The last line of output is one JSON object.
"""

import argparse
import json
import multiprocessing
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aggregators.outputs import AggregatorContext, make_aggregator
from aggregators.outputs.learned import LearnedVote
from aggregators.outputs.vote_fit import PENALTIES, Penalties, train_votes_with
from orchestrator.comparison import ECE_BINS
from orchestrator.compositions import expert_call
from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Ask, Done, Job, QueryState, Response
from orchestrator.domain.queries import LETTERS, Query
from orchestrator.evaluation import calibration_error
from orchestrator.ports import Outlook, SequentialAggregator
from orchestrator.replay.files import TEST, ReplaySet, Split, read_replay_set
from orchestrator.replay.rows import Rows
from orchestrator.replay.splits import profile_names, split
from orchestrator.replay_app import ReplayPlan, SeedReplay, with_vectors
from orchestrator.routing import RouterContext, make_router
from orchestrator.routing.decisions import no_cycle_collection
from orchestrator.routing.posterior import PosteriorOptions
from orchestrator.settings import MusterSettings
from orchestrator.waves import WaveOptions, why_ask_on

FOLDS = 4
STOPPING: Mapping[str, Sequence[float]] = {
    "agree": (2, 3),
    "confidence": (0.0, 0.2, 0.3, 0.4, 0.5, 0.6),
    "lookahead": (2, 3),
    "lookahead_share": (0.5, 0.7, 0.9, 1.1, 1.3),
}
WITHIN = (0.0, 0.02, 0.03, 0.05, 0.1, 1.0)
FACTORS = (1 / 3, 1.0, 3.0)
MOST_CALLS: Mapping[str, float] = {"small": 3.2, "mid": 3.2, "all": 2.4}
"""Mean calls per question that a pool may take."""

PROFILE = "profile"
LARGE, SMALL = "large", "small"
_JOB = Job(id="constants", composition="auto")


# ── questions answered step by step ───────────────────────────────────────────────────────────────


class Rung(NamedTuple):
    """Where a question stands after some experts were asked."""

    outlook: Outlook
    is_right: bool


class Ladder(NamedTuple):
    """One left-out question.

    Attributes:
        expert_ids: in the order in which they are asked.
        rungs: after the first one, the first two, ...
    """

    expert_ids: tuple[str, ...]
    rungs: tuple[Rung, ...]

    def asked(self, options: WaveOptions) -> int:
        """How many experts `Waves` asks under these options, >= 1."""
        enough = (n for n, rung in enumerate(self.rungs, 1) if why_ask_on(rung.outlook, options) is None)
        return next(enough, len(self.rungs))


class Climber:
    """Answers the left-out questions of one part."""

    def __init__(self, replay: SeedReplay) -> None:
        self._replay = replay
        cards, profile = replay.knowledge
        assert profile is not None, "a replay has one"
        self.profile = profile
        self._pool = replay.recording.pool
        expert_ids = tuple(e.id for e in self._pool.experts)
        self._routing = RouterContext(
            cards=cards, profile=profile, expert_ids=expert_ids, experts=self._pool.by_id
        )
        self._voting = AggregatorContext(
            grader=replay.grader, pool=self._pool, cards=cards, profile=profile, seed=0
        )

    def climb(self, *, within: float | None = None, penalties: Penalties | None = None) -> list[Ladder]:
        """A ladder for each left-out question; None = as shipped."""
        options = {} if within is None else {"within": within}
        router = make_router("posterior", self._routing, options)
        inputs = self._replay.routing_inputs()
        with no_cycle_collection():
            decisions = router.recruit(inputs, rng=random.Random(0))
            vote = self._vote(penalties)
            return [
                self._ladder(vote, query, decision)
                for query, decision in zip(self._replay.test, decisions, strict=True)
            ]

    def _vote(self, penalties: Penalties | None) -> SequentialAggregator:
        if penalties is None:
            vote = make_aggregator("learned", self._voting, {})
        else:
            trained = train_votes_with(self.profile, None, penalties)
            assert trained is not None, "responses are recorded"
            vote = LearnedVote(self._voting.grader, trained.model)
        assert isinstance(vote, SequentialAggregator)
        return vote

    def _ladder(self, vote: SequentialAggregator, query: Query, decision: Decision) -> Ladder:
        everybody = (*decision.recruits, *decision.reserves)
        responses: list[Response] = []
        rungs = []
        for n, recruit in enumerate(everybody, 1):
            call = expert_call(self._pool.by_id[recruit.expert_id], query, _JOB)
            responses.append(self._replay.recording.respond(call, query, stage=n - 1))
            part = decision.model_copy(update={"recruits": everybody[:n], "reserves": everybody[n:]})
            state = QueryState(id=0, job_id=_JOB.id, query=query, decision=part)
            rungs.append(Rung(vote.outlook(state, responses), _is_right(vote.step(state, responses), query)))
        return Ladder(tuple(r.expert_id for r in everybody), tuple(rungs))


def _is_right(step: Ask | Done, query: Query) -> bool:
    assert isinstance(step, Done), "a vote asks nobody"
    return step.answer.value is not None and LETTERS.index(step.answer.value) == query.answer


# ── parts of the profile ──────────────────────────────────────────────────────────────────────────


class Setting(NamedTuple):
    """A pool, and whether its profile is the small or the large part."""

    pool: str
    size: str


class Part(NamedTuple):
    setting: Setting
    columns: Split


def parts(replay: ReplaySet, seed: int, pools: Sequence[str]) -> list[Part]:
    """Divisions of the largest profile set of a seed; its test set is not touched."""
    names = profile_names(replay)
    whole, small = (split(replay, seed=seed, profile=name).profile for name in (names[-1], names[0]))
    fold = np.random.default_rng(seed).permutation(len(whole)) % FOLDS
    divisions = [(LARGE, Split(np.sort(whole[fold != f]), np.sort(whole[fold == f]))) for f in range(FOLDS)]
    if len(names) > 1:
        divisions.insert(0, (SMALL, Split(small, np.setdiff1d(whole, small))))
    return [Part(Setting(pool, size), columns) for pool in pools for size, columns in divisions]


def climber(replay: ReplaySet, part: Part) -> Climber:
    sets = {PROFILE: part.columns.profile, TEST: part.columns.test}
    alone = replace(replay, splits={"seed0": sets})
    plan = ReplayPlan(pool=part.setting.pool, profile=PROFILE, seeds=(0,), rows=Rows((), {}))
    return Climber(SeedReplay(alone, plan, 0))


# ── what came of it ───────────────────────────────────────────────────────────────────────────────


class Score(NamedTuple):
    """Means over the left-out questions of a setting: accuracy in %, experts asked."""

    accuracy: float
    calls: float


Scores = Mapping[Setting, Score]


class Count:
    """Adds up questions by setting."""

    def __init__(self) -> None:
        self._right: dict[Setting, list[bool]] = defaultdict(list)
        self._calls: dict[Setting, list[int]] = defaultdict(list)

    def add(self, setting: Setting, ladders: Iterable[Ladder], options: WaveOptions) -> None:
        for ladder in ladders:
            n = ladder.asked(options)
            self._right[setting].append(ladder.rungs[n - 1].is_right)
            self._calls[setting].append(n)

    @property
    def scores(self) -> Scores:
        return {
            setting: Score(100 * float(np.mean(right)), float(np.mean(self._calls[setting])))
            for setting, right in self._right.items()
        }


def mean_accuracy(scores: Scores) -> float:
    """Over settings: each counts the same."""
    return float(np.mean([score.accuracy for score in scores.values()]))


def mean_calls(scores: Scores) -> float:
    return float(np.mean([score.calls for score in scores.values()]))


def is_affordable(scores: Scores) -> bool:
    return all(score.calls <= MOST_CALLS.get(setting.pool, np.inf) for setting, score in scores.items())


def variants() -> list[WaveOptions]:
    return [
        WaveOptions.model_validate(dict(zip(STOPPING, values, strict=True)))
        for values in product(*STOPPING.values())
    ]


def chosen(of_variants: Mapping[WaveOptions, Scores]) -> WaveOptions:
    """The most accurate one of those that can be paid; ties: as listed."""
    affordable = [o for o in of_variants if is_affordable(of_variants[o])]
    return max(affordable or of_variants, key=lambda options: mean_accuracy(of_variants[options]))


def loads(ladders: Sequence[Ladder], options: WaveOptions) -> int:
    """Of one device that always serves the engine with most waiting questions, to its end."""
    sequences = [iter(ladder.expert_ids[: ladder.asked(options)]) for ladder in ladders]
    waiting: dict[str, list[Iterator[str]]] = defaultdict(list)
    for sequence in sequences:
        waiting[next(sequence)].append(sequence)
    n = 0
    while waiting:
        engine = max(sorted(waiting), key=lambda e: len(waiting[e]))
        n += 1
        for sequence in waiting.pop(engine):
            following = next(sequence, None)
            if following is not None:
                waiting[following].append(sequence)
    return n


# ── the comparisons ───────────────────────────────────────────────────────────────────────────────

SHIPPED = WaveOptions()


class Within(NamedTuple):
    """`loads`: mean over the parts of a setting."""

    score: Score
    loads: float


class Confidence(NamedTuple):
    """Of what the vote says of itself when it stops: accuracy in %, log loss in nats, calibration error."""

    accuracy: float
    log_loss: float
    ece: float


class Found(NamedTuple):
    """What one part of a profile says."""

    seed: int
    setting: Setting
    of_within: Mapping[float, list[Ladder]]


def compare_stopping(found: Sequence[Found], within: float) -> dict[WaveOptions, Scores]:
    scores = {}
    for options in variants():
        count = Count()
        for part in found:
            count.add(part.setting, part.of_within[within], options)
        scores[options] = count.scores
    return scores


def compare_within(found: Sequence[Found]) -> dict[float, dict[Setting, Within]]:
    compared: dict[float, dict[Setting, Within]] = {}
    for within in found[0].of_within:
        count, n_loads = Count(), defaultdict(list)
        for part in found:
            count.add(part.setting, part.of_within[within], SHIPPED)
            n_loads[part.setting].append(loads(part.of_within[within], SHIPPED))
        compared[within] = {s: Within(score, float(np.mean(n_loads[s]))) for s, score in count.scores.items()}
    return compared


def confidence_of(ladders: Sequence[Ladder]) -> Confidence:
    rungs = [ladder.rungs[ladder.asked(SHIPPED) - 1] for ladder in ladders]
    right = np.array([rung.is_right for rung in rungs])
    stated = np.array([rung.outlook.confidence or 0.0 for rung in rungs])
    p = np.clip(np.where(right, stated, 1 - stated), 1e-6, 1)
    error = calibration_error(stated, right, bins=ECE_BINS)
    return Confidence(100 * float(right.mean()), float(-np.log(p).mean()), error)


def compare_penalties(climbers: Sequence[tuple[Setting, Climber]]) -> dict[str, dict[Setting, Confidence]]:
    compared: dict[str, dict[Setting, Confidence]] = {}
    for name, penalties in _penalties().items():
        ladders: dict[Setting, list[Ladder]] = defaultdict(list)
        for setting, of_part in climbers:
            ladders[setting] += of_part.climb(penalties=penalties)
        compared[name] = {setting: confidence_of(of) for setting, of in ladders.items()}
    return compared


def _penalties() -> dict[str, Penalties]:
    votes = {f"votes x {f:.2g}": PENALTIES.scaled(votes=f) for f in FACTORS}
    return votes | {f"calibration x {f:.2g}": PENALTIES.scaled(calibration=f) for f in FACTORS if f != 1}


def find(replay: ReplaySet, seeds: Sequence[int], pools: Sequence[str], *, workers: int) -> list[Found]:
    wanted = [(seed, part) for seed in seeds for part in parts(replay, seed, pools)]
    shares = [wanted[i::workers] for i in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
        return [found for share in executor.map(partial(_find, replay), shares) for found in share]


def _find(replay: ReplaySet, wanted: Sequence[tuple[int, Part]]) -> list[Found]:
    found = []
    for seed, part in wanted:
        of_part = climber(replay, part)
        found.append(Found(seed, part.setting, {w: of_part.climb(within=w) for w in WITHIN}))
        print(f"seed {seed}, {part.setting.pool}, {part.setting.size}", flush=True)
    return found


def regret(of_variants: Mapping[WaveOptions, Scores]) -> tuple[WaveOptions, float]:
    """The most accurate variant that takes no more calls than the shipped one, and what it gains."""
    shipped = of_variants[SHIPPED]
    cheap = [o for o in of_variants if mean_calls(of_variants[o]) <= mean_calls(shipped)]
    best = max(cheap, key=lambda options: mean_accuracy(of_variants[options]))
    return best, mean_accuracy(of_variants[best]) - mean_accuracy(shipped)


def _stopping_result(found: Sequence[Found], within: float) -> dict[str, object]:
    scores = compare_stopping(found, within)
    best = chosen(scores)
    of_seeds = {seed: [part for part in found if part.seed == seed] for seed in {f.seed for f in found}}
    regrets = {seed: regret(compare_stopping(of_seed, within)) for seed, of_seed in of_seeds.items()}
    return {
        "chosen": best.model_dump(),
        "is_shipped": best == SHIPPED,
        "chosen_mean": mean_accuracy(scores[best]),
        "shipped_mean": mean_accuracy(scores[SHIPPED]),
        "shipped": {f"{s.pool}, {s.size}": score._asdict() for s, score in scores[SHIPPED].items()},
        "of_seeds": {
            str(seed): {"best_at_equal_calls": o.model_dump(), "gain": gain}
            for seed, (o, gain) in regrets.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=os.environ.get("MUSTER_REPLAY_DIR"))
    parser.add_argument("--pools", default="small,mid,all")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.folder is None:
        parser.error("give a replay set, or set MUSTER_REPLAY_DIR")
    seeds, pools = [int(seed) for seed in args.seeds.split(",")], args.pools.split(",")
    replay = with_vectors(read_replay_set(Path(args.folder)), MusterSettings())
    found = find(replay, seeds, pools, workers=args.workers)
    stopping = _stopping_result(found, PosteriorOptions().within)
    within = {
        str(w): {f"{s.pool}, {s.size}": {**v.score._asdict(), "loads": v.loads} for s, v in of.items()}
        for w, of in compare_within(found).items()
    }
    climbers = [(part.setting, climber(replay, part)) for part in parts(replay, seeds[0], pools)]
    penalties = {
        name: {f"{s.pool}, {s.size}": c._asdict() for s, c in of.items()}
        for name, of in compare_penalties(climbers).items()
    }
    print(json.dumps({"stopping": stopping, "within": within, "penalties": penalties}))


if __name__ == "__main__":
    main()
