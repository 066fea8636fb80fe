"""Pages of the documentation, typed as they stand there: every command is run, or it is said why not."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import pytest

from tests.fakes.packages import install, put_on_path
from tests.fakes.replay_sets import write_replay_set
from tests.harness.pages import Reader, StandIn, Typed, files, typed
from tests.harness.processes import ROOT
from tests.integration.graded_pool import (
    FAIR,
    GOOD,
    SHORT,
    grade_rules,
    write_graded_pool,
    write_open_questions,
)

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "examples").glob("*/*.md")),
    ]
}
COMMANDS = {page: list(typed(text)) for page, text in PAGES.items() if [*typed(text)]}

Prepare = Callable[[Reader, pytest.MonkeyPatch], None]


class Session(NamedTuple):
    """How a page is typed.

    Attributes:
        prepare: what is there before the first command.
        spared: commands that are not run, by how they begin, with the reason.
        after: what must hold after the last one.
    """

    prepare: Prepare
    spared: Mapping[str, str] = {}
    after: Callable[[Reader], None] = lambda _: None


# ── what is there before a page is read ──────────────────────────────────────────────────────────────


def sums(path: Path, numbers: range) -> None:
    lines = [
        {"id": f"q{n}", "question": f"What is {n} plus {n}?", "answer": str(2 * n), "answer_type": "number"}
        for n in numbers
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def pair_rules() -> list[dict[str, object]]:
    """Replies of a judge that is shown two candidates: the longer one is better."""
    return [
        {"regex": rf"(?s)candidate 1 .*{first}.*candidate 2 .*{second}", "reply": f"Better: {better}"}
        for better, first, second in [(1, GOOD, FAIR), (1, GOOD, SHORT), (2, FAIR, GOOD), (2, SHORT, GOOD)]
    ]


def invented(reader: Reader, patch: pytest.MonkeyPatch) -> None:
    """A pool of experts who say what is written down, `muster.yaml`, and files of questions."""
    folder = reader.folder
    pool = write_graded_pool(
        folder,
        texts={"ada": GOOD, "bob": FAIR, "eve": SHORT, "granite": FAIR},
        judge_rules=[*pair_rules(), *grade_rules()],
    )
    mine = "compositions: {mine: {router: symbolic, aggregator: majority}}"
    text = pool.read_text().replace("data_dir: data", f"data_dir: .muster\n  {mine}")
    (folder / "muster.yaml").write_text(text)
    for name, numbers in (
        ("profile", range(20)),
        ("labelled", range(20, 32)),
        ("others", range(32, 44)),
        ("questions", range(10)),
        ("all", range(30)),
    ):
        sums(folder / f"{name}.jsonl", numbers)
    patch.delenv("MUSTER_CONFIG", raising=False)


def measured(reader: Reader, patch: pytest.MonkeyPatch) -> None:
    """The same, profiled; a batch and a question were answered."""
    invented(reader, patch)
    assert reader.muster("profile", "profile.jsonl")[0] == 0
    assert reader.muster("batch", "questions.jsonl", "-o", "before.jsonl")[0] == 0
    assert reader.muster("ask", "What is 2 plus 2?")[0] == 0


def of_the_readme(reader: Reader, patch: pytest.MonkeyPatch) -> None:
    invented(reader, patch)
    (reader.folder / "examples").symlink_to(ROOT / "examples")
    write_recorded(reader.folder / "recorded")


def served(reader: Reader, patch: pytest.MonkeyPatch) -> None:
    measured(reader, patch)
    reader.serve()


def graded(reader: Reader, patch: pytest.MonkeyPatch) -> None:
    invented(reader, patch)
    write_open_questions(reader.folder / "questions.jsonl", range(8), n_exact=4)
    scores = [{"id": f"q{n}", "expert": name, "score": 0.5} for n in range(8) for name in ("ada", "bob")]
    (reader.folder / "scores.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in scores))
    (reader.folder / "checks.json").write_text('["It is careful.", "It has every point."]')


def with_keys(reader: Reader, patch: pytest.MonkeyPatch) -> None:
    invented(reader, patch)
    for name, scope in (("ADMIN", "admin"), ("SECRET", "ask")):
        made = cast(dict[str, str], reader.told("keys", "create", "--scope", scope, "--name", name))
        patch.setenv(name, made["secret"])
    reader.serve()


def write_recorded(folder: Path) -> Path:
    """A replay set with three seeds."""
    write_replay_set(folder, n=32)
    splits = json.loads((folder / "splits.json").read_text())
    (folder / "splits.json").write_text(json.dumps({**splits, "seed2": splits["seed0"]}))
    return folder


def recorded(reader: Reader, patch: pytest.MonkeyPatch) -> None:
    """A replay set with the names of the page."""
    invented(reader, patch)
    folder = write_recorded(reader.folder / "recorded")
    for name, old, new in (
        ("experts.json", "four", "large"),
        ("experts.json", "pair", "small"),
        ("splits.json", "many", "profile350"),
    ):
        path = folder / name
        path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))
    (folder / "texts_four.jsonl.xz").rename(folder / "texts_large.jsonl.xz")


def zoo(reader: Reader, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MUSTER_CONFIG", str(ROOT / "examples/zoo/pool.yaml"))


def in_a_checkout(reader: Reader, patch: pytest.MonkeyPatch) -> None:
    """The examples, with the package installed that one of them is."""
    (reader.folder / "examples").symlink_to(ROOT / "examples")
    rows = {"muster.aggregators": {"unanimous": "unanimous:ROW"}}
    site = install(reader.folder / "site", "muster-unanimous", rows)
    put_on_path(patch, site, ROOT / "examples" / "aggregator")
    patch.delenv("MUSTER_CONFIG", raising=False)


COMBINE, NEAR = "examples/zoo/combine.yaml", "examples/zoo/merges/near.yaml"
# ── what must hold after it ──────────────────────────────────────────────────────────────────────────


def answered_with_reasons(reader: Reader) -> None:
    answers = [json.loads(line) for line in (reader.folder / "answers.jsonl").read_text().splitlines()]
    assert [answer["answer"] for answer in answers] == ["MDX", "541000", "MDCCXXXVIII"]
    assert all(answer["muster"]["recruits"] and answer["muster"]["votes"] for answer in answers)


def routed_by_cards(reader: Reader) -> None:
    answers = [json.loads(line) for line in (reader.folder / "answers.jsonl").read_text().splitlines()]
    kinds = {"roman": "numerals", "capitals": "capitals"}
    told = {answer["id"]: (answer["answer"], answer["muster"]["recruits"]) for answer in answers}
    assert len(told) == 9
    assert [told[f"new-metric-{n}"][0] for n in (0, 2)] == ["10300", "36200"]
    for kind, best in kinds.items():
        assert {told[f"new-{kind}-{n}"][1][0] for n in range(3)} == {best}


# ── how each page is typed ───────────────────────────────────────────────────────────────────────────

MAKES = "a target of the Makefile: CI runs what it runs, on the environment that is there"
INSTALLS = "it installs from a package index"
STACK = "servers of its own: tests/e2e runs the same commands as processes"
DOCKER = "it needs a Docker engine"
ENDLESS = "it does not end by itself"
CLIENT = "it runs where the client is installed: tests/clients"

SESSIONS: Mapping[str, Session] = {
    "README.md": Session(
        of_the_readme,
        {
            "make ": MAKES,
            "export MUSTER_DATABASE_URL": STACK,
            "muster worker": STACK,
            "muster beat": STACK,
            "muster top": ENDLESS,
            "muster merge recipe.yaml": "docs/examples.md merges, measures and asks",
            f"muster --config {COMBINE} merge {NEAR} --out merged/near\n": (
                "it asks three models 120 questions: docs/examples.md does the like with fewer"
            ),
        },
    ),
    "docs/choosing.md": Session(measured),
    "docs/examples.md": Session(
        in_a_checkout,
        {
            "python examples/clients/langchain_chain.py": CLIENT,
            "python examples/clients/pydantic_ai_agent.py": CLIENT,
            "pip install": "the package is put on the import path instead",
        },
        routed_by_cards,
    ),
    "docs/feedback.md": Session(served),
    "docs/grades.md": Session(graded),
    "docs/keys.md": Session(with_keys),
    "docs/observability.md": Session(
        served,
        {
            "docker ": DOCKER,
            "pip install": INSTALLS,
            "OTEL_EXPORTER": "it wants a collector: tests/integration/test_traces.py is one",
        },
    ),
    "docs/operations.md": Session(measured, {"pg_dump": STACK}),
    "docs/pools.md": Session(
        invented,
        dict.fromkeys(("export MUSTER_DATABASE_URL", "muster serve", "muster worker", "muster beat"), STACK),
    ),
    "docs/profiling.md": Session(invented),
    "docs/quickstart.md": Session(
        zoo,
        {
            "git clone": "this is the clone",
            "make setup": MAKES,
            "export PATH": "the command is found, and the pool file named, before the first command",
            "mkdir": "it is in a new folder",
            "muster bench": "it loads every model for every row; README.md's asks experts without weights",
        },
        answered_with_reasons,
    ),
    "docs/replay.md": Session(recorded),
    "docs/sizing.md": Session(invented),
}
WHOLE_PAGES: Mapping[str, str] = {
    "docs/index.md": MAKES,
    "docs/vllm.md": INSTALLS,
    "docs/results/forms.md": "its data set is no part of the repository",
    "docs/results/open.md": "its data set is no part of the repository",
    "docs/results/replay.md": "its data set is no part of the repository",
}
"""Pages no command of which is run."""


OTHERS = ("curl", "jq", "sqlite3")
"""Programs of pages that are not ours, and not everywhere."""


def why_not(page: str, one: Typed) -> str | None:
    """Why a command is not run; None = it is."""
    for program in OTHERS:
        if re.search(rf"(^|\| ){program} ", one.command) and shutil.which(program) is None:
            return f"{program} is not installed here"
    spared = SESSIONS[page].spared
    return next((why for begin, why in spared.items() if f"{one.command}\n".startswith(begin)), None)


def stand_ins(reader: Reader) -> Mapping[str, StandIn]:
    """What pages leave open."""

    def newest(*prefixes: str) -> str:
        jobs = cast(list[dict[str, str]], reader.told("jobs", "list"))
        return next(job["id"] for job in jobs if job["id"].startswith(prefixes))

    def key() -> str:
        keys = cast(list[dict[str, str]], reader.told("keys", "list"))
        return keys[0]["id"]

    return {
        "$ID": lambda: newest("batch-", "job-"),
        "'\"$ID\"'": lambda: newest("batch-", "job-"),
        "JOB": lambda: newest("batch-", "job-"),
        "QUERY": "q7",
        "ask-6f…": lambda: newest("ask-"),
        "job-41…": lambda: newest("batch-"),
        "sk-muster-Vd0o…": "sk-muster-",
        "key-3f0c…": key,
        "/backup/": f"{reader.folder}/",
    }


@pytest.mark.zoo
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", SESSIONS)
def test_a_page_does_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = Reader(tmp_path, patch=monkeypatch, capsys=capsys)
    reader.stand_ins = stand_ins(reader)
    for name, text in files(PAGES[page]).items():
        (tmp_path / name).write_text(text)
    SESSIONS[page].prepare(reader, monkeypatch)
    try:
        for one in COMMANDS[page]:
            if why_not(page, one) is None:
                reader.types(one)
        SESSIONS[page].after(reader)
    finally:
        reader.close()


def test_every_page_with_commands_is_typed_or_it_is_said_why_not() -> None:
    assert not set(SESSIONS) & set(WHOLE_PAGES)
    assert {*SESSIONS, *WHOLE_PAGES} == set(COMMANDS)


@pytest.mark.parametrize("page", SESSIONS)
def test_whatever_is_spared_stands_on_its_page_and_something_is_run(page: str) -> None:
    lines = [f"{one.command}\n" for one in COMMANDS[page]]
    stale = [begin for begin in SESSIONS[page].spared if not any(line.startswith(begin) for line in lines)]
    assert stale == []
    assert any(why_not(page, one) is None for one in COMMANDS[page])


def test_commands_stand_in_blocks_that_are_typed() -> None:
    """A block of another kind holds no line that one would type."""
    command = re.compile(r"^(\$ |muster |make |curl |pip |python -m |docker |scripts/)", re.MULTILINE)
    for page, text in PAGES.items():
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            assert language not in ("sh", "bash", "shell"), page
            if language == "":
                assert not command.search(block), (page, block)
