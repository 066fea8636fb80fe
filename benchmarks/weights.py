"""Cost of checking weights before a worker serves them: CPU seconds of `headers` and `full`, and again.

    python -m benchmarks.weights [--gib 1]

The file is written for the measurement, of zeros, and lies in the page cache. The last line of output is one
JSON object: CPU seconds (neighbours do not disturb them) and the largest memory of the process in MiB.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser, progress
from workers.checkpoints.marks import FileMarks, files_of

CHUNK = bytes(1 << 20)


def costs(folder: Path, *, gib: float) -> dict[str, float]:
    """CPU seconds of a first and a second look, by mode."""
    with (folder / "model.safetensors").open("wb") as file:
        for _ in range(round(gib * 1024)):
            file.write(CHUNK)
    found: dict[str, float] = {}
    for mode in ("headers", "full"):
        marks = FileMarks()
        for name in (mode, f"{mode}_again"):
            began = time.process_time()
            for one in files_of({"": str(folder)}) or ():
                marks.of(one, whole=mode == "full", progress=lambda _n: None)
            found[name] = round(time.process_time() - began, 5)
        progress(f"{mode}: {found[mode]} s, again {found[f'{mode}_again']} s")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--gib", type=float, default=1.0, help="size of the file")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        found = costs(Path(scratch), gib=args.gib)
    finish({"gib": args.gib, **found, "max_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024})


if __name__ == "__main__":
    main()
