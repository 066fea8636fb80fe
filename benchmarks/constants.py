"""Chooses the constants of `auto` inside profile sets: `python -m benchmarks.constants [DIR]`.

No question of a test set is looked at. The largest profile of each split is divided: its smallest recorded
profile against the rest of it, `FOLDS` folds, and a tiny part against another one. On each part, pools are
profiled and the questions left out answered by the production router and vote; then every variant of a
constant is compared on the same answers.

    stopping     when to ask on: all combinations of `STOPPING`; of those that need at most so many calls as
                 `Subject.most_calls` says, the most accurate on the mean of all settings. For each split
                 alone, what the best one that takes no more calls gains on the shipped one
    within       how much less accurate experts count as equally good, at the shipped stopping rule, with the
                 loads that one device would need for the left-out questions as a batch
    penalties    of vote weights and of the calibration, against the shipped ones: with the log loss and the
                 calibration error of the confidence

`--composition auto_verifier`: those of the vote that reads texts.

DIR is a replay set (docs/replay.md; default $MUSTER_REPLAY_DIR). The last line of output is one JSON object.
"""

import random
import sys
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from pydantic import JsonValue

from aggregators.outputs import make_aggregator
from aggregators.outputs.learned import LearnedVote
from aggregators.outputs.vote_fit import PENALTIES, Penalties, train_votes_with
from benchmarks.reporting import add_replay_set, finish, option_parser, progress
from orchestrator.bootstrap.replay import ReplayPlan, SeedReplay, with_vectors, worker_pool
from orchestrator.compositions.calls import expert_call
from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.compositions.waves import WaveOptions, n_in_any_case, why_ask_on
from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Ask, Done, Job, QueryState, Response
from orchestrator.domain.queries import Query
from orchestrator.evaluation.comparison import ECE_BINS
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.recording import Recording
from orchestrator.evaluation.replay.rows import Rows
from orchestrator.evaluation.replay.sets import TEST, ReplaySet, Split
from orchestrator.evaluation.replay.splits import profile_names, split
from orchestrator.evaluation.statistics import calibration_error
from orchestrator.ports.composing import Outlook, SequentialAggregator
from orchestrator.routing import make_router
from orchestrator.routing.posterior import PosteriorOptions
from orchestrator.runtime.garbage import no_cycle_collection
from orchestrator.settings.schema import CompositionSettings, MusterSettings

FOLDS = 4
STOPPING: Mapping[str, Sequence[float]] = {
    "agree": (2, 3),
    "confidence": (0.0, 0.2, 0.3, 0.4, 0.5, 0.6),
    "lookahead": (2, 3),
    "lookahead_share": (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0),
}

PROFILE = "profile"
LARGE, SMALL, TINY = "large", "small", "tiny"
N_TINY, N_TINY_LEFT_OUT = 100, 1000


class Subject(NamedTuple):
    """A composition whose constants are examined.

    Attributes:
        aggregator_options: for profiles as small as the parts.
        most_calls: mean calls per question that a pool may take.
        sizes: of profiles that it is for.
    """

    spec: CompositionSettings
    aggregator_options: Mapping[str, JsonValue]
    most_calls: Mapping[str, float]
    sizes: tuple[str, ...]
    within: Sequence[float]
    with_penalties: bool

    @property
    def shipped(self) -> WaveOptions:
        return WaveOptions.model_validate(self.spec.waves)


