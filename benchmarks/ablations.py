"""What each choice is worth on recorded answers: `python -m benchmarks.ablations [DIR]`.

    k               how many experts are recruited
    profile_size    50 questions up to the whole profile, nested subsets
    replacement     Symbolic-MoE's draws with and without replacement, and its scores taken from the top
    shrinkage       pseudo-observations behind local accuracies and behind skills
    skills          read from the text, from a fixed vocabulary, or given as the data set's labels (oracle)
    adaptive        when `auto` stops asking, and its vote and router with a fixed number of experts
    diversity       sub-pools of eight: the strongest, the least alike, by chance; recruits that err alike
    within          how much less accurate experts are asked in one shared order
    verifier        which signs of the texts it sees, test-taking cues among them

Every variant is a row of `VARIANTS`: a composition, and what it differs in. DIR is a replay set
(docs/replay.md; default $MUSTER_REPLAY_DIR). The last line of output is one JSON object.
"""

import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from benchmarks.reporting import add_replay_set, finish, option_parser, progress
from orchestrator.bootstrap.replay import ReplayPlan, run_replay
from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.recording import Recording
from orchestrator.evaluation.replay.results import ReplayRow
from orchestrator.evaluation.replay.rows import PUBLISHED, Rows
from orchestrator.evaluation.replay.sets import TEST, IntArray, ReplaySet
from orchestrator.evaluation.replay.splits import profile_names, split
from orchestrator.settings.schema import CompositionSettings, MusterSettings, SkillSettings

SIZES = (50, 100, 200, 350, 700, 1400, 2002)
SUB_POOL = 8
STRONGEST, LEAST_ALIKE, BY_CHANCE = "strongest", "least_alike", "by_chance"


class Variant(NamedTuple):
    """One row of an ablation.

    Attributes:
        pool, profile: names; None = those of the command line.
    """

    group: str
    name: str
    spec: CompositionSettings
    pool: str | None = None
    profile: str | None = None
    labels: bool = False
    skills: SkillSettings = SkillSettings()

    @property
    def row(self) -> str:
        return f"{self.group}:{self.name}"


def spec(
    router: str, aggregator: str = "majority", **options: float | int | str | bool
) -> CompositionSettings:
    return CompositionSettings(router=router, router_options=dict(options), aggregator=aggregator)


def sized(n: int) -> str:
    return f"first{n}"


AUTO, SINGLE, STATIC = (STOCK_COMPOSITIONS[name] for name in ("auto", "best_single", "static_top_3"))
VERIFIER = STOCK_COMPOSITIONS["auto_verifier"]
SIGNS = (
    ("form",),
    ("consistency",),
    ("form", "consistency"),
    ("form", "consistency", "hedging"),
    ("cues",),
    ("form", "consistency", "hedging", "cues"),
)


def routed(**options: float) -> CompositionSettings:
    """`auto` with other options of its router."""
    return AUTO.model_copy(update={"router_options": dict(options)})


def seeing(*signs: str) -> CompositionSettings:
    return VERIFIER.model_copy(update={"aggregator_options": {"signs": list(signs)}})


def unverified() -> CompositionSettings:
    """The verifier's rule for when to stop, without a verifier."""
    return AUTO.model_copy(update={"waves": VERIFIER.waves})


def asking(**waves: float) -> CompositionSettings:
    """`auto` with other rules for when to stop."""
    return AUTO.model_copy(update={"waves": waves})


