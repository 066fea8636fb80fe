"""Vocabularies of checkpoints: whether two models mean the same by the same token ids."""

from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import IncompatibleModelsError
from workers.checkpoints.merging.tokens import read_tokens

TOKENIZER_FILE = "tokenizer.json"
MOST_NAMED = 5


def vocabulary_of(folder: str) -> dict[int, str] | None:
    """Tokens by id as `tokenizer.json` has them; None where it is not there or of an unknown form.

    It is read without a tokenizer library, so that a pool file can be checked quickly.
    """
    if not (Path(folder) / TOKENIZER_FILE).is_file():
        return None
    try:
        tokens = read_tokens(Path(folder), mark="")
    except (OSError, ValueError):
        return None
    return {number: token for token, number in (*tokens.vocabulary.items(), *tokens.added.items())}


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
