"""Real models, live: `python -m examples.llm.demo` fetches three small instruct models, profiles them on 43
questions and compares ways to answer 43 others.

    --serve server        a llama.cpp server per model (default, where the processor can run the build), or
    --serve transformers  Muster's own engines, from checkpoints that are converted first (slower)
    --rows a,b            rows beside those that are always there (auto, everybody, each model alone)
    --limit N             so many questions of each set, spread over the types
    --keep                go on from what an earlier run asked
    --threads N           of each server (default: the cores, 4 at most); 1 where the cores are shared

Files lie under build/llm, what was measured under build/demo-llm (report.json, cards.png, muster.yaml). Where
a file cannot be had, or the processor lacks what the build of the server needs, one line says so.
"""

import argparse
import json
import os
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from api.cli.tables import answer_lines, cards_table
from api.pictures.heatmap import save_heatmap
from examples.llm.pool import COMPOSITIONS, DEFAULT_ROWS, MODELS, pool
from examples.llm.rows import EVERYBODY, Row, alone, answer_all, derived, report_of
from examples.llm.servers import Served, UnusableError, check_processor, fetch_server, running
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.names import AUTO
from orchestrator.domain.queries import Query
from orchestrator.errors import EngineLoadError
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from workers.checkpoints.fetch import fetch, fetch_gguf

HERE = Path(__file__).parent
FILES, OUT = Path("build/llm"), Path("build/demo-llm")
POOL = "muster.yaml"
SLOTS = 8
N_PROSE, PROSE_S = 2, 900.0


class Place(NamedTuple):
    """The pool file of a run, and how its models are served."""

    pool: Path
    serve: str


def spread(queries: Sequence[Query], limit: int | None) -> list[Query]:
    """Some of the questions, evenly from the whole file, which is sorted by type."""
    if limit is None or limit >= len(queries):
        return list(queries)
    return [queries[i * len(queries) // limit] for i in range(limit)]


@contextmanager
def served(
    serve: str | None, *, threads: int | None = None, files: Path = FILES, out: Path = OUT
) -> Iterator[Place]:
    """The pool of the real models, ready to be asked while the block runs.

    Args:
        serve: `server` or `transformers`; None = servers where the processor can run them.
        threads: of each server; None = as many as there are cores, 4 at most.

    Raises:
        UnusableError, EngineLoadError: files that cannot be had, servers that do not start.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.mkdir(mode=0o700, exist_ok=True)
    if serve == "transformers" or (serve is None and not _can_serve()):
        for name in MODELS:
            say(f"fetching and converting {name}, if it is not there yet")
            fetch(name, files)
        yield Place(_written(pool(out, checkpoints=files, slots=SLOTS), out), "transformers")
        return
    check_processor()
    program = fetch_server(files)
    models = []
    for name in MODELS:
        say(f"fetching {name}, if it is not there yet")
        models.append(Served(name, fetch_gguf(name, files), slots=SLOTS))
    n_threads = threads or min(4, os.cpu_count() or 1)
    with running(program, models, logs=out, threads=n_threads) as addresses:
        yield Place(_written(pool(out, addresses=addresses, slots=SLOTS), out), "server")


def _can_serve() -> bool:
    try:
        check_processor()
    except UnusableError as error:
        say(f"no servers: {error}")
        return False
    return True


def _written(document: dict[str, Any], out: Path) -> Path:
    path = out / POOL
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run(place: Place, extra: Sequence[str], *, limit: int | None, out: Path = OUT) -> dict[str, Any]:
    """Profile, compare, write the report; returns it."""
    known, new = (spread(read_questions(HERE / f"{name}.jsonl"), limit) for name in ("profile", "test"))
    console = Console(width=120)
    with open_app(load_settings(place.pool)) as app:
        say(f"profiling on {len(known)} questions")
        profiled = app.profiling.run(known, exam=False)
        save_heatmap(profiled.cards, out / "cards.png")
        console.print(cards_table(profiled.cards))
        rows = asked(app, new, extra)
        prose(app, console)
    document = {"serve": place.serve, **report_of(rows, new)}
    (out / "report.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    console.print(rows_table(document))
    print(document["verdict"])
    return document


def asked(app: App, queries: Sequence[Query], extra: Sequence[str]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name in (EVERYBODY, AUTO, *extra):
        say(f"asking: {name}")
        rows[name] = answer_all(app, name, queries)
    single = alone(app, queries)
    accuracies = {name: card.total.accuracy for name, card in app.experts.cards().items()}
    return {**single, **rows, **derived(single, max(single, key=lambda name: accuracies[name]))}


def prose(app: App, console: Console) -> None:
    """Open questions, to `auto`: one expert's words each, and nobody votes."""
    for query in read_questions(HERE / "open-test.jsonl")[:N_PROSE]:
        answer = app.asking.ask(query, timeout_s=PROSE_S)
        console.print("", query.text, answer_lines(answer), f"answered by {answer.answered_by}")


def rows_table(document: Mapping[str, Any]) -> Table:
    """Accuracies in percent, tokens per question, and what was compared in pairs, in points."""
    table = Table(title=f"{document['queries']} questions")
    columns = (
        "row",
        "right",
        "%",
        "95 %",
        "calls",
        "tokens in",
        "tokens out",
        "loads",
        "s",
        "against, in points",
    )
    for column in columns:
        table.add_column(column)
    for row in document["rows"]:
        low, high = (100 * bound for bound in row["ci95"])
        paired = [
            f"{d['b']}: {100 * d['difference']:+.1f} ({100 * d['ci95'][0]:+.1f} to {100 * d['ci95'][1]:+.1f})"
            for d in document["differences"]
            if d["a"] == row["name"]
        ]
        table.add_row(
            row["name"],
            str(row["n_right"]),
            f"{100 * row['accuracy']:.1f}",
            f"{low:.0f}–{high:.0f}",
            str(row["calls"]),
            str(row["prompt_tokens"]),
            str(row["completion_tokens"]),
            "–" if row["loads"] is None else str(row["loads"]),
            "–" if row["seconds"] is None else str(row["seconds"]),
            "\n".join(paired),
        )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter, prog="python -m examples.llm.demo"
    )
    parser.add_argument("--serve", choices=("server", "transformers"))
    parser.add_argument(
        "--rows", default=",".join(DEFAULT_ROWS), help=f"of {', '.join(COMPOSITIONS)}, or stock ones"
    )
    parser.add_argument("--limit", type=int)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args(argv)
    if not given.keep:
        for old in OUT.glob("muster.sqlite3*"):
            old.unlink()
    try:
        with served(given.serve, threads=given.threads) as place:
            run(place, [name for name in given.rows.split(",") if name], limit=given.limit)
    except (UnusableError, EngineLoadError) as error:
        say(f"skipped: {error}")
        return 0
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    say(f"CPU seconds of the servers: {children.ru_utime + children.ru_stime:.0f}")
    say(f"Written: {OUT / 'report.json'}, {OUT / 'cards.png'}; the pool: {OUT / POOL}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