SUBJECTS: Mapping[str, Subject] = {
    "auto": Subject(
        STOCK_COMPOSITIONS["auto"],
        {},
        {"small": 3.2, "mid": 3.2, "all": 2.4},
        (TINY, SMALL, LARGE),
        (0.0, 0.03, 0.05, 0.1),
        with_penalties=True,
    ),
    "auto_verifier": Subject(
        STOCK_COMPOSITIONS["auto_verifier"],
        {"min_questions": 1000},
        {"small": 3.4, "mid": 3.4},
        (LARGE,),
        (0.0,),
        with_penalties=False,
    ),
}
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
        weights: that a vote of each would have, as far as is known before anybody answers.
        rungs: after the first one, the first two, ...
    """

    expert_ids: tuple[str, ...]
    weights: tuple[float, ...]
    rungs: tuple[Rung, ...]

    def asked(self, options: WaveOptions) -> int:
        """How many experts `Waves` asks under these options, >= 1."""
        first = n_in_any_case(self.weights, options)
        later = range(first, len(self.rungs) + 1)
        enough = (n for n in later if why_ask_on(self.rungs[n - 1].outlook, options) is None)
        return next(enough, len(self.rungs))


class Climber:
    """Answers the left-out questions of one part."""

    def __init__(self, replay: SeedReplay) -> None:
        self._replay = replay
        cards, profile = replay.knowledge
        assert profile is not None, "a replay has one"
        self.profile = profile
        self._pool = replay.recording.pool
        self._routing = replay.routing_context
        self._voting = AggregatorContext(
            grader=replay.grader, pool=self._pool, cards=cards, profile=profile, seed=0
        )

    def climb(
        self, subject: Subject, *, within: float | None = None, penalties: Penalties | None = None
    ) -> list[Ladder]:
        """A ladder for each left-out question; None = as shipped."""
        options = {} if within is None else {"within": within}
        router = make_router(subject.spec.router, self._routing, {**subject.spec.router_options, **options})
        inputs = self._replay.routing_inputs(self._replay.test)
        with no_cycle_collection():
            decisions = router.recruit(inputs, rng=random.Random(0))
            vote = self._vote(subject, penalties)
            return [
                self._ladder(vote, query, decision)
                for query, decision in zip(self._replay.test, decisions, strict=True)
            ]

    def _vote(self, subject: Subject, penalties: Penalties | None) -> SequentialAggregator:
        if penalties is None:
            vote = make_aggregator(subject.spec.aggregator, self._voting, subject.aggregator_options)
        else:
            trained = train_votes_with(self.profile, None, penalties)
            assert trained is not None, "responses are recorded"
            vote = LearnedVote(self._voting.grader, trained.model)
        assert isinstance(vote, SequentialAggregator)
        return vote

    def _ladder(self, vote: SequentialAggregator, query: Query, decision: Decision) -> Ladder:
        everybody = (*decision.recruits, *decision.reserves)
        nobody = decision.model_copy(update={"recruits": (), "reserves": everybody})
        before = QueryState(id=0, job_id=_JOB.id, query=query, decision=nobody)
        responses: list[Response] = []
        rungs = []
        for n, recruit in enumerate(everybody, 1):
            call = expert_call(self._pool.by_id[recruit.expert_id], query, _JOB)
            responses.append(self._replay.recording.respond(call, query, stage=n - 1))
            part = decision.model_copy(update={"recruits": everybody[:n], "reserves": everybody[n:]})
            state = QueryState(id=0, job_id=_JOB.id, query=query, decision=part)
            count = vote.count(state, responses)
            rungs.append(Rung(count.outlook, _is_right(self._replay.recording, count.done(), query)))
        weights = vote.count(before, ()).outlook.next_weights
        return Ladder(tuple(r.expert_id for r in everybody), weights, tuple(rungs))


def _is_right(recording: Recording, step: Ask | Done, query: Query) -> bool:
    assert isinstance(step, Done), "a vote asks nobody"
    return recording.score_of(query, step.answer) == 1


# ── parts of the profile ──────────────────────────────────────────────────────────────────────────


class Setting(NamedTuple):
    """A pool, and how large its profile is."""

    pool: str
    size: str


class Part(NamedTuple):
    setting: Setting
    columns: Split


def parts(
    replay: ReplaySet, seed: int, pools: Iterable[str], sizes: Container[str] = (TINY, SMALL, LARGE)
) -> list[Part]:
    """Divisions of the largest profile set of a seed; its test set is not touched."""
    names = profile_names(replay)
    whole, small = (split(replay, seed=seed, profile=name).profile for name in (names[-1], names[0]))
    fold = np.random.default_rng(seed).permutation(len(whole)) % FOLDS
    few = np.random.default_rng(seed).permutation(whole)[: N_TINY + N_TINY_LEFT_OUT]
    divisions = [(LARGE, Split(np.sort(whole[fold != f]), np.sort(whole[fold == f]))) for f in range(FOLDS)]
    divisions.append((TINY, Split(np.sort(few[:N_TINY]), np.sort(few[N_TINY:]))))
    if len(names) > 1:
        divisions.insert(0, (SMALL, Split(small, np.setdiff1d(whole, small))))
    return [
        Part(Setting(pool, size), columns) for pool in pools for size, columns in divisions if size in sizes
    ]


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


def is_affordable(scores: Scores, most_calls: Mapping[str, float]) -> bool:
    return all(score.calls <= most_calls.get(setting.pool, np.inf) for setting, score in scores.items())


def variants() -> list[WaveOptions]:
    return [
        WaveOptions.model_validate(dict(zip(STOPPING, values, strict=True)))
        for values in product(*STOPPING.values())
    ]


def chosen(of_variants: Mapping[WaveOptions, Scores], most_calls: Mapping[str, float]) -> WaveOptions:
    """The most accurate one of those that can be paid; ties: as listed."""
    affordable = [o for o in of_variants if is_affordable(of_variants[o], most_calls)]
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
    """What one part of a profile says; `of_penalties` only of the first seed's first parts."""

    seed: int
    setting: Setting
    of_within: Mapping[float, list[Ladder]]
    of_penalties: Mapping[str, list[Ladder]]


