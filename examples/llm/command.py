"""Real models behind real servers that Muster starts and ends: `python -m examples.llm.command`.

A llama.cpp server for each of three small models (`engine: command`), and Muster's command line over them:
the pool file is checked, a few questions are profiled, one is asked; a batch is answered with one load per
engine; in another one a server is killed, then Muster itself, and the same command goes on; lines whose
server does not start fail, and are answered when it does. After each of these no server is left. Answers are
cut after a few tokens: what is shown is who was started when, not what they know.

    --lines N      lines of the batch (default 300)
    --threads N    of each server (default: the cores, 4 at most); 1 where the cores are shared

Files lie under build/llm, what happened under build/command-llm. The last line of output is one JSON object;
the exit status is 1 where one of its checks does not hold. Where a file cannot be had, or the processor lacks
what the build of the server needs, one line says so.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from examples.llm.demo import FILES, HERE, say, spread
from examples.llm.pool import MODELS
from examples.llm.servers import UnusableError, check_processor, fetch_server
from orchestrator.errors import EngineLoadError
from orchestrator.questions.files import read_questions
from workers.checkpoints.fetch import fetch_gguf

OUT = Path("build/command-llm")
SLOTS, CONTEXT, MAX_TOKENS = 8, 512, 4
LATER = "later"
"""A model whose server does not start at first."""
SCRIPT = """#!/bin/sh
test -e "$(dirname "$0")/may-start" || { echo "the licence has not come yet"; exit 126; }
exec "$@"
"""
N_PROFILED, N_DISTURBED, N_FAILING, N_SEEN = 8, 60, 4, 4
WAIT_S, LOOK_S = 1800.0, 0.05


class Muster:
    """Muster's command line over the pool file of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool = folder / "muster.yaml"

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "api.cli.main", "--config", str(self._pool), "--json", *words]
        with (self.folder / "stderr.txt").open("ab") as log:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)

    def run(self, *words: str) -> tuple[int, Any]:
        """The exit status of a command, and the document that it printed; None = none."""
        say(f"muster {' '.join(words)}")
        process = self.start(*words)
        told, _ = process.communicate(timeout=WAIT_S)
        return process.returncode, json.loads(told) if told.strip() else None

    def servers(self) -> dict[str, int]:
        """Processes of the servers of this folder's pool, by their models' names."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError, IndexError):
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                log = Path(words[words.index("--log-file") + 1])
                if log.parent == self.folder:
                    found[log.stem] = int(folder.name)
        return found

    def at_work(self) -> dict[str, int]:
        """Servers that have answered a few calls."""
        running = self.servers()
        return {name: pid for name, pid in running.items() if self._n_answered(name) >= N_SEEN}

    def forget(self) -> None:
        """Begin anew to count what servers answer."""
        for log in self.folder.glob("*.log"):
            log.unlink()

    def _n_answered(self, name: str) -> int:
        log = self.folder / f"{name}.log"
        return log.read_bytes().count(b"release") if log.exists() else 0


class Check(NamedTuple):
    """Something that must hold, and what was seen."""

    holds: bool
    seen: Any


def pool(program: Path, files: Path, *, threads: int, out: Path) -> dict[str, Any]:
    """The pool file: the three models, and the smallest once more, whose server a script starts, or not."""
    command = [
        *(str(program), "--no-webui", "--model", "{model}", "--alias", "{name}"),
        *("--host", "{host}", "--port", "{port}", "--parallel", "{concurrent}"),
        *("--ctx-size", str(SLOTS * CONTEXT), "--threads", str(threads), "--threads-batch", str(threads)),
        *("--log-file", f"{out}/{{name}}.log"),
    ]
    options = {
        "env": {
            "LD_LIBRARY_PATH": str(program.parent),
            "OMP_WAIT_POLICY": "passive",
            "LLAMA_API_KEY": "{api_key}",
        },
        "health": "/health",
        "concurrent": SLOTS,
        "extra_body": {"top_k": 0, "min_p": 0.0},
    }
    muster = {"engine": "command", "prompt": "plain", "max_model_len": CONTEXT}
    commands = {**dict.fromkeys(MODELS, command), LATER: [str(out / "start.sh"), *command]}
    members = [
        {
            "model_name": name,
            "litellm_params": {
                "model": str(files / f"{MODELS[0] if name == LATER else name}.gguf"),
                "max_tokens": MAX_TOKENS,
            },
            "model_info": {"muster": {**muster, "options": {**options, "command": words}}},
        }
        for name, words in commands.items()
    ]
    scheduler = {"max_resident": 1}
    return {"model_list": members, "muster": {"data_dir": str(out / "data"), "scheduler": scheduler}}


def write_lines(path: Path, models: Sequence[str], n: int, *, of: str) -> Path:
    """Lines of a batch whose models change from line to line: who loads as they come loads n times."""
    lines = [
        {
            "custom_id": f"{of}-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": models[number % len(models)],
                "messages": [{"role": "user", "content": f"{of}: {number} + {number % 7} ="}],
            },
        }
        for number in range(n)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def answered(path: Path) -> int:
    """Lines of a batch's answers that hold one."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sum(row["response"]["status_code"] == 200 for row in rows if row.get("response"))


def await_that(look: Callable[[], Any], process: "subprocess.Popen[bytes]") -> Any:
    """The first true value, while a process runs; None = it ended before."""
    until = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < until:
        if seen := look():
            return seen
        time.sleep(LOOK_S)
    return None


# ── what is done ──────────────────────────────────────────────────────────────────────────────────


