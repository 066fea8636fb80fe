"""Aggregators that ask for more, at equal calls, on the zoo: `python -m benchmarks.outputs`.

Every row answers held-out questions with the zoo's real models. A row that makes c calls per question is
compared, in pairs, with baselines that make as many: majority, weighted and learnt votes of the c best
recruits, and c samples of the best single expert. For c between whole numbers the two neighbours are mixed,
question by question, in proportion. `auto` is compared as it is.

    rows[].accuracy, ci95, calls
    rows[].against[baseline]: difference, ci95 (accuracy minus the baseline's at equal calls)
    winners: rows that no baseline beats and that beat one, intervals above 0

`--limit N`: so many questions, spread over the skills. `--only NAME` (repeatable): these rows. `--router
random`: recruits by lot, where a pool cannot be told apart, and aggregators have most to do. `--data DIR`
keeps the database, so that a run that was stopped is profiled already. Every member is asked in the compact
form, which the zoo's models can read. The last line of output is one JSON object.
"""

import logging
import math
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser, progress
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.cards import RIGHT
from orchestrator.domain.names import AUTO
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.domain.values import content_hash
from orchestrator.evaluation.recall import derived
from orchestrator.evaluation.statistics import Estimate, bootstrap_mean
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from skills.grading.grader import AnswerGrader

ZOO = Path(__file__).resolve().parents[1] / "examples/zoo"
MOST = 12
"""Calls up to which baselines are known; a row that makes more is compared with as many as that."""

Spec = Mapping[str, Any]
Floats = npt.NDArray[np.float64]


def _recruits(router: str, k: int) -> Spec:
    """The k experts that are asked first."""
    options: dict[str, object] = {"k": k}
    return {"router": router, "router_options": options | ({"first": k} if router == "posterior" else {})}


def _of(k: int, aggregator: str, /, **options: object) -> Spec:
    """A composition of k recruits, without its router."""
    return {"k": k, "aggregator": aggregator, "aggregator_options": options}


VERIFIERS = ["aggregator", "generalist", "text-mix", "numerals-mix", "pair"]
ROWS: Mapping[str, Spec] = {
    "synthesize": _of(3, "synthesize"),
    "judge": _of(3, "judge"),
    "judge-1": _of(3, "judge", k=1),
    "ranker": _of(3, "ranker"),
    "weak_verifiers": _of(3, "weak_verifiers", verifiers=VERIFIERS),
    "weak_verifiers-ds": _of(3, "weak_verifiers", verifiers=VERIFIERS, trust="dawid_skene"),
    "weak_verifiers-wco": _of(3, "weak_verifiers", verifiers=VERIFIERS, objective="wco"),
    "weak_verifiers-uwo": _of(3, "weak_verifiers", verifiers=VERIFIERS, objective="uwo"),
    "debate": _of(3, "debate"),
    "debate-mutual": _of(3, "debate", protocol="mutual"),
    "moa": _of(3, "moa"),
    "conductor": _of(3, "conductor"),
    "self_consistency-5": _of(1, "self_consistency", samples=5),
    "choice_shuffle": _of(1, "choice_shuffle", shots=0),
    "choice_shuffle-shots": _of(1, "choice_shuffle", shots=3),
    "stability": _of(3, "stability"),
    "mbr": _of(3, "mbr"),
    "mbr-hedged": _of(1, "mbr", samples=4),
    "cascade": _of(8, "cascade", price="seconds"),
}
VOTES = ("majority", "weighted", "learned")
BASELINES = (*VOTES, "self_consistency")


def compositions(names: Sequence[str], router: str) -> dict[str, Spec]:
    """These rows and all baselines, with that router."""
    rows = {
        name: {**_recruits(router, ROWS[name]["k"]), **{k: v for k, v in ROWS[name].items() if k != "k"}}
        for name in names
    }
    return {**_baselines(router), **rows}


