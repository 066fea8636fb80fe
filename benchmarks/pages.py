"""First paint and size of the pages: `python -m benchmarks.pages` (about three minutes; needs chromium).

A server of its own with 50 experts whose cards have 200 skills each, and a job of 50,000 lines that has
ended. Each page is opened in Chromium on the loopback, five times with an empty cache; the last line says, by
page, `first_paint_ms` (the median) and `kilobytes` of everything that it loaded, uncompressed. The browser is
that of `make test-clients CLIENTS=browser`.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser, progress
from benchmarks.scripted_pool import queries
from orchestrator.bootstrap.app import open_app
from orchestrator.domain.cards import CompetenceCard, Tally, summed
from orchestrator.domain.requests import AskOptions
from orchestrator.services.decks import export_deck
from orchestrator.settings.load import load_settings
from tests.harness.embedded import serving

ROOT = Path(__file__).parent.parent
BROWSER = ROOT / ".venv-clients-browser" / "bin" / "python"
PROGRAM = ROOT / "tests" / "clients" / "programs" / "pages_painted.py"
N_EXPERTS, N_SKILLS, N_LINES = 50, 200, 50_000
ASKED = "ask-benchmark"


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--lines", type=int, default=N_LINES, help="of the job")
    arguments = parser.parse_args()
    if not BROWSER.exists():
        parser.error("there is no browser here: scripts/setup-clients.sh browser")
    with tempfile.TemporaryDirectory() as folder:
        job_id = prepared(Path(folder), n_lines=arguments.lines)
        with serving(Path(folder)) as (_, address):
            paths = ["/", "/experts", "/experts?order=apart", "/experts/expert-0"]
            paths += [
                "/experts/compare?a=expert-0&b=expert-1",
                "/jobs",
                f"/jobs/{job_id}",
                f"/answers/{ASKED}",
            ]
            paths += ["/compositions", "/system", "/keys", "/login"]
            environment = {"PATH": os.environ["PATH"], "HOME": folder}
            done = subprocess.run(
                [str(BROWSER), str(PROGRAM), address, *paths],
                env=environment,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                parser.error(f"the browser failed: {done.stderr[-2000:]}")
    pages = json.loads(done.stdout.strip().splitlines()[-1])
    named = {path.replace(job_id, "JOB"): found for path, found in pages.items()}
    slowest = max(found["first_paint_ms"] for found in named.values())
    largest = max(found["kilobytes"] for found in named.values())
    finish({"slowest_paint_ms": slowest, "largest_kilobytes": largest, "pages": named})


def prepared(folder: Path, *, n_lines: int) -> str:
    """A pool with cards, a question that was answered, and a job that has ended, whose id is told."""
    write_pool(folder)
    os.chdir(folder)
    with open_app(load_settings(folder / "pool.yaml")) as app:
        deck = {expert.id: drawn_card(expert.id, expert.fingerprint) for expert in app.pool.experts}
        export_deck(deck, folder / "deck.json", pool=app.pool)
        app.experts.import_cards(folder / "deck.json")
        progress(f"answering {n_lines} lines")
        model = "expert-0"
        job_id = app.jobs.submit(queries(n_lines), AskOptions(model=model), label="large")
        app.jobs.run(job_id)
        [query] = queries(1, start=2 * n_lines)
        app.asking.ask(query, AskOptions(model=model, job_id=ASKED))
        return job_id


def drawn_card(expert_id: str, fingerprint: str) -> CompetenceCard:
    """A card whose counts are drawn: from 5 to 60 questions a skill."""
    rng = random.Random(expert_id)
    skills = {}
    for number in range(N_SKILLS):
        n = rng.randint(5, 60)
        right = round(n * rng.betavariate(2, 2))
        skills[f"skill number {number}"] = Tally(n_right=right, n_wrong=n - right)
    return CompetenceCard(
        expert_id=expert_id,
        fingerprint=fingerprint,
        profile_hash="benchmark",
        outcomes_hash="benchmark",
        total=summed(skills.values()),
        skills=skills,
        domains={"all": summed(skills.values())},
    )


def write_pool(folder: Path) -> None:
    members = "\n".join(
        f"  - model_name: expert-{i}\n"
        f"    litellm_params: {{model: scripted-{i}}}\n"
        f"    model_info: {{muster: {{engine: scripted, prompt: plain}}}}"
        for i in range(N_EXPERTS)
    )
    (folder / "pool.yaml").write_text(
        f"model_list:\n{members}\nmuster:\n  data_dir: data\n  embedder: {{model: hash}}\n"
    )


if __name__ == "__main__":
    main()