def compare_stopping(found: Sequence[Found], within: float) -> dict[WaveOptions, Scores]:
    scores = {}
    for options in variants():
        count = Count()
        for part in found:
            count.add(part.setting, part.of_within[within], options)
        scores[options] = count.scores
    return scores


def compare_within(found: Sequence[Found], shipped: WaveOptions) -> dict[float, dict[Setting, Within]]:
    compared: dict[float, dict[Setting, Within]] = {}
    for within in found[0].of_within:
        count, n_loads = Count(), defaultdict(list)
        for part in found:
            count.add(part.setting, part.of_within[within], shipped)
            n_loads[part.setting].append(loads(part.of_within[within], shipped))
        compared[within] = {s: Within(score, float(np.mean(n_loads[s]))) for s, score in count.scores.items()}
    return compared


def confidence_of(ladders: Sequence[Ladder], shipped: WaveOptions) -> Confidence:
    rungs = [ladder.rungs[ladder.asked(shipped) - 1] for ladder in ladders]
    right = np.array([rung.is_right for rung in rungs])
    stated = np.array([rung.outlook.confidence or 0.0 for rung in rungs])
    p = np.clip(np.where(right, stated, 1 - stated), 1e-6, 1)
    error = calibration_error(stated, right, bins=ECE_BINS)
    return Confidence(100 * float(right.mean()), float(-np.log(p).mean()), error)


def compare_penalties(found: Sequence[Found], shipped: WaveOptions) -> dict[str, dict[Setting, Confidence]]:
    examined = [part for part in found if part.of_penalties]
    return {
        name: {part.setting: confidence_of(part.of_penalties[name], shipped) for part in examined}
        for name in _penalties()
    }


def _penalties() -> dict[str, Penalties]:
    shared, own = np.array(PENALTIES.common), np.array(PENALTIES.per_expert)
    lengths, expert_lengths = np.array([0, 0, 1, 1, 1, 0]), np.array([0, 0, 1])

    def with_lengths(factor: float) -> Penalties:
        """Of all experts and of each one."""
        common, per_expert = shared * factor**lengths, own * factor**expert_lengths
        return PENALTIES._replace(common=tuple(common), per_expert=tuple(per_expert))

    def with_experts(factor: float) -> Penalties:
        return PENALTIES._replace(per_expert=tuple(factor * own))

    def with_calibration(factor: float) -> Penalties:
        return PENALTIES._replace(calibration=factor * PENALTIES.calibration)

    return {
        "shipped": PENALTIES,
        "lengths / 100": with_lengths(0.01),
        "experts / 5": with_experts(0.2),
        "experts x 5": with_experts(5),
        "calibration / 3": with_calibration(1 / 3),
        "calibration x 3": with_calibration(3),
    }


class _Wanted(NamedTuple):
    seed: int
    part: Part
    with_penalties: bool