def profile(muster: Muster) -> dict[str, Check]:
    questions = spread(read_questions(HERE / "profile.jsonl"), N_PROFILED)
    path = muster.folder / "profile.jsonl"
    wanted = {query.id for query in questions}
    lines = (HERE / "profile.jsonl").read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["id"] in wanted))
    experts = [word for name in MODELS for word in ("--expert", name)]
    status, _ = muster.run("profile", str(path), "--no-exam", *experts)
    asked, answer = muster.run("ask", "What is 17 plus 4?", "-c", "majority_all")
    return {
        "a profile is made": Check(status == 0, status),
        "a question is answered": Check(asked == 0 and bool(answer["answer"]), answer["answer"]),
        "no server is left after them": Check(not muster.servers(), muster.servers()),
    }


def batch(muster: Muster, n: int) -> dict[str, Check]:
    lines = write_lines(muster.folder / "lines.jsonl", MODELS, n, of="plain")
    out = muster.folder / "answers.jsonl"
    status, told = muster.run("batch", str(lines), "-o", str(out))
    return {
        f"{n} lines of three models in turn are answered": Check(status == 0, answered(out)),
        "each engine is loaded once": Check(told["loads"] == len(MODELS), told["loads"]),
        "no server is left after the batch": Check(not muster.servers(), muster.servers()),
    }


def disturbed(muster: Muster) -> dict[str, Check]:
    """A server is killed, then Muster, both in the middle of their work."""
    lines = write_lines(muster.folder / "disturbed.jsonl", MODELS, N_DISTURBED, of="disturbed")
    out = muster.folder / "disturbed.answers.jsonl"
    words = ("batch", str(lines), "-o", str(out))
    say(f"muster {' '.join(words)}: a server is killed, then Muster")
    muster.forget()
    process = muster.start(*words)
    first = await_that(muster.at_work, process) or {}
    muster.forget()
    for pid in first.values():
        os.kill(pid, signal.SIGKILL)
    again = await_that(lambda: {m: p for m, p in muster.at_work().items() if first.get(m) != p}, process)
    process.kill()
    process.communicate()
    until = time.monotonic() + WAIT_S
    while muster.servers() and time.monotonic() < until:
        time.sleep(LOOK_S)
    left = muster.servers()
    status, told = muster.run(*words)
    return {
        "a server that was killed is started anew": Check(bool(first and again), [first, again]),
        "no server is left after Muster was killed": Check(not left, left),
        "the same command answers what was left": Check(status == 0, [answered(out), told["loads"]]),
        "no server is left after that": Check(not muster.servers(), muster.servers()),
    }


def interrupted(muster: Muster) -> dict[str, Check]:
    """Ctrl-C while a server works."""
    lines = write_lines(muster.folder / "stopped.jsonl", MODELS[:1], N_DISTURBED, of="stopped")
    muster.forget()
    process = muster.start("batch", str(lines), "-o", str(muster.folder / "stopped.answers.jsonl"))
    started = await_that(muster.at_work, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WAIT_S)
    seen = [process.returncode, started]
    return {
        "Ctrl-C ends a batch that can be resumed": Check(process.returncode == 130 and bool(started), seen),
        "no server is left after Ctrl-C": Check(not muster.servers(), muster.servers()),
    }


def retried(muster: Muster) -> dict[str, Check]:
    """Lines of a model whose server does not start; then it does."""
    lines = write_lines(muster.folder / "retried.jsonl", [MODELS[0], LATER], 2 * N_FAILING, of="retried")
    out = muster.folder / "retried.answers.jsonl"
    failing, _ = muster.run("batch", str(lines), "-o", str(out))
    before = answered(out)
    (muster.folder / "may-start").touch()
    status, _ = muster.run("batch", str(lines), "-o", str(out), "--retry-failed")
    return {
        "lines whose server does not start fail alone": Check(failing == 1 and before == N_FAILING, before),
        "a retry answers them": Check(status == 0 and answered(out) == 2 * N_FAILING, answered(out)),
        "no server is left after the retry": Check(not muster.servers(), muster.servers()),
    }


def run(files: Path, out: Path, *, n_lines: int, threads: int) -> dict[str, Any]:
    check_processor()
    program = fetch_server(files).resolve()
    for name in MODELS:
        say(f"fetching {name}, if it is not there yet")
        fetch_gguf(name, files)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(mode=0o700, parents=True)
    muster = Muster(out.resolve())
    document = pool(program, files.resolve(), threads=threads, out=muster.folder)
    (out / "muster.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    script = out / "start.sh"
    script.write_text(SCRIPT, encoding="utf-8")
    script.chmod(0o755)
    status, _ = muster.run("config", "check")
    checks = {"the pool file has no mistakes": Check(status == 0, status)}
    checks |= profile(muster)
    checks |= batch(muster, n_lines)
    checks |= disturbed(muster)
    checks |= interrupted(muster)
    checks |= retried(muster)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "faults": [name for name, check in checks.items() if not check.holds],
        "checks": {name: check.seen for name, check in checks.items()},
        "cpu_s": round(used.ru_utime + used.ru_stime),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        prog="python -m examples.llm.command",
    )
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1))
    given = parser.parse_args(argv)
    try:
        told = run(FILES, OUT, n_lines=given.lines, threads=given.threads)
    except (UnusableError, EngineLoadError) as error:
        say(f"skipped: {error}")
        return 0
    for name, seen in told["checks"].items():
        say(f"{'FAULT' if name in told['faults'] else 'holds'}: {name} ({seen})")
    print(json.dumps(told))
    return int(bool(told["faults"]))


if __name__ == "__main__":
    sys.exit(main())
