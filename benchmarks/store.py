"""What the job store costs alone: `python -m benchmarks.store --url postgresql://HOST/EMPTY_DATABASE`; and
where much waits: `python -m benchmarks.store --rows 10000000` (see `store_at_size`).

One process takes a job of `--queries` queries through its life as the workers do, in their chunk sizes:
submit, take_ready and advance to three calls each, claim, complete, take_ready with the responses,
advance to the answer, read the answers. Nothing is generated or routed.

The last line of output is one JSON object: microseconds per query of each phase by the clock (`*_us`) and
of this process's CPU (`*_cpu_us`; the rest is the database's), their sums, and rows written per second.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser
from benchmarks.scripted_pool import queries
from orchestrator.domain.answers import Answer, Decision, Recruit, SkillEvidence, Usage, Vote
from orchestrator.domain.assignments import Ask, Assignment, Call, CallRole, Done, Job, QueryState, Response
from orchestrator.domain.posteriors import Interval
from orchestrator.domain.queries import Message
from orchestrator.domain.skills import SkillTag
from orchestrator.ports.jobs import Completion
from orchestrator.store import SqlJobStore, open_database

STEPS, SHARD, COMMIT = 512, 256, 64
ROWS = 200_000
OWNER = "bench:0"
ENGINE_OF = {f"expert-{i}": f"engine-{i}" for i in range(3)}
SKILLS = ("algebra", "number theory", "unit conversion")
TEXT = "The question asks for a value. Working through it step by step gives the result. " * 5
ROWS_PER_QUERY = 9
"""The query, its prompt, 3 assignments, 3 responses, its answer."""


class Stopwatch:
    """Seconds by phase: of the clock, of this process's CPU."""

    def __init__(self) -> None:
        self.clock: defaultdict[str, float] = defaultdict(float)
        self.cpu: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, phase: str) -> Iterator[None]:
        clock, cpu = time.perf_counter(), time.process_time()
        yield
        self.clock[phase] += time.perf_counter() - clock
        self.cpu[phase] += time.process_time() - cpu

    def report(self, n: int) -> dict[str, float]:
        clock, cpu = ({**part, "total": sum(part.values())} for part in (self.clock, self.cpu))
        figures = {f"{phase}_us": 1e6 * seconds / n for phase, seconds in clock.items()}
        figures |= {f"{phase}_cpu_us": 1e6 * seconds / n for phase, seconds in cpu.items()}
        figures["rows_per_s"] = ROWS_PER_QUERY * n / clock["total"]
        return {name: round(figure, 1) for name, figure in figures.items()}


def run(store: SqlJobStore, n: int, watch: Stopwatch) -> None:
    job = Job(id=f"bench-{time.time_ns()}", composition="auto")
    with watch.time("submit"):
        store.submit(job, queries(n))
    _step_all(store, watch, "ask", _ask)
    for engine_id in ENGINE_OF.values():
        _serve(store, watch, engine_id)
    _step_all(store, watch, "done", _done)
    with watch.time("answers"):
        assert sum(1 for _ in store.answers(job.id)) == n
    progress = store.job(job.id)
    assert (progress.completed, progress.n_responses) == (n, 3 * n), progress


def _step_all(
    store: SqlJobStore, watch: Stopwatch, name: str, step: Callable[[QueryState], Ask | Done]
) -> None:
    while True:
        with watch.time(f"take_{name}"):
            states = store.take_ready(limit=STEPS, for_s=30)
        if not states:
            return
        steps = [(state, step(state)) for state in states]
        with watch.time(f"advance_{name}"):
            assert store.advance(steps, ENGINE_OF) == len(steps)


def _serve(store: SqlJobStore, watch: Stopwatch, engine_id: str) -> None:
    while True:
        with watch.time("claim"):
            claimed = store.claim(engine_id, owner=OWNER, limit=SHARD, lease_s=60).assignments
        if not claimed:
            return
        finished = [Completion(a.id, a.attempt, _response(a)) for a in claimed]
        for start in range(0, len(finished), COMMIT):
            part = finished[start : start + COMMIT]
            with watch.time("complete"):
                assert store.complete(OWNER, part) == len(part)


def _ask(state: QueryState) -> Ask:
    messages = (Message(role="user", content=f"Answer briefly.\n\n{state.query.text}"),)
    calls = tuple(Call(expert_id=e, role=CallRole.EXPERT, messages=messages) for e in ENGINE_OF)
    return Ask(calls=calls, decision=_decision(state.id))


def _response(assignment: Assignment) -> Response:
    return Response(
        expert_id=assignment.call.expert_id,
        role=CallRole.EXPERT,
        stage=assignment.stage,
        text=f"{TEXT}The answer is {assignment.query_id}.",
        usage=Usage(prompt_tokens=40, completion_tokens=100),
        latency_ms=12.5,
    )


def _done(state: QueryState) -> Done:
    value = str(state.id)
    return Done(
        answer=Answer(
            text=value,
            value=value,
            confidence=0.8,
            aggregator="majority",
            votes=tuple(Vote(expert_id=e, value=value, weight=1.0) for e in ENGINE_OF),
            decision=state.decision,
            usage_by_role={"expert": Usage(prompt_tokens=120, completion_tokens=300)},
            n_calls=3,
        )
    )


def _decision(seed: int) -> Decision:
    evidence = tuple(
        SkillEvidence(
            skill=s, weight=0.5, score=2.0, n=20, accuracy=0.8, interval=Interval(low=0.6, high=0.9)
        )
        for s in SKILLS
    )
    recruits = [
        Recruit(expert_id=e, weight=0.3, score=2.5, accuracy=0.8, evidence=evidence) for e in ENGINE_OF
    ]
    return Decision(
        router="symbolic",
        recruits=tuple(recruits),
        skills=tuple(SkillTag(name=s, weight=0.5) for s in SKILLS),
        runner_up=recruits[0],
        card_version="0123456789abcdef",
        seed=seed,
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--url", help="database; default: a SQLite file in a temporary folder")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument(
        "--rows",
        type=int,
        nargs="?",
        const=ROWS,
        help=f"look at books with so many waiting calls instead (default {ROWS:,}); without --url on a"
        " PostgreSQL server of its own",
    )
    options = parser.parse_args(argv)
    if options.rows is not None:
        from benchmarks.store_at_size import measure

        finish(measure(options.url, options.rows))
        return
    with tempfile.TemporaryDirectory() as folder:
        store = SqlJobStore(open_database(options.url or f"sqlite:///{folder}/bench.db"))
        watch = Stopwatch()
        run(store, options.queries, watch)
        store.close()
    finish(watch.report(options.queries))


if __name__ == "__main__":
    main()
