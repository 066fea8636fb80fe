"""What residency buys on real vLLM: `python -m benchmarks.residency` (about 20 minutes on 2 cores; `--small`
about 5: half the questions, the devices only, against the seed's way without pauses).

The stack as a user starts it, with experts of the zoo on vLLM, one resident engine per device, against
scripts around vLLM that answer the very same calls, in the same run:

    seed_way_s                 one process, a fresh LLM() per expert, one after the other, 10 s pauses
    seed_way_no_sleep_s        the same without the pauses
    server_swap_s              one HTTP server started and stopped per model, as model-swapping proxies do
    per_query_s_extrapolated   every call loads its model anew: measured on a few, multiplied

Routing is `random` with k = 3, so that every engine has work; the aggregator synthesizes. Keys of the last
line: `one_device`, `two_devices` (one core each), `with_smollm2` (it is an expert and the aggregator; only
with --smollm2 DIR), `two_jobs`, `first_token_s`. Loads are counted where engines are loaded.

    over_bound             makespan over the bound of schedules in which a device loads or works
    over_overlapped_bound  makespan over the bound of schedules that hide loads behind work
    over_shared_bound      makespan over the larger of that bound and `cpu_bound_s`, see below

The bounds are measured under the conditions of the run. Loads: as many at once as there are devices, each on
the cores that serve its device, every engine `WARM_UPS` times before the job, the quickest of its loads.
Work: the seconds in which an engine held a device and served in the job itself, while the neighbours worked.
One device has all cores and nobody beside it. The cores should be quiet: what else runs makes both longer.

The second bound takes loads and work to be free of each other. Here they share the cores of one machine,
so no schedule is shorter than all processor time over all cores either: `cpu_bound_s`, from what the
processes of the service (API, beat, workers and their engines) took from the job's submission to its end;
the database's is not counted. The first load is not added to it: steps of the job may run beside that
load, and a load alone keeps more than one core busy. It bounds what runs as this run did: an engine that
needs less processor time for the same work, with fewer threads or nothing beside it, lowers it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import httpx

from benchmarks.reporting import finish, option_parser, progress
from benchmarks.stack import MeasuredStack, open_stack
from orchestrator.batching import Family, lower_bound_s, overlapped_bound_s
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import Failed, GenerationRequest
from tests.harness.processes import free_port, lineage_cpu_s
from workers.backends.registry import get_backend

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "examples" / "zoo" / "models"
EXPERTS = ("generalist", "arith-a", "reverse", "sort", "roman", "metric", "isodate", "capitals")
AGGREGATOR = "aggregator"
MAX_MODEL_LEN = 512
CONCURRENT = 64
START_S, POLL_S = 300.0, 0.1
SCRIPTS = Path(__file__).with_name("vllm_scripts.py")

WARM_UP = {"id": "warm-up", "question": "Reverse 'abc'."}
WARM_UPS = 2

Work = list[dict[str, Any]]


class Setting(NamedTuple):
    """A pool and the devices that serve it. `cores[i]`: the processor of worker i; None = all."""

    config: Path
    cores: tuple[int | None, ...]

    @property
    def threads(self) -> int:
        return len(os.sched_getaffinity(0)) if self.cores == (None,) else 1


def vllm_python() -> str:
    named = os.environ.get("MUSTER_VLLM_PYTHON") or str(ROOT / ".venv-vllm" / "bin" / "python")
    if not Path(named).exists():
        raise SystemExit("there is no .venv-vllm: run scripts/setup-vllm.sh first.")
    return named


def pool_file(folder: Path, *, smollm2: Path | None = None) -> Path:
    """Experts and an aggregator; with `smollm2` that model is both an expert and the aggregator."""
    members = [_member(name, MODELS / name) for name in EXPERTS]
    if smollm2 is None:
        members.append(_member(AGGREGATOR, MODELS / AGGREGATOR, roles=["aggregator"]))
    else:
        members.append(_member("smollm2", smollm2.resolve(), roles=["expert", "aggregator"]))
    composition = {"router": "random", "router_options": {"k": 3}, "aggregator": "synthesize"}
    path = folder / "pool.yaml"
    document = {"model_list": members, "muster": {"compositions": {"residency": composition}}}
    path.write_text(json.dumps(document))  # JSON is YAML
    return path


def _member(name: str, model: Path, *, roles: Sequence[str] = ("expert",)) -> dict[str, Any]:
    muster = {"engine": "vllm", "max_model_len": MAX_MODEL_LEN, "roles": list(roles)}
    if model.parent == MODELS:
        muster |= {"prompt": "plain", "synthesize_prompt": "compact"}
    return {
        "model_name": name,
        "litellm_params": {"model": str(model), "max_tokens": 24},
        "model_info": {"muster": muster},
    }


# ── Muster ────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def stack_of(setting: Setting) -> Iterator[MeasuredStack]:
    """A running stack whose workers wait, with their warm children ready."""
    with tempfile.TemporaryDirectory() as folder:
        threads = {"OMP_NUM_THREADS": str(setting.threads), "MUSTER_SCHEDULER__MAX_RESIDENT": "1"}
        with open_stack(setting.config, Path(folder), env=threads) as stack:
            for ix, core in enumerate(setting.cores):
                stack.launch(f"worker-{ix}", "worker", "--device", f"cpu:{ix}" if ix else "cpu", core=core)
            _await_workers(stack, len(setting.cores))
            _warm_up(stack, setting.config, at_once=len(setting.cores))
            yield stack


def _await_workers(stack: MeasuredStack, n: int) -> None:
    """Until `n` devices report."""
    deadline = time.monotonic() + START_S
    while len(stack.rows("SELECT owner FROM device")) < n:
        if time.monotonic() > deadline:
            raise SystemExit("the workers did not report.")
        time.sleep(POLL_S)


def _warm_up(stack: MeasuredStack, config: Path, *, at_once: int) -> None:
    """Load every engine `WARM_UPS` times, as in a service that runs: the first child of a device imports
    while it loads, which is no engine's cost.

    So many are loaded at once as there are devices: a load beside another takes longer than one by itself.
    """
    names = WARM_UPS * [member["model_name"] for member in json.loads(config.read_text())["model_list"]]
    for first in range(0, len(names), at_once):
        together = names[first : first + at_once]
        together += names[: at_once - len(together)]
        for job_id in [stack.submit_lines([WARM_UP], composition=name) for name in together]:
            stack.wait(job_id)


def answered(setting: Setting, questions: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], Work]:
    """Figures of one job on a stack, and the calls that it made."""
    with stack_of(setting) as stack:
        began, before_s = time.monotonic(), taken_s(stack)
        job = stack.wait(stack.submit_lines(questions, composition="residency"))
        makespan_s, cpu_s = time.monotonic() - began, taken_s(stack) - before_s
        figures = {
            "loads": job["loads"],
            "engines": len({row[0] for row in _calls(stack, job["id"])}),
            "first_load_after_s": _first_load_after_s(stack, job["id"]),
            **over_bounds(
                _measured_families(stack, job["id"]),
                n_devices=len(setting.cores),
                n_cores=len(os.sched_getaffinity(0)),
                makespan_s=makespan_s,
                cpu_s=cpu_s,
            ),
        }
        return figures, _work(stack, job["id"], models_of(setting.config))


def over_bounds(
    families: Sequence[Family], *, n_devices: int, n_cores: int, makespan_s: float, cpu_s: float
) -> dict[str, float]:
    """A run over the bounds of its engines' loads and work, and of the processor time that it took.

    Args:
        makespan_s: of the job.
        cpu_s: of all processes of the service meanwhile, on the `n_cores` that they share.
    """
    bound = lower_bound_s(families, n_devices=n_devices)
    overlapped = overlapped_bound_s(families, n_devices=n_devices)
    return {
        "makespan_s": makespan_s,
        "lower_bound_s": bound,
        "overlapped_bound_s": overlapped,
        "cpu_s": cpu_s,
        "cpu_bound_s": cpu_s / n_cores,
        "over_bound": makespan_s / bound,
        "over_overlapped_bound": makespan_s / overlapped,
        "over_shared_bound": makespan_s / max(overlapped, cpu_s / n_cores),
        "sum_of_loads_s": sum(family.load_s for family in families),
        "sum_of_work_s": sum(family.work_s for family in families),
    }


def taken_s(stack: MeasuredStack) -> float:
    """Processor time that the service's processes have taken, with those that they had and waited for."""
    return sum(lineage_cpu_s(process.pid) for process in stack.named.values())


