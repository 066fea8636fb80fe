"""The part `residency`: two jobs over six engines of which two stay on the device, in the embedded service.

Each question, an open one, asks three of the six at random. The same calls are then answered by scripts
around transformers:

    script        job by job, each model loaded anew for its calls: how it is written by hand
    alternating   the same in a few passes over the questions: each model's calls come in parts, and the
                  models take turns part by part

`over_bound` is the service's makespan over what no schedule that loads one engine at a time, and does not
work meanwhile, can beat; `over_overlapped_bound` over what none can beat that does. Loads and work of the
bounds are each engine's own, measured afterwards with the device to itself.
"""

import gc
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import JsonValue

from benchmarks.cuda.checkpoints import checkpoint
from benchmarks.cuda.decoding_part import bare
from benchmarks.cuda.engines import ask, load_engine, prompts_of, spec_of
from benchmarks.cuda.machine import on_cuda, settle, timed
from benchmarks.cuda.running import Kept
from benchmarks.cuda.scale import Scale
from benchmarks.engine import run_bare
from orchestrator.batching import Family, lower_bound_s, overlapped_bound_s
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.requests import AskOptions
from orchestrator.ports.engines import Engine
from orchestrator.settings.load import load_settings

N_EXPERTS, N_RESIDENT, N_ASKED, N_JOBS, N_MODELS = 6, 2, 3, 2, 3
WRITER = f"expert-{N_EXPERTS - 1}"
"""Who would write one answer from several; texts that are cut, as all are here, give it nothing to do."""
BATCH = 64
CONTEXT = 4096
LIMITS: dict[str, JsonValue] = {"max_batch": BATCH, "max_batch_tokens": BATCH * 2048}


class Calls(NamedTuple):
    """Calls of one job to one engine."""

    job: str
    engine: str
    prompts: list[str]


def measure(scale: Scale, folder: Path, kept: Kept) -> None:
    places = places_of(scale, folder)
    data = folder / "service"
    data.mkdir(exist_ok=True)
    with open_app(load_settings(pool_file(data, places, scale))) as app:
        load_alone(app, list(places))
        app.jobs.unload()
        n_before = len(engine_loads(data))
        began = time.perf_counter()
        jobs = [app.jobs.submit(questions(scale, at), AskOptions(model="residency")) for at in range(N_JOBS)]
        for job in jobs:
            progress = app.jobs.run(job)
            if progress.failed:
                raise RuntimeError(f"{progress.failed} questions failed")
        makespan_s = time.perf_counter() - began
    loaded = engine_loads(data)[n_before:]
    calls = calls_of(data, jobs)
    service = {
        "engines": len({one.engine for one in calls}),
        "resident": N_RESIDENT,
        "calls": sum(len(one.prompts) for one in calls),
        "loads": len(loaded),
        "load_s": round(sum(seconds for _, seconds in loaded), 2),
        "makespan_s": round(makespan_s, 2),
    }
    kept.keep("service", service)
    for name, parts in (("script", 1), ("alternating", scale.rounds)):
        n, seconds = by_script(in_parts(calls, parts), places, tokens=scale.job_tokens)
        ratio = round(seconds / makespan_s, 2)
        kept.keep(name, {"loads": n, "s": round(seconds, 2), "over_service": ratio})
    families = alone(calls, places, tokens=scale.job_tokens)
    apart, overlapped = lower_bound_s(families, n_devices=1), overlapped_bound_s(families, n_devices=1)
    bounds = {
        "bound_s": round(apart, 2),
        "over_bound": round(makespan_s / apart, 3),
        "overlapped_bound_s": round(overlapped, 2),
        "over_overlapped_bound": round(makespan_s / overlapped, 3),
    }
    kept.keep("bounds", bounds)


def places_of(scale: Scale, folder: Path) -> dict[str, Path]:
    """Weights of each engine; several engines may have the same numbers, each in a folder of its own."""
    made = {}
    for number in range(N_EXPERTS):
        source = checkpoint(folder, scale.small, number % N_MODELS)
        place = folder / "members" / f"expert-{number}"
        place.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            if not (place / file.name).exists():
                (place / file.name).hardlink_to(file)
        made[place.name] = place
    return made


