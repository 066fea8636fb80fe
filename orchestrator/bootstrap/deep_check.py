"""Check of a pool's files: every header, chat template and tokenizer, read in seconds; no tensor is read, and
no heavy library needed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from orchestrator.bootstrap.checks import WEIGHED
from orchestrator.domain.experts import Expert, Pool
from orchestrator.runtime.files import barred
from workers.checkpoints.defects import Defect, Weights, adapter_defects, model_defects
from workers.checkpoints.reading import adapter_remark, read_folder, served_remarks

VLLM, COMMAND = "vllm", "command"
MOST_NAMED = 3
"""Experts that a remark names."""


class FoundDefect(NamedTuple):
    """Defect of a member's files.

    Attributes:
        expert: the first that it concerns.
        is_base: of the base weights of an adapter's member, rather than of what `model` names.
    """

    expert: str
    defect: Defect
    is_base: bool


class DeepCheck(NamedTuple):
    """Findings in a pool's files: `remarks` by the experts that they concern; `n_folders` were read."""

    defects: list[FoundDefect]
    remarks: dict[str, list[str]]
    n_folders: int = 0

    @property
    def remark_lines(self) -> list[str]:
        """Remarks, each in one line with its experts."""
        return [f"{_named(experts)}: {remark}." for remark, experts in self.remarks.items()]


NOTHING_READ = DeepCheck([], {})


class _Folders:
    """Folders of one check; each is read once, however many experts share it."""

    def __init__(self) -> None:
        self._read: dict[object, Weights | None] = {}

    def once(self, key: object, read: Callable[[], Weights | None]) -> tuple[Weights | None, bool]:
        """What a folder told, and whether it was read now."""
        is_new = key not in self._read
        if is_new:
            self._read[key] = read()
        return self._read[key], is_new

    def __len__(self) -> int:
        return len(self._read)


def check_files(pool: Pool) -> DeepCheck:
    """Read what can be told of a pool's files without loading them. Hub ids and engines elsewhere are left
    out: their files are not here."""
    found, folders = DeepCheck([], {}), _Folders()
    for expert in pool.experts:
        if expert.engine.backend in WEIGHED:
            _check_expert(expert, found, folders)
        elif expert.engine.backend == COMMAND:
            for remark in served_remarks(expert.engine):
                found.remarks.setdefault(remark, []).append(expert.id)
    return found._replace(n_folders=len(folders))


def _check_expert(expert: Expert, found: DeepCheck, folders: _Folders) -> None:
    engine = expert.engine
    base, is_new = _weights(expert, engine.model, found, folders)
    if is_new and barred(Path(engine.model)) is None and Path(engine.model).is_dir():
        read = read_folder(engine, base)
        found.defects.extend(
            FoundDefect(expert.id, defect, expert.adapter is not None) for defect in read.defects
        )
        for remark in read.remarks:
            found.remarks.setdefault(remark, []).append(expert.id)
    for part in _parts(expert):
        _weights(expert, part, found, folders)
    if expert.adapter is not None:
        _check_adapter(expert, Path(expert.adapter), base, found)


def _parts(expert: Expert) -> Iterator[str]:
    """Folders of further weights that an engine's options name."""
    for place in expert.engine.members.values():
        if not (Path(place) / "adapter_config.json").is_file():
            yield place


def _weights(expert: Expert, model: str, found: DeepCheck, folders: _Folders) -> tuple[Weights | None, bool]:
    """Weights of a folder, with their defects told at the first look."""

    def read() -> Weights | None:
        if barred(Path(model)) is not None or not Path(model).is_dir():
            return None  # the check of the file says so
        defects, weights = model_defects(Path(model), by_vllm=expert.engine.backend == VLLM)
        is_base = expert.adapter is not None
        found.defects.extend(FoundDefect(expert.id, defect, is_base) for defect in defects)
        return weights

    return folders.once((model, expert.engine.chat_template), read)


def _check_adapter(expert: Expert, adapter: Path, base: Weights | None, found: DeepCheck) -> None:
    defects = adapter_defects(adapter, base, by_vllm=expert.engine.backend == VLLM)
    found.defects.extend(FoundDefect(expert.id, defect, False) for defect in defects)
    remark = adapter_remark(adapter, expert.engine)
    if remark is not None:
        found.remarks.setdefault(remark, []).append(expert.id)


def _named(experts: list[str]) -> str:
    shown = ", ".join(experts[:MOST_NAMED])
    return shown if len(experts) <= MOST_NAMED else f"{shown} and {len(experts) - MOST_NAMED} more"
