"""Upload and checking of one large file of OpenAI lines: CPU seconds and memory, in a process of its own.

    python -m benchmarks.batch_files [--lines 50000] [--mb 200] [--url postgresql://...]

The lines differ in model, sampling and length; the file is kept in the database, checked all or nothing, and
becomes a job of as many queries, which nobody answers.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import yaml

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from api.views.jobs_lines import LINE_FORMS
from benchmarks.reporting import finish, option_parser, progress
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.batches import Batch, BatchState, Purpose, StoredFile
from orchestrator.settings.load import load_settings

MODELS = ("alpha", "beta", "gamma", "auto", "muster/majority_all", "muster/knn")


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--mb", type=float, default=200)
    parser.add_argument("--url", help="of the database; SQLite in a temporary folder by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        os.chdir(folder)
        pool = write_pool(Path(folder), given.url)
        with Path("in.jsonl").open("w+b") as file, open_app(load_settings(pool)) as app:
            n_bytes = write_lines(file, n=given.lines, n_bytes=int(given.mb * 1e6))
            progress(f"{given.lines} lines, {n_bytes / 1e6:.0f} MB")
            figures = measured(app, file)
    finish({"lines": given.lines, "mb": round(n_bytes / 1e6, 1), **figures})


def measured(app: App, content: IO[bytes]) -> dict[str, Any]:
    """CPU seconds of this process for both steps, and the most memory that it ever held."""
    before_mb, cpu = peak_mb(), time.process_time()
    content.seek(0)
    file = StoredFile(id="file-bench", purpose=Purpose.BATCH, filename="in.jsonl")
    app.files.keep(file, content)
    upload_s = time.process_time() - cpu
    now = time.time()
    app.batches.create(
        Batch(
            id="batch_bench",
            endpoint=LINE_FORMS.endpoints[0],
            input_file_id=file.id,
            window="24h",
            created_at=now,
            expires_at=now + 86_400,
        )
    )
    clerk, cpu = app.clerk(LINE_FORMS), time.process_time()
    clerk.round()
    validate_s = time.process_time() - cpu
    batch = app.batches.batch("batch_bench")
    assert batch.state is BatchState.IN_PROGRESS, batch
    return {
        "upload_cpu_s": round(upload_s, 2),
        "validate_cpu_s": round(validate_s, 2),
        "peak_mb": round(peak_mb()),
        "peak_before_mb": round(before_mb),
        "total": batch.counts.total,
    }


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def write_lines(file: IO[bytes], *, n: int, n_bytes: int) -> int:
    """The size of `n` lines of equal lengths, together about `n_bytes`."""
    for line in lines(n, n_bytes // n):
        file.write(line)
    return file.tell()


def lines(n: int, length: int) -> Iterator[bytes]:
    for number in range(n):
        body = {
            "model": MODELS[number % len(MODELS)],
            "temperature": number % 2,
            "max_tokens": 64,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ""}],
        }
        line = {"custom_id": f"line-{number}", "method": "POST", "url": LINE_FORMS.endpoints[0], "body": body}
        room = max(20, length - len(json.dumps(line)) - 1)
        body["messages"][1]["content"] = words(number, room)  # type: ignore[index]
        yield f"{json.dumps(line)}\n".encode()


def words(number: int, n_chars: int) -> str:
    """Text that compresses about as prose does."""
    drawn = [f"{(number * 7919 + place * 104_729) % 99_991:x}" for place in range(n_chars // 5 + 1)]
    return " ".join(drawn)[:n_chars]


def write_pool(folder: Path, url: str | None) -> Path:
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": name},
            "model_info": {"muster": {"engine": "scripted"}},
        }
        for name in MODELS[:3]
    ]
    muster = {"data_dir": "data", "embedder": {"model": "hash"}, **({"database_url": url} if url else {})}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": members, "muster": muster}))
    return path


if __name__ == "__main__":
    main()