def find(
    replay: ReplaySet, subject: Subject, seeds: Sequence[int], pools: Iterable[str], *, workers: int
) -> list[Found]:
    wanted = [
        _Wanted(seed, part, subject.with_penalties and seed == seeds[0] and is_first)
        for seed in seeds
        for part, is_first in _with_first(parts(replay, seed, pools, subject.sizes))
    ]
    shares = [wanted[i::workers] for i in range(workers)]
    with worker_pool(workers) as executor:
        return [found for share in executor.map(partial(_find, replay, subject), shares) for found in share]


def _with_first(divisions: Sequence[Part]) -> Iterator[tuple[Part, bool]]:
    """Each part, and whether it is the first of its setting."""
    seen: set[Setting] = set()
    for part in divisions:
        yield part, part.setting not in seen
        seen.add(part.setting)


def _find(replay: ReplaySet, subject: Subject, wanted: Sequence[_Wanted]) -> list[Found]:
    found = []
    for seed, part, with_penalties in wanted:
        of_part = climber(replay, part)
        of_within = {within: of_part.climb(subject, within=within) for within in subject.within}
        tried = _penalties() if with_penalties else {}
        of_penalties = {name: of_part.climb(subject, penalties=p) for name, p in tried.items()}
        found.append(Found(seed, part.setting, of_within, of_penalties))
        progress(f"seed {seed}, {part.setting.pool}, {part.setting.size}")
    return found


def regret(of_variants: Mapping[WaveOptions, Scores], shipped: WaveOptions) -> tuple[WaveOptions, float]:
    """The most accurate variant that takes no more calls than the shipped one, and what it gains."""
    scores = of_variants[shipped]
    cheap = [o for o in of_variants if mean_calls(of_variants[o]) <= mean_calls(scores)]
    best = max(cheap, key=lambda options: mean_accuracy(of_variants[options]))
    return best, mean_accuracy(of_variants[best]) - mean_accuracy(scores)


def _stopping_result(found: Sequence[Found], subject: Subject) -> dict[str, object]:
    within, shipped = PosteriorOptions().within, subject.shipped
    scores = compare_stopping(found, within)
    best = chosen(scores, subject.most_calls)
    of_seeds = {seed: [part for part in found if part.seed == seed] for seed in {f.seed for f in found}}
    regrets = {seed: regret(compare_stopping(of, within), shipped) for seed, of in of_seeds.items()}
    return {
        "most_calls": dict(subject.most_calls),
        "chosen": best.model_dump(),
        "is_shipped": best == shipped,
        "chosen_mean": mean_accuracy(scores[best]),
        "shipped_mean": mean_accuracy(scores[shipped]),
        "shipped": _shown({setting: score._asdict() for setting, score in scores[shipped].items()}),
        "of_seeds": {
            str(seed): {"best_at_equal_calls": options.model_dump(), "gain": gain}
            for seed, (options, gain) in regrets.items()
        },
    }


def _shown(of_settings: Mapping[Setting, object]) -> dict[str, object]:
    return {f"{setting.pool}, {setting.size}": value for setting, value in of_settings.items()}


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    add_replay_set(parser)
    parser.add_argument("--composition", choices=tuple(SUBJECTS), default="auto")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    subject = SUBJECTS[args.composition]
    replay = with_vectors(read_replay_set(Path(args.folder)), MusterSettings())
    seeds = [int(seed) for seed in args.seeds.split(",")]
    pools = [pool for pool in subject.most_calls if pool in replay.pools] or list(replay.pools)
    found = find(replay, subject, seeds, pools, workers=args.workers)
    within = {
        str(w): _shown({s: {**v.score._asdict(), "loads": v.loads} for s, v in of.items()})
        for w, of in compare_within(found, subject.shipped).items()
    }
    penalties = {
        name: _shown({s: confidence._asdict() for s, confidence in of.items()})
        for name, of in compare_penalties(found, subject.shipped).items()
        if of
    }
    stopping = _stopping_result(found, subject)
    finish({"stopping": stopping, "within": within, "penalties": penalties})


if __name__ == "__main__":
    main()