def _first_load_after_s(stack: MeasuredStack, job_id: str) -> float:
    """Seconds from a job's submission until its first load begins, or what was loaded ahead is used."""
    return min((stay["load_from_s"] for stay in stack.plan(job_id)["stays"]), default=0.0)


def _measured_families(stack: MeasuredStack, job_id: str) -> list[Family]:
    """Engines on the bounds' terms: each one's load as its quickest before the job, see `_warm_up`; its work
    as the seconds that it held a device and served. What an engine did that was there when the job began,
    before its first load in it, is on no plan: without that the bounds are lower."""
    load_s = dict(
        stack.rows(
            "SELECT engine_id, min(seconds) FROM engine_load"
            " WHERE at < (SELECT created_at FROM job WHERE id = %s) GROUP BY 1",
            job_id,
        )
    )
    work_s: dict[str, float] = {}
    for stay in stack.plan(job_id)["stays"]:
        served_s = stay["until_s"] - stay["serve_from_s"]
        work_s[stay["engine"]] = work_s.get(stay["engine"], 0.0) + served_s
    return [Family(load_s[engine_id], seconds) for engine_id, seconds in work_s.items()]


def two_jobs(setting: Setting, questions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The same two jobs at once, and one after the other, each way on a stack of its own."""
    halves = [list(questions[::2]), list(questions[1::2])]
    with stack_of(setting) as stack:
        began = time.monotonic()
        ids = [stack.submit_lines(half, composition="residency") for half in halves]
        for job_id in ids:
            stack.wait(job_id)
        together_s = time.monotonic() - began
        loads = _n_loads(stack, began_with=ids[0])
        engines = len({row[0] for job_id in ids for row in _calls(stack, job_id)})
    with stack_of(setting) as stack:
        began = time.monotonic()
        for half in halves:
            stack.wait(stack.submit_lines(half, composition="residency"))
        one_after_other_s = time.monotonic() - began
    return {
        "loads": loads,
        "engines": engines,
        "together_s": together_s,
        "one_after_other_s": one_after_other_s,
    }


def _n_loads(stack: MeasuredStack, *, began_with: str) -> int:
    statement = "SELECT count(*) FROM engine_load WHERE at >= (SELECT created_at FROM job WHERE id = %s)"
    return int(stack.rows(statement, began_with)[0][0])


def _calls(stack: MeasuredStack, job_id: str) -> list[tuple[Any, ...]]:
    return stack.rows(
        "SELECT a.engine_id, a.expert_id, a.stage, p.messages, a.sampling FROM assignment a"
        " JOIN job j ON j.pk = a.job_pk"
        " JOIN prompt p ON p.query_pk = a.query_pk AND p.stage = a.stage AND p.ix = a.prompt_ix"
        " WHERE j.id = %s ORDER BY a.stage, a.engine_id, a.pk",
        job_id,
    )


def models_of(config: Path) -> dict[str, str]:
    """Directory of each expert's weights."""
    members = json.loads(config.read_text())["model_list"]
    return {member["model_name"]: member["litellm_params"]["model"] for member in members}


def _work(stack: MeasuredStack, job_id: str, models: Mapping[str, str]) -> Work:
    """The calls of a job by stage and engine, as `vllm_scripts.py` takes them."""
    work: dict[tuple[int, str], dict[str, Any]] = {}
    for engine_id, expert_id, stage, messages, sampling in _calls(stack, job_id):
        item = work.setdefault(
            (stage, engine_id), {"engine": engine_id, "model": models[expert_id], "calls": []}
        )
        item["calls"].append(
            {"messages": json.loads(messages), "max_tokens": json.loads(sampling)["max_tokens"]}
        )
    return list(work.values())


# ── without Muster ────────────────────────────────────────────────────────────────────────────────


def seed_way(work: Work, *, threads: int) -> dict[str, float]:
    """Seconds of the seed's way without its pauses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.json"
        path.write_text(json.dumps(work))
        began = time.monotonic()
        _script(["one_by_one", str(path), "--sleep", "0"], threads=threads)
        return {"seed_way_no_sleep_s": time.monotonic() - began}


def baselines(work: Work, *, threads: int, sleep_s: float) -> dict[str, float]:
    n_calls = sum(len(item["calls"]) for item in work)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.json"
        path.write_text(json.dumps(work))
        began = time.monotonic()
        seed = _script(["one_by_one", str(path), "--sleep", str(sleep_s)], threads=threads)
        seed_way_s = time.monotonic() - began
        sample = _script(["per_call", str(path)], threads=threads)
    return {
        "seed_way_s": seed_way_s,
        "seed_way_no_sleep_s": seed_way_s - seed["slept_s"],
        "server_swap_s": server_swap_s(work, threads=threads),
        "per_query_s_extrapolated": sample["call_s"] * n_calls,
    }


def _script(words: Sequence[str], *, threads: int) -> dict[str, float]:
    command = [vllm_python(), str(SCRIPTS), *words]
    run = subprocess.run(command, env=_vllm_env(threads), check=True, capture_output=True, text=True)
    return dict(json.loads(run.stdout.strip().splitlines()[-1]))


def server_swap_s(work: Work, *, threads: int) -> float:
    """Seconds of all calls with a server per model, started when it is needed and stopped afterwards."""
    began = time.monotonic()
    for item in work:
        with server(item["model"], threads=threads) as url:
            asyncio.run(_post_all(url, item))
    return time.monotonic() - began


@contextlib.contextmanager
def server(model: str, *, threads: int) -> Iterator[str]:
    """vLLM's own HTTP server, once it is healthy."""
    port = free_port()
    command = [vllm_python(), "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--port", str(port), "--host", "127.0.0.1", "--enforce-eager"]
    command += ["--max-model-len", str(MAX_MODEL_LEN)]
    process = subprocess.Popen(
        command,
        env=_vllm_env(threads),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _await_healthy(url, process)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_healthy(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        time.sleep(POLL_S)
    raise SystemExit("vLLM's HTTP server did not come up.")


async def _post_all(url: str, item: dict[str, Any]) -> None:
    gate = asyncio.Semaphore(CONCURRENT)
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:

        async def post(call: dict[str, Any]) -> None:
            async with gate:
                prompt = "\n\n".join(m["content"] for m in call["messages"])
                body = {"model": item["model"], "prompt": prompt, "temperature": 0}
                reply = await client.post("/v1/completions", json=body | {"max_tokens": call["max_tokens"]})
                reply.raise_for_status()

        await asyncio.gather(*(post(call) for call in item["calls"]))


def first_token_s(*, threads: int) -> dict[str, float]:
    """Seconds from "load this model" to its first token: in a warm child, and with a fresh HTTP server."""
    model = str(MODELS / "reverse")
    spec = EngineSpec(
        id="first", backend="vllm", model=model, max_model_len=MAX_MODEL_LEN, options={"threads": threads}
    )
    backend = get_backend("vllm")
    other = spec.model_copy(update={"id": "before", "model": str(MODELS / "sort")})
    _first_token_of_engine(backend, other)  # leaves a warm spare behind, as a working device has one
    time.sleep(20)
    warm_s = _first_token_of_engine(backend, spec)
    began = time.monotonic()
    with server(model, threads=threads) as url:
        body = {"model": model, "prompt": "Reverse 'abc'.", "max_tokens": 8, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=600) as reply:
            next(line for line in reply.iter_lines() if line.startswith("data:"))
        http_s = time.monotonic() - began
    return {"warm_spare": warm_s, "http_server": http_s}


def _first_token_of_engine(backend: Any, spec: EngineSpec) -> float:
    began = time.monotonic()
    engine = backend.load(spec, ())
    try:
        message = Message(role="user", content="Reverse 'abc'.")
        engine.submit(GenerationRequest("first", (message,), Sampling(max_tokens=8), priority=10))
        while not (events := engine.poll(1.0)):
            pass
        if isinstance(events[0], Failed):
            raise SystemExit(f"the first token did not come: {events[0].error}")
        return time.monotonic() - began
    finally:
        engine.close()


def _vllm_env(threads: int) -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }


# ── report ────────────────────────────────────────────────────────────────────────────────────────


def questions_of_zoo(n: int) -> list[dict[str, Any]]:
    lines = (MODELS.parent / "test.jsonl").read_text().splitlines()[:n]
    kept = [json.loads(line) for line in lines]
    return [{key: line[key] for key in ("id", "question", "options") if key in line} for line in kept]


def compared(
    settings: Mapping[str, Setting],
    questions: Sequence[Mapping[str, Any]],
    *,
    sleep_s: float,
    is_small: bool = False,
) -> dict[str, Any]:
    """Each setting against the scripts, which have all cores and answer the calls of the first setting; if
    small, against the seed's way without pauses only."""
    figures, works = {}, []
    for name, setting in settings.items():
        figures[name], work = answered(setting, questions)
        works.append(work)
        progress({name: figures[name]})
    threads = len(os.sched_getaffinity(0))
    scripts = (
        seed_way(works[0], threads=threads)
        if is_small
        else baselines(works[0], threads=threads, sleep_s=sleep_s)
    )
    seed_s = scripts["seed_way_no_sleep_s"]
    return {
        name: seen | scripts | {"seed_way_no_sleep_over_makespan": seed_s / seen["makespan_s"]}
        for name, seen in figures.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--queries", type=int, help="default 300, of a small run 150")
    parser.add_argument("--small", action="store_true", help="the devices against the seed's way, no more")
    parser.add_argument("--sleep", type=float, default=10.0, help="seconds that the seed's way pauses")
    parser.add_argument("--smollm2", type=Path, help="directory of the fetched model")
    parser.add_argument("--only", nargs="*", help="parts to run; default all")
    options = parser.parse_args(argv)
    questions = questions_of_zoo(options.queries or (150 if options.small else 300))
    with tempfile.TemporaryDirectory() as folder:
        config = pool_file(Path(folder))
        one, two = Setting(config, (None,)), Setting(config, (0, 1))
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "devices": lambda: compared(
                {"one_device": one, "two_devices": two},
                questions,
                sleep_s=options.sleep,
                is_small=options.small,
            ),
            "two_jobs": lambda: {"two_jobs": two_jobs(one, questions)},
            "first_token_s": lambda: {"first_token_s": first_token_s(threads=one.threads)},
        }
        if options.smollm2 is not None:
            (Path(folder) / "smollm2").mkdir()
            large = Setting(pool_file(Path(folder) / "smollm2", smollm2=options.smollm2), (None,))
            parts["with_smollm2"] = lambda: compared(
                {"with_smollm2": large}, questions, sleep_s=options.sleep
            )
        if unknown := sorted({*(options.only or ())} - {*parts}):
            parser.error(f"no such part: {', '.join(unknown)}. Valid: {', '.join(parts)}.")
        report: dict[str, Any] = {}
        for name in options.only or (["devices"] if options.small else parts):
            report |= parts[name]()
            progress(report)
    finish(report)


if __name__ == "__main__":
    main()
