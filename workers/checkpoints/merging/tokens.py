"""Tokenizers of the inputs: do they give every token the same id? Read as files, without their library."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.domain.merges import MergeProblem
from workers.checkpoints.merging.headers import is_inside

MAX_BYTES = 256 << 20
SHOWN = 5
SENTENCE_PIECE = ("tokenizer.model", "spiece.model", "tiktoken.model", "tekken.json")


class Tokens(NamedTuple):
    """Ids of a tokenizer's tokens.

    Attributes:
        mark: SHA-256 of its files; equal marks, equal tokenizers.
        vocabulary: its own tokens. added: tokens that were added to it, and mean something only to those who
            trained with them.
        is_readable: False for forms of which only the mark is known.
    """

    mark: str
    vocabulary: Mapping[str, int]
    added: Mapping[str, int]
    is_readable: bool = True


def vocabulary_mark(folder: Path) -> str | None:
    """SHA-256 of the file that defines the vocabulary; None = there is none."""
    path = next(
        (folder / n for n in ("tokenizer.json", "vocab.json", "vocab.txt") if (folder / n).is_file()), None
    )
    path = path or next((folder / name for name in SENTENCE_PIECE if (folder / name).is_file()), None)
    if path is None or not is_inside(path) or path.stat().st_size > MAX_BYTES:
        return None
    digest = hashlib.sha256(path.name.encode())
    digest.update(path.read_bytes())
    added = folder / "added_tokens.json"
    if path.name != "tokenizer.json" and added.is_file() and is_inside(added):
        digest.update(added.read_bytes())
    return digest.hexdigest()


def read_tokens(folder: Path, mark: str) -> Tokens:
    """Tokens of the tokenizer in a folder, as far as its files can be read.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is no tokenizer's.
    """
    if (folder / "tokenizer.json").is_file():
        return _of_tokenizers(_json(folder / "tokenizer.json"), mark)
    added = (
        dict(_ids(_json(folder / "added_tokens.json"))) if (folder / "added_tokens.json").is_file() else {}
    )
    if (folder / "vocab.json").is_file():
        return Tokens(mark, dict(_ids(_json(folder / "vocab.json"))), added)
    if (folder / "vocab.txt").is_file():
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        return Tokens(mark, {token: index for index, token in enumerate(lines)}, added)
    return Tokens(mark, {}, added, is_readable=False)


def token_problems(name: str, ours: Tokens, base: Tokens) -> Iterator[MergeProblem]:
    """Differences between the tokenizer of an input and the base's."""
    if ours.mark == base.mark:
        return
    if not (ours.is_readable and base.is_readable):
        yield MergeProblem(kind="vocabulary", model=name, have="another tokenizer", want="the base's")
        return
    have, want = {**ours.vocabulary, **ours.added}, {**base.vocabulary, **base.added}
    moved = [token for token in have.keys() & want.keys() if have[token] != want[token]]
    lone = (ours.vocabulary.keys() - want.keys()) | (base.vocabulary.keys() - have.keys())
    wrong = sorted([*moved, *lone], key=lambda token: (want.get(token, have.get(token, 0)), token))
    ids = {number: token for token, number in want.items()}
    taken = [t for t in ours.added.keys() - want.keys() if ids.get(have[t], t) != t]
    if wrong or taken:
        shown = [*wrong, *sorted(taken)][:SHOWN]
        yield MergeProblem(
            kind="vocabulary",
            model=name,
            have={token: have.get(token) for token in shown},
            want={token: want.get(token) for token in shown},
        )
        return
    if ours.added != base.added:
        differing = sorted(ours.added.keys() ^ base.added.keys())[:SHOWN]
        yield MergeProblem(
            kind="added_tokens",
            severity="warning",
            model=name,
            have={token: ours.added.get(token) for token in differing},
            want={token: base.added.get(token) for token in differing},
        )


def _of_tokenizers(document: JsonValue, mark: str) -> Tokens:
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(model, dict):
        raise ValueError("tokenizer.json holds no model")
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, list):  # of Unigram: [token, score], the place is the id
        tokens = {str(row[0]): index for index, row in enumerate(vocabulary) if isinstance(row, list) and row}
    else:
        tokens = dict(_ids(vocabulary))
    rows = document.get("added_tokens") or []
    if not isinstance(rows, list):
        raise ValueError("tokenizer.json: added_tokens is no list")
    pairs = [(row.get("content"), row.get("id")) for row in rows if isinstance(row, dict)]
    added = {text: number for text, number in pairs if isinstance(text, str) and isinstance(number, int)}
    return Tokens(mark, tokens, {text: number for text, number in added.items() if text not in tokens})


def _ids(document: JsonValue) -> Iterator[tuple[str, int]]:
    if not isinstance(document, dict):
        raise ValueError("the vocabulary is no object")
    for token, number in document.items():
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(f"the token '{token[:40]}' has no id")
        yield token, number


def _json(path: Path) -> JsonValue:
    if not is_inside(path):
        raise ValueError(f"{path.name} leads out of the model's folder")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_BYTES >> 20} MiB")
    try:
        document: JsonValue = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    return document
