"""The process that merges: `python -m workers.checkpoints.merging.child FOLDER`, started by `runner.py`.

It reads `job.json` in the work folder and writes lines of JSON: progress, at the end a result or an error.
It ends when its standard input closes, so that it never outlives who started it.
"""

import json
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import JsonValue

from orchestrator.domain.merges import MergeProblem
from orchestrator.errors import ConfigError, IncompatibleModelsError, InputError, MusterError
from orchestrator.runtime.logs import setup_logs
from workers.checkpoints.merging.inputs import Places
from workers.checkpoints.merging.preflight import Checked, preflight
from workers.checkpoints.merging.recipe import Recipe
from workers.checkpoints.merging.work import JOB

if TYPE_CHECKING:
    from workers.checkpoints.merging.streaming import Merged

Say = Callable[[dict[str, JsonValue]], None]
REFUSED = 3
"""Exit code after an error that was told."""


def main() -> int:
    """Merge as `job.json` says; the exit code."""
    setup_logs(level=logging.WARNING)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    return 0 if work(Path(sys.argv[1]), _say) else REFUSED


def work(folder: Path, say: Say) -> bool:
    """The whole of a child's work; False after an error, which was said."""
    started = time.perf_counter()
    try:
        merged = _merged(json.loads((folder / JOB).read_text(encoding="utf-8")), folder, say)
    except MusterError as error:
        kind = "usage" if isinstance(error, ConfigError | InputError) else "refused"
        say({"error": {"kind": kind, "code": error.code, "message": str(error), "param": error.param}})
        return False
    except (OSError, MemoryError) as error:
        message = f"{type(error).__name__}: {error}."
        say({"error": {"kind": "failed", "code": "merge_failed", "message": message, "param": None}})
        return False
    say(
        {
            "result": {
                "files": {**merged.files},
                "tensors": merged.n_tensors,
                "problems": [problem.model_dump(mode="json") for problem in merged.problems],
                "seconds": round(time.perf_counter() - started, 3),
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
        }
    )
    return True


def _merged(job: dict[str, Any], folder: Path, say: Say) -> "Merged":
    if "rebuild" in job:
        from workers.checkpoints.merging.rebuild import rebuild_into

        return rebuild_into(Path(job["rebuild"]), job["expert"], folder)
    from workers.checkpoints.merging.results import merge_into, scan

    if job["scan"]:
        return scan(folder)
    recipe = Recipe.model_validate(job["recipe"])
    checked = preflight(recipe, Places(tuple(map(Path, job["places"])), closed=job["closed"]))
    _require(checked)
    merged = merge_into(
        recipe,
        checked,
        folder,
        seed=job["seed"],
        shard_bytes=job["shard_bytes"],
        on_tensor=lambda done, of: say({"progress": {"done": done, "of": of}}),
    )
    if job.get("rebuilds"):
        from workers.checkpoints.merging.rebuild import rebuild_all

        rebuild_all(folder)
    return merged


def _require(checked: Checked) -> None:
    """
    Raises:
        IncompatibleModelsError: files have changed since the preflight.
    """
    errors: list[MergeProblem] = [p for p in checked.preflight.problems if p.severity == "error"]
    if errors:
        raise IncompatibleModelsError(errors[0].line + ".", remedy="Run `muster merge --preflight`.")


def _say(document: dict[str, JsonValue]) -> None:
    print(json.dumps(document), flush=True)  # noqa: T201 -- it is how the parent hears


def _leave_with_parent() -> NoReturn:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
