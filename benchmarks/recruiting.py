"""Seconds of recruiting and of fitting: `python -m benchmarks.recruiting [DIR]`.

    read_s       skills of 10,000 questions, embeddings ready (whatever router follows)
    recruit_s    decisions of `auto` on them, with evidence
    fit_s        annotator, router and vote of `auto` on the largest profile set, nothing cached
    verifier_s   what `auto_verifier` fits beyond that; null without recorded texts

One core, median of `--repeat` runs (fitting: one run). DIR is a replay set (docs/replay.md; default
$MUSTER_REPLAY_DIR); `--pool` names the pool. The last line of output is one JSON object.
"""

import random
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import add_replay_set, finish, option_parser
from orchestrator.bootstrap.replay import ReplayPlan, SeedReplay, with_vectors
from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.domain.assignments import Job
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.rows import Rows
from orchestrator.evaluation.replay.sets import ReplaySet
from orchestrator.evaluation.replay.splits import profile_names
from orchestrator.routing import make_router
from orchestrator.settings.schema import MusterSettings

N_QUERIES = 10_000


def seed_replay(replay: ReplaySet, pool: str) -> SeedReplay:
    plan = ReplayPlan(pool=pool, profile=profile_names(replay)[-1], seeds=(0,), rows=Rows((), {}))
    return SeedReplay(replay, plan, 0)


def fit_seconds(replay: SeedReplay) -> dict[str, float | None]:
    """Of everything that `auto` learns, cards included, and of what the verifier learns beyond that."""
    began = time.perf_counter()
    build(replay, "auto")
    fitted = time.perf_counter()
    if not replay.recording.has_texts:
        return {"fit_s": fitted - began, "verifier_s": None}
    build(replay, "auto_verifier")
    return {"fit_s": fitted - began, "verifier_s": time.perf_counter() - fitted}


def build(replay: SeedReplay, composition: str) -> None:
    replay.catalogue.build(Job(id="recruiting", composition=composition))


def recruiting_seconds(replay: SeedReplay, repeat: int) -> dict[str, float]:
    """Of `N_QUERIES` test questions, again from the first when they run out."""
    queries = list(islice(cycle(replay.test), N_QUERIES))
    auto = STOCK_COMPOSITIONS["auto"]
    router = make_router(auto.router, replay.routing_context, auto.router_options)
    read, recruit = [], []
    for _ in range(repeat):
        began = time.perf_counter()
        inputs = replay.routing_inputs(queries)
        have_read = time.perf_counter()
        decisions = router.recruit(inputs, rng=random.Random(0))
        recruit.append(time.perf_counter() - have_read)
        read.append(have_read - began)
        assert len(decisions) == N_QUERIES, len(decisions)
    return {"read_s": median(read), "recruit_s": median(recruit)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    add_replay_set(parser)
    parser.add_argument("--pool", default="all")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args(argv)
    replay = seed_replay(with_vectors(read_replay_set(Path(args.folder)), MusterSettings()), args.pool)
    seconds = {**fit_seconds(replay), **recruiting_seconds(replay, args.repeat)}
    profile = replay.routing_context.profile
    assert profile is not None, "a replay has one"
    size = {"n_experts": len(profile.expert_ids), "n_questions": len(profile.texts), "n_queries": N_QUERIES}
    finish({"pool": args.pool, **size, **seconds})


if __name__ == "__main__":
    main()
