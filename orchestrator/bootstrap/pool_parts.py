"""Check of the weights that an engine's options name: that they are there, and of one vocabulary."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.domain.origins import objection
from orchestrator.errors import IncompatibleModelsError
from orchestrator.pool import EnginePart, locate
from workers.backends.registry import parts_of
from workers.checkpoints.formats import ADAPTER_CONFIG
from workers.checkpoints.vocabulary import require_one_vocabulary, vocabulary_of

CONFIG = "config.json"


class PartMistake(NamedTuple):
    """Mistake in the options of one member, and its remedy."""

    message: str
    remedy: str | None = None


def part_mistakes(
    name: str, model: str, backend: str, options: Mapping[str, JsonValue], base_dir: Path
) -> Iterator[PartMistake]:
    """Mistakes that can be found without loading anything.

    Args:
        name: of the member.
        model: its own weights, as they stand in the file.
        base_dir: folder that paths are relative to.
    """
    parts = parts_of(backend, options)
    for part in dict.fromkeys(parts):
        yield from _place_mistakes(part, base_dir)
    own = vocabulary_of(locate(model, base_dir))
    found = {part.model: vocabulary_of(locate(part.model, base_dir)) for part in parts}
    others = {part: tokens for part, tokens in found.items() if tokens is not None}
    if own is None or not others:
        return
    try:
        require_one_vocabulary(f"'{name}'", own, others, size=len(own))
    except IncompatibleModelsError as error:
        yield PartMistake(error.message)


def _place_mistakes(part: EnginePart, base_dir: Path) -> Iterator[PartMistake]:
    against = objection(locate(part.model, base_dir), part.revision)
    if against is not None:
        yield PartMistake(f"{against.why}.", against.remedy)
    folder = base_dir / part.model
    if (folder / ADAPTER_CONFIG).is_file():
        remedy = f"Write {{model: its base, adapter: {part.model}}}."
        yield PartMistake(f"'{part.model}' holds an adapter.", remedy)
    elif folder.is_dir() and not (folder / CONFIG).is_file():
        yield PartMistake(f"'{part.model}' holds no {CONFIG}.", "Name the folder with the model's weights.")
    if part.adapter is not None and not (base_dir / part.adapter / ADAPTER_CONFIG).is_file():
        yield PartMistake(
            f"there is no adapter in '{part.adapter}'.", f"Name the folder with {ADAPTER_CONFIG}."
        )