VARIANTS: tuple[Variant, ...] = (
    *(Variant("k", f"knn k={k}", spec("knn", k=k)) for k in (1, 2, 3, 4, 5, 7)),
    *(Variant("k", f"static k={k}", spec("top_k", k=k)) for k in (1, 2, 3, 4, 5, 7)),
    *(
        Variant("profile_size", f"{name} n={n}", of, profile=sized(n))
        for n in SIZES
        for name, of in (("auto", AUTO), ("knn", PUBLISHED["knn"]), ("static_top_3", STATIC))
    ),
    Variant("replacement", "drawn with", PUBLISHED["symbolic_paper"]),
    Variant("replacement", "drawn without", spec("symbolic", selection="sample", score="paper")),
    Variant("replacement", "top", spec("symbolic", selection="top", score="paper")),
    *(
        Variant("shrinkage", f"knn-100 strength={s:g}", spec("knn", n_neighbours=100, prior_strength=s))
        for s in (1e-6, 2, 5, 10, 20, 50)
    ),
    *(
        Variant("shrinkage", f"skills strength={s:g}", spec("symbolic", prior_strength=s))
        for s in (1e-6, 2, 5, 10, 20, 50)
    ),
    Variant("skills", "text, induced", spec("symbolic")),
    Variant("skills", "text, builtin", spec("symbolic"), skills=SkillSettings(vocabulary="builtin")),
    *(
        Variant("skills", f"text, {n} induced", spec("symbolic"), skills=SkillSettings(n_induced=n))
        for n in (8, 16, 32, 64)
    ),
    Variant("skills", "labels (oracle)", spec("symbolic"), labels=True),
    Variant("skills", "text, auto", AUTO),
    Variant("skills", "labels, auto", AUTO, labels=True),
    *(Variant("adaptive", f"agree={n}", asking(agree=n)) for n in (1, 2, 3)),
    *(Variant("adaptive", f"confidence={c:g}", asking(confidence=c)) for c in (0.0, 0.2, 0.3, 0.4, 0.5)),
    *(Variant("adaptive", f"lookahead_share={s:g}", asking(lookahead_share=s)) for s in (0.5, 0.9, 1.3)),
    *(
        Variant("adaptive", f"fixed k={k}, {vote}", spec("posterior", vote, k=k, first=k))
        for k in (3, 4)
        for vote in ("majority", "weighted", "learned")
    ),
    *(
        Variant("diversity", f"{pool} {name}", of, pool=pool)
        for pool in (STRONGEST, LEAST_ALIKE, BY_CHANCE)
        for name, of in (("auto", AUTO), ("static_top_3", STATIC), ("best_single", SINGLE))
    ),
    *(Variant("diversity", f"auto, alike={a:g}", routed(alike=a)) for a in (0.0, 0.05, 0.1, 0.2)),
    *(Variant("within", f"within={w:g}", routed(within=w)) for w in (0.0, 0.02, 0.05, 0.1, 1.0)),
    Variant("verifier", "no texts, same stopping", unverified()),
    *(Variant("verifier", ", ".join(signs), seeing(*signs)) for signs in SIGNS),
)


def with_nested_profiles(replay: ReplaySet, seeds: Sequence[int]) -> ReplaySet:
    """The set with profiles of each size: each holds the smaller ones, recorded ones included."""
    splits = {f"seed{seed}": _nested(replay, seed) for seed in seeds}
    return replace(replay, splits=splits)


def _nested(replay: ReplaySet, seed: int) -> Mapping[str, IntArray]:
    rng = random.Random(seed)
    order: list[int] = []
    sets = {name: split(replay, seed=seed, profile=name) for name in profile_names(replay)}
    for name in profile_names(replay):  # smallest first
        fresh = sorted(set(sets[name].profile.tolist()) - set(order))
        order += rng.sample(fresh, len(fresh))
    whole = np.array(order, dtype=np.int64)
    test = next(iter(sets.values())).test
    recorded = {name: of.profile for name, of in sets.items()}
    return {**recorded, **{sized(n): whole[:n] for n in SIZES if n <= len(whole)}, TEST: test}