def _baselines(router: str) -> dict[str, Spec]:
    """Compositions `<baseline>@<calls>`."""
    specs: dict[str, Spec] = {}
    for calls in range(MOST, 0, -1):  # the most samples first: fewer are among them
        specs[f"self_consistency@{calls}"] = {
            "router": "self_consistency",
            "router_options": {"k": calls},
            "aggregator": "majority",
            "temperature": 0.7,
        }
    for vote in VOTES:
        for calls in range(1, MOST + 1):
            specs[f"{vote}@{calls}"] = {**_recruits(router, calls), "aggregator": vote}
    return specs


def write_pool(folder: Path, specs: Mapping[str, Spec]) -> Path:
    """The zoo's pool with these compositions, as a file in the folder."""
    pool = yaml.safe_load((ZOO / "pool.yaml").read_text(encoding="utf-8"))
    for member in pool["model_list"]:
        member["litellm_params"]["model"] = str(ZOO / member["litellm_params"]["model"])
        info = member["model_info"]
        info["muster"]["synthesize_prompt"] = "compact"
        if "base_model" in info:
            info["base_model"] = str(ZOO / info["base_model"])
        adapter = info["muster"].get("adapter")
        if isinstance(adapter, str) and adapter != "lora":
            info["muster"]["adapter"] = str(ZOO / adapter)
    named = {name: dict(spec) for name, spec in specs.items()}
    section = {"data_dir": str(folder / "data"), "compositions": named}
    section["scheduler"] = {"max_resident": len(pool["model_list"])}
    pool["muster"] = {**pool.get("muster", {}), **section}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(pool, sort_keys=False), encoding="utf-8")
    return path


