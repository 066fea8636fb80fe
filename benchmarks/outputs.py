"""Aggregators that ask for more, at equal calls, on the zoo: `python -m benchmarks.outputs`.

Every row answers held-out questions with the zoo's real models. A row that makes c calls per question is
compared, in pairs, with baselines that make as many: majority, weighted and learnt votes of the c best
recruits, and c samples of the best single expert. For c between whole numbers the two neighbours are mixed,
question by question, in proportion. `auto` is compared as it is.

    rows[].accuracy, ci95, calls
    rows[].against[baseline]: difference, ci95 (accuracy minus the baseline's at equal calls)
    winners: rows that no baseline beats and that beat one, intervals above 0

`--limit N`: so many questions, spread over the skills. `--only NAME` (repeatable): these rows. `--data DIR`
keeps the database, so that a run that was stopped is profiled already. Every member is asked in the compact
form, which the zoo's models can read. The last line of output is one JSON object.
"""

import logging
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser, progress
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.queries import Query
from orchestrator.evaluation.bench import BenchReport
from orchestrator.evaluation.statistics import Estimate, bootstrap_mean
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings

ZOO = Path(__file__).resolve().parents[1] / "examples/zoo"
MOST = 12
"""Calls up to which baselines are known; a row that makes more is compared with as many as that."""

Spec = Mapping[str, Any]
Floats = npt.NDArray[np.float64]


def _three(aggregator: str, **options: object) -> Spec:
    """A composition that asks the three best recruits first."""
    recruiting = {"router": "posterior", "router_options": {"k": 3, "first": 3}}
    return {**recruiting, "aggregator": aggregator, "aggregator_options": options}


def _one(aggregator: str, **options: object) -> Spec:
    recruiting = {"router": "posterior", "router_options": {"k": 1, "first": 1}}
    return {**recruiting, "aggregator": aggregator, "aggregator_options": options}


VERIFIERS = ["aggregator", "generalist", "text-mix", "numerals-mix", "pair"]
ROWS: Mapping[str, Spec] = {
    "synthesize": _three("synthesize"),
    "judge": _three("judge"),
    "judge-1": _three("judge", k=1),
    "ranker": _three("ranker"),
    "weak_verifiers": _three("weak_verifiers", verifiers=VERIFIERS),
    "weak_verifiers-ds": _three("weak_verifiers", verifiers=VERIFIERS, trust="dawid_skene"),
    "weak_verifiers-wco": _three("weak_verifiers", verifiers=VERIFIERS, objective="wco"),
    "weak_verifiers-uwo": _three("weak_verifiers", verifiers=VERIFIERS, objective="uwo"),
    "debate": _three("debate"),
    "debate-mutual": _three("debate", protocol="mutual"),
    "moa": _three("moa"),
    "conductor": _three("conductor"),
    "self_consistency-5": _one("self_consistency", samples=5),
    "choice_shuffle": _one("choice_shuffle", shots=0),
    "choice_shuffle-shots": _one("choice_shuffle", shots=3),
    "stability": _three("stability"),
    "mbr": _three("mbr"),
    "mbr-hedged": _one("mbr", samples=4),
    "cascade": {
        "router": "posterior",
        "router_options": {"k": 8},
        "aggregator": "cascade",
        "aggregator_options": {"price": "seconds"},
    },
}
VOTES = ("majority", "weighted", "learned")
BASELINES = (*VOTES, "self_consistency")


def _baselines() -> dict[str, Spec]:
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
            recruiting = {"router": "posterior", "router_options": {"k": calls, "first": calls}}
            specs[f"{vote}@{calls}"] = {**recruiting, "aggregator": vote}
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
    pool["muster"] = {**pool.get("muster", {}), "data_dir": str(folder / "data"), "compositions": named}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(pool, sort_keys=False), encoding="utf-8")
    return path


def spread(queries: Sequence[Query], limit: int | None) -> list[Query]:
    """Some of the questions, evenly from the whole file, which is sorted by skill."""
    if limit is None or limit >= len(queries):
        return list(queries)
    return [queries[i * len(queries) // limit] for i in range(limit)]


class Row(NamedTuple):
    """A row's outcome: whether each question was answered right, and its mean calls per question."""

    right: Floats
    calls: float


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


def report_of(bench: BenchReport, names: Sequence[str]) -> dict[str, Any]:
    calls = {row.name: row.calls_per_query for row in bench.rows}
    right = {name: np.asarray(hits, dtype=np.float64) for name, hits in bench.right.items()}
    families = {
        base: {n: right[f"{base}@{n}"] for n in range(1, MOST + 1) if f"{base}@{n}" in right}
        for base in BASELINES
    }
    auto = {"auto": Row(right["auto"], calls["auto"])}
    rows = []
    for name in ["auto", *names]:
        row = Row(right[name], calls[name])
        estimate = bootstrap_mean(row.right)
        others = {} if name == "auto" else auto
        rows.append(
            {
                "name": name,
                "accuracy": round(estimate.value, 4),
                "ci95": [round(estimate.low, 4), round(estimate.high, 4)],
                "calls": round(row.calls, 3),
                "against": compared(row, families, others),
            }
        )
    return {
        "n_questions": bench.n_queries,
        "rows": rows,
        "winners": winners(rows),
        "failed": {row.name: row.failed for row in bench.rows if row.failed},
    }


def run(app: App, queries: Sequence[Query], names: Sequence[str]) -> BenchReport:
    app.profiling.run(read_questions(ZOO / "profile.jsonl"))
    progress("profiled")
    told: set[str] = set()

    def on_progress(name: str, _: object) -> None:
        if name not in told:
            told.add(name)
            progress(f"running {name}")

    return app.evaluation.bench(
        queries, ["auto", "majority_all", *_baselines(), *names], on_progress=on_progress
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--only", action="append", choices=[*ROWS])
    parser.add_argument("--data", type=Path)
    args = parser.parse_args(argv)
    logging.disable(logging.INFO)
    names = args.only or list(ROWS)
    queries = spread(read_questions(ZOO / "test.jsonl"), args.limit)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.data or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        specs = {**_baselines(), **{name: ROWS[name] for name in names}}
        with open_app(load_settings(write_pool(folder, specs))) as app:
            report = report_of(run(app, queries, names), names)
    finish(report)


if __name__ == "__main__":
    main()