def with_sub_pools(replay: ReplaySet, pool: str) -> ReplaySet:
    """The set with three pools of eight experts from `pool`, chosen on the first seed's profile."""
    rows = np.array(replay.rows(pool))
    profile = split(replay, seed=0, profile=profile_names(replay)[-1]).profile
    recording = Recording(replay, pool)
    right = np.array([[recording.score(i, c) == 1 for c in profile.tolist()] for i in range(len(rows))])
    chosen = {
        STRONGEST: np.argsort(-right.mean(axis=1), kind="stable")[:SUB_POOL].tolist(),
        LEAST_ALIKE: least_alike(right, SUB_POOL),
        BY_CHANCE: random.Random(0).sample(range(len(rows)), min(SUB_POOL, len(rows))),
    }
    members = {name: {int(rows[i]) for i in of} for name, of in chosen.items()}
    experts = tuple(
        e.model_copy(update={"pools": (*e.pools, *(n for n, of in members.items() if row in of))})
        for row, e in enumerate(replay.experts)
    )
    return replace(replay, experts=experts)


def least_alike(right: np.ndarray, n: int) -> list[int]:
    """The strongest expert, then who errs least together with those chosen; `right`: bool [E, Q]."""
    alike = np.nan_to_num(np.corrcoef(right.astype(np.float64)), nan=1.0)
    chosen = [int(right.mean(axis=1).argmax())]
    while len(chosen) < min(n, len(right)):
        left = [i for i in range(len(right)) if i not in chosen]
        chosen.append(min(left, key=lambda i: (float(alike[i, chosen].mean()), i)))
    return chosen


def run(
    replay: ReplaySet,
    variants: Iterable[Variant],
    *,
    pool: str,
    profile: str,
    seeds: Sequence[int],
    workers: int,
) -> dict[str, ReplayRow]:
    """Variant -> its row. Variants of one pool, profile and annotation are replayed together."""
    found: dict[str, ReplayRow] = {}
    for plan in _plans(variants, pool, profile, tuple(seeds)):
        report = run_replay(replay, plan, workers=workers).report
        found.update({row.name: row for row in report.rows})
    return found


def _plans(variants: Iterable[Variant], pool: str, profile: str, seeds: tuple[int, ...]) -> list[ReplayPlan]:
    groups: dict[str, list[Variant]] = {}
    for variant in variants:
        key = json.dumps([variant.pool, variant.profile, variant.labels, variant.skills.model_dump()])
        groups.setdefault(key, []).append(variant)
    return [
        ReplayPlan(
            pool=members[0].pool or pool,
            profile=members[0].profile or profile,
            seeds=seeds,
            rows=Rows(tuple(v.row for v in members), {v.row: v.spec for v in members}),
            labels=members[0].labels,
            muster=MusterSettings(skills=members[0].skills),
        )
        for members in groups.values()
    ]


def line(variant: Variant, row: ReplayRow) -> str:
    return f"| {variant.name} | {row.accuracy:.2f} ({row.sd:.2f}) | {row.calls:.2f} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    add_replay_set(parser)
    parser.add_argument("--pool", help="default: the largest")
    parser.add_argument("--groups", help="separated by commas; default: all")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    recorded = read_replay_set(Path(args.folder))
    pool = args.pool or recorded.largest_pool
    replay = with_sub_pools(with_nested_profiles(recorded, seeds), pool)
    names = set(replay.splits[f"seed{seeds[0]}"])
    groups = args.groups.split(",") if args.groups else sorted({v.group for v in VARIANTS})
    variants = [v for v in VARIANTS if v.group in groups and (v.profile is None or v.profile in names)]
    profile = profile_names(recorded)[-1]
    rows = run(replay, variants, pool=pool, profile=profile, seeds=seeds, workers=args.workers)
    for group in groups:
        progress(f"\n**{group}**\n\n| variant | accuracy (sd) | calls |\n|---|---|---|")
        progress("\n".join(line(v, rows[v.row]) for v in variants if v.group == group))
    result = {
        group: {
            v.name: rows[v.row].model_dump(mode="json", exclude={"name"})
            for v in variants
            if v.group == group
        }
        for group in groups
    }
    finish({"pool": pool, "profile": profile, "seeds": seeds, "ablations": result})


if __name__ == "__main__":
    main()