def pool_file(folder: Path, places: dict[str, Path], scale: Scale) -> Path:
    """The pool; JSON is YAML."""
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": str(place), "max_tokens": scale.job_tokens},
            "model_info": {
                "muster": {
                    "engine": "transformers",
                    "max_model_len": CONTEXT,
                    "prompt": "plain",
                    "synthesize_prompt": "compact",
                    "roles": ["expert", "aggregator"] if name == WRITER else ["expert"],
                    "options": LIMITS,
                }
            },
        }
        for name, place in places.items()
    ]
    composition = {"router": "random", "router_options": {"k": N_ASKED}, "aggregator": "synthesize"}
    muster = {
        "data_dir": str(folder / "data"),
        "embedder": {"model": "hash"},
        "scheduler": {"max_resident": N_RESIDENT},
        "compositions": {"residency": composition},
    }
    path = folder / "pool.yaml"
    path.write_text(json.dumps({"model_list": members, "muster": muster}))
    return path


def questions(scale: Scale, job: int) -> list[Query]:
    texts = prompts_of(scale.questions, scale.prompt, seed=100 + job)
    return [
        Query(id=f"{job}-{number}", question=text, answer_type=AnswerType.OPEN)
        for number, text in enumerate(texts)
    ]


def load_alone(app: App, names: Sequence[str]) -> None:
    """Load every engine by itself, as in a service that has run before: its load is known then."""
    for name in names:
        app.jobs.run(app.jobs.submit([Query(id=f"alone-{name}", question="abc")], AskOptions(model=name)))


def engine_loads(folder: Path) -> list[tuple[str, float]]:
    """Loads on the books, in their order: engine, seconds."""
    return [
        (engine, seconds)
        for engine, seconds in rows(folder, "SELECT engine_id, seconds FROM engine_load ORDER BY pk")
    ]


def calls_of(folder: Path, jobs: Sequence[str]) -> list[Calls]:
    """What the jobs asked their engines, by job and engine."""
    statement = (
        "SELECT j.id, a.engine_id, p.messages FROM assignment a JOIN job j ON j.pk = a.job_pk"
        " JOIN prompt p ON p.query_pk = a.query_pk AND p.stage = a.stage AND p.ix = a.prompt_ix"
        " ORDER BY j.pk, a.engine_id, a.pk"
    )
    found: dict[tuple[str, str], list[str]] = {}
    for job, engine, messages in rows(folder, statement):
        if job in jobs:
            text = "\n\n".join(message["content"] for message in json.loads(messages))
            found.setdefault((job, engine), []).append(text)
    return [Calls(*key, prompts) for key, prompts in found.items()]


def rows(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    """By plain SQL, of the service's database."""
    (path,) = (folder / "data").glob("*.sqlite3")
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(statement).fetchall()


# ── without the service ──────────────────────────────────────────────────────────────────────────────


def in_parts(calls: Sequence[Calls], n: int) -> list[Calls]:
    """The calls in n passes over each job's questions: each engine's calls come part by part."""
    split = [
        one._replace(prompts=one.prompts[part::n])
        for job in dict.fromkeys(one.job for one in calls)
        for part in range(n)
        for one in calls
        if one.job == job
    ]
    return [one for one in split if one.prompts]


def by_script(calls: Sequence[Calls], places: Mapping[str, Path], *, tokens: int) -> tuple[int, float]:
    """Loads and seconds of a plain script: for each item load the model, answer in batches, forget it."""
    began = time.perf_counter()
    for one in calls:
        model, tokenizer = bare(places[one.engine])
        run_bare(model, tokenizer, one.prompts, max_tokens=tokens, batch=BATCH)
        del model, tokenizer
        gc.collect()
        if on_cuda():
            torch.cuda.empty_cache()
    settle()
    return len(calls), time.perf_counter() - began


def alone(calls: Sequence[Calls], places: Mapping[str, Path], *, tokens: int) -> list[Family]:
    """Seconds of each engine's load, and of all its calls at once, with the device to itself."""
    families = []
    for engine_id, place in places.items():
        prompts = [prompt for one in calls if one.engine == engine_id for prompt in one.prompts]
        if not prompts:
            continue
        engines: list[Engine] = []
        load_s = timed(lambda: engines.append(load_engine(spec_of(engine_id, place, options=LIMITS))))  # noqa: B023
        work_s = timed(lambda: ask(engines[0], prompts, tokens=tokens))  # noqa: B023
        engines.pop().close()
        families.append(Family(load_s, work_s))
    return families
