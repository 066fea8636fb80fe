"""Vocabularies of checkpoints: whether two models mean the same by the same token ids."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from orchestrator.errors import IncompatibleModelsError
from orchestrator.runtime.files import read_json

TOKENIZER_FILE = "tokenizer.json"
MOST_NAMED = 5


class _Added(BaseModel):
    id: int
    content: str


class _Model(BaseModel):
    vocab: dict[str, int] | list[tuple[str, float]]


class _TokenizerFile(BaseModel):
    """Fields read of `tokenizer.json`."""

    model: _Model
    added_tokens: list[_Added] = []


def vocabulary_of(folder: str) -> dict[int, str] | None:
    """Tokens by id as `tokenizer.json` has them; None where it is not there or of an unknown form.

    It is read without a tokenizer library, so that a pool file can be checked quickly.
    """
    try:
        file = _TokenizerFile.model_validate(read_json(Path(folder) / TOKENIZER_FILE))
    except (OSError, ValueError):
        return None
    vocab = file.model.vocab
    numbered = vocab.items() if isinstance(vocab, dict) else ((row[0], at) for at, row in enumerate(vocab))
    tokens = {number: token for token, number in numbered}
    return {**tokens, **{token.id: token.content for token in file.added_tokens}}


def require_one_vocabulary(
    owner: str, large: Mapping[int, str], members: Mapping[str, Mapping[int, str]], *, size: int
) -> None:
    """Refuse members whose tokens are others than the large model's.

    Args:
        owner: for the message: "engine 'x'".
        large: tokens by id.
        members: tokens by id of each other member, by name.
        size: ids below it must agree: those that the large model can emit.

    Raises:
        IncompatibleModelsError: it names the first five ids that differ.
    """
    for name, tokens in members.items():
        differ = [number for number in range(size) if large.get(number) != tokens.get(number)]
        if not differ:
            continue
        named = ", ".join(
            f"{number} is {_shown(large, number)} and {_shown(tokens, number)}"
            for number in differ[:MOST_NAMED]
        )
        raise IncompatibleModelsError(
            f"{owner}: '{name}' has another vocabulary than the large model: {len(differ)} of {size} token "
            f"ids differ: {named}.",
            param="options",
            remedy="Fuse models of one tokenizer.",
        )


def _shown(tokens: Mapping[int, str], number: int) -> str:
    token = tokens.get(number)
    return "nothing" if token is None else repr(token[:40])