def spread(queries: Sequence[Query], limit: int | None) -> list[Query]:
    """Some of the questions, evenly from the whole file, which is sorted by skill."""
    if limit is None or limit >= len(queries):
        return list(queries)
    return [queries[i * len(queries) // limit] for i in range(limit)]


class Row(NamedTuple):
    """A row's outcome: whether each question was answered right, its mean calls per question, and more."""

    right: Floats
    calls: float
    told: Mapping[str, int] = MappingProxyType({})


def at_equal_calls(calls: float, family: Mapping[int, Floats]) -> Floats:
    """The baseline that makes so many calls per question: the two nearest, mixed; in [0, 1] per question.

    Args:
        calls: > 0; clipped to what is known.
        family: right or wrong per question, by number of calls.
    """
    wanted = min(max(calls, min(family)), max(family))
    low, high = math.floor(wanted), math.ceil(wanted)
    return np.asarray((1 - (wanted - low)) * family[low] + (wanted - low) * family[high])


def compared(
    row: Row, families: Mapping[str, Mapping[int, Floats]], others: Mapping[str, Row]
) -> dict[str, Any]:
    against = {name: row.right - at_equal_calls(row.calls, family) for name, family in families.items()}
    against |= {name: row.right - other.right for name, other in others.items()}
    return {name: _told(bootstrap_mean(gain)) for name, gain in against.items()}


def _told(estimate: Estimate) -> dict[str, Any]:
    return {"difference": round(estimate.value, 4), "ci95": [round(estimate.low, 4), round(estimate.high, 4)]}


def winners(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows that beat a baseline, and that none beats."""
    found = []
    for row in rows:
        intervals = [one["ci95"] for one in row["against"].values()]
        if any(low > 0 for low, _ in intervals) and not any(high < 0 for _, high in intervals):
            found.append(str(row["name"]))
    return found


class Run(NamedTuple):
    """Answers of a composition in the order of the questions, and its job; None = from others' calls."""

    answers: list[Answer]
    job_id: str | None


def run(app: App, queries: Sequence[Query], names: Iterable[str]) -> dict[str, Row]:
    """Rows by composition. What would only repeat calls that were made is answered from these; engines stay
    loaded from one composition to the next."""
    app.profiling.run(read_questions(ZOO / "profile.jsonl"))
    progress("profiled")
    grader = AnswerGrader()
    rows: dict[str, Row] = {}
    jobs: list[str] = []
    for name in ("majority_all", AUTO, *names):
        done = _answered(app, name, queries, jobs)
        if done.job_id is not None:
            jobs.append(done.job_id)
        right = [_is_right(grader, q, a) for q, a in zip(queries, done.answers, strict=True)]
        calls = sum(answer.n_calls for answer in done.answers) / len(queries)
        rows[name] = Row(np.array(right, dtype=np.float64), calls, _told_of(done.answers))
        progress(f"{name}: {np.mean(right):.3f} at {calls:.2f} calls{'' if done.job_id else ' (derived)'}")
    return rows


def _answered(app: App, name: str, queries: Sequence[Query], jobs: Sequence[str]) -> Run:
    options = AskOptions(model=name)
    if jobs:
        composition = app.catalogue.build(app.jobs.job_of(options))
        played = derived(composition, queries, [app.store.calls(job_id) for job_id in jobs])
        if played is not None:
            return Run([one.answer for one in played], None)
    spec = app.settings.muster.compositions.get(name)
    asked = [name, spec and spec.model_dump(mode="json"), [query.id for query in queries]]
    job_id = f"outputs-{content_hash(asked)}"
    if job_id not in {job.job.id for job in app.jobs.jobs(limit=10_000)}:
        app.jobs.submit(queries, AskOptions(model=name, job_id=job_id))
    app.jobs.run(job_id)
    by_id = {item.query.id: item.answer for item in app.jobs.answers(job_id)}
    return Run([by_id[query.id] for query in queries], job_id)


def _is_right(grader: AnswerGrader, query: Query, answer: Answer) -> bool:
    if answer.error_code is not None:
        return False
    response = Response(expert_id="", role=CallRole.AGGREGATE, stage=0, text=answer.text)
    return grader.grade(query, response).outcome == RIGHT


def _told_of(answers: Sequence[Answer]) -> dict[str, int]:
    """Questions that were decided by asking further, and those for which the weighted vote had to step in."""
    roles = {"annotate", "expert"}
    asked = [answer for answer in answers if set(answer.usage_by_role) - roles]
    stepped_in = [a for a in asked if any("decided by weighted vote" in note for note in a.notes)]
    return {"asked_further": len(asked), "fell_back": len(stepped_in)}


def report_of(rows: Mapping[str, Row], names: Sequence[str]) -> dict[str, Any]:
    families = {base: {n: rows[f"{base}@{n}"].right for n in range(1, MOST + 1)} for base in BASELINES}
    told = []
    for name in [AUTO, *names]:
        row = rows[name]
        others = {} if name == AUTO else {AUTO: rows[AUTO]}
        told.append(
            {
                "name": name,
                **_accuracy(row),
                "calls": round(row.calls, 3),
                **row.told,
                "against": compared(row, families, others),
            }
        )
    baselines = {name: _accuracy(row)["accuracy"] for name, row in rows.items() if "@" in name}
    return {
        "n_questions": len(rows[AUTO].right),
        "rows": told,
        "winners": winners(told),
        "baselines": baselines,
    }


def _accuracy(row: Row) -> dict[str, Any]:
    value, low, high = bootstrap_mean(row.right)
    return {"accuracy": round(value, 4), "ci95": [round(low, 4), round(high, 4)]}


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--only", action="append", choices=[*ROWS])
    parser.add_argument("--router", default="posterior", choices=["posterior", "random"])
    parser.add_argument("--data", type=Path)
    args = parser.parse_args(argv)
    logging.disable(logging.INFO)
    names = args.only or list(ROWS)
    queries = spread(read_questions(ZOO / "test.jsonl"), args.limit)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.data or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        specs = compositions(names, args.router)
        with open_app(load_settings(write_pool(folder, specs))) as app:
            report = report_of(run(app, queries, specs), names)
    finish({"router": args.router, **report})


if __name__ == "__main__":
    main()
