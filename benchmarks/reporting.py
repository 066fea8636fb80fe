"""Output of benchmarks: progress goes to stderr, and the last line of stdout is one JSON object.

Standard library only: `vllm_scripts` runs where nothing of Muster is installed.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path


def option_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the module's docstring as it stands."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)


def add_replay_set(parser: argparse.ArgumentParser) -> None:
    """The argument `folder`: a recorded set of answers."""
    default = os.environ.get("MUSTER_REPLAY_DIR")
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?" if default else None,
        default=default,
        help="a replay set (docs/replay.md); default: $MUSTER_REPLAY_DIR",
    )


def progress(line: object) -> None:
    """A line for who waits."""
    print(line, file=sys.stderr, flush=True)


def finish(report: Mapping[str, object]) -> None:
    """The last line: the figures of the run."""
    print(json.dumps(report), flush=True)
