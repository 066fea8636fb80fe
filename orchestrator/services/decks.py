"""Competence cards as a file: to keep, to move between machines, to compare."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from orchestrator.domain.cards import CARD_SCHEMA, CompetenceCard, deck_hash
from orchestrator.domain.experts import Pool
from orchestrator.errors import CardError
from orchestrator.runtime.files import replacing

logger = logging.getLogger(__name__)

FORMAT = "muster-deck"
MAX_BYTES = 64 << 20


class _DeckFile(BaseModel):
    """`hash` covers all cards; `pool` is the fingerprint of the pool that was profiled, for readers."""

    model_config = ConfigDict(extra="forbid")

    format: str = FORMAT
    schema_version: int = CARD_SCHEMA
    pool: str
    hash: str
    cards: dict[str, CompetenceCard]


def export_deck(cards: Mapping[str, CompetenceCard], path: Path, *, pool: Pool) -> str:
    """Write cards to a file, all or nothing; returns the deck's hash.

    Raises:
        CardError: no cards, or the file cannot be written.
    """
    if not cards:
        raise CardError("there are no cards to export.", remedy="Profile the pool first.")
    deck = _DeckFile(pool=pool.fingerprint, hash=deck_hash(cards), cards=dict(sorted(cards.items())))
    try:
        with replacing(path) as file:
            file.write(f"{deck.model_dump_json(indent=1)}\n".encode())
    except OSError as error:
        raise CardError(f"cards cannot be written to {path}: {error}") from error
    return deck.hash


def import_deck(path: Path, *, pool: Pool, allow_mismatch: bool = False) -> dict[str, CompetenceCard]:
    """Read cards and check that they belong to this pool.

    Args:
        allow_mismatch: take cards over although the expert's weights or options differ (they then
            count for the present ones), and leave out cards of experts that are not in the pool.

    Raises:
        CardError: unreadable, another format or schema, changed since its export, not a number
            where one belongs, or measured on other experts.
    """
    deck = _parsed(_payload(path), path)
    if deck_hash(deck.cards) != deck.hash or any(k != c.expert_id for k, c in deck.cards.items()):
        raise CardError(
            f"{path}: the cards were changed after their export.", remedy="Export them again, or profile."
        )
    _check_experts(deck.cards, pool, path, allow_mismatch=allow_mismatch)
    return {
        expert_id: card.model_copy(update={"fingerprint": pool.by_id[expert_id].fingerprint})
        for expert_id, card in deck.cards.items()
        if expert_id in pool.by_id
    }


def _payload(path: Path) -> dict[str, JsonValue]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CardError(f"{path}: larger than {MAX_BYTES >> 20} MiB; not a deck of cards.")
        payload = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise CardError(
            f"{path}: not a readable deck of cards: {error}.", remedy="Export it again, or profile."
        ) from error
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise CardError(f"{path}: not a deck of cards.", remedy="Give a file that 'muster cards' exported.")
    if payload.get("schema_version") != CARD_SCHEMA:
        raise CardError(
            f"{path}: cards of schema {payload.get('schema_version')}, this version reads {CARD_SCHEMA}.",
            remedy="Profile the pool again with this version.",
        )
    return payload


def _parsed(payload: dict[str, JsonValue], path: Path) -> _DeckFile:
    try:
        deck = _DeckFile.model_validate(payload)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CardError(
            f"{path}: {place}: {first['msg']}.", param=place, remedy="Export the cards again, or profile."
        ) from error
    if any(card.schema_version != CARD_SCHEMA for card in deck.cards.values()):
        raise CardError(f"{path}: a card has another schema.", remedy="Profile the pool again.")
    return deck


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a count")


def _check_experts(
    cards: Mapping[str, CompetenceCard], pool: Pool, path: Path, *, allow_mismatch: bool
) -> None:
    unknown = sorted(cards.keys() - pool.by_id.keys())
    known = sorted(cards.keys() & pool.by_id.keys())
    changed = [i for i in known if cards[i].fingerprint != pool.by_id[i].fingerprint]
    if allow_mismatch and known:
        if unknown or changed:
            logger.warning("%s: left out %s; measured on other weights: %s", path, unknown, changed)
        return
    if unknown:
        raise CardError(
            f"{path}: cards of experts that are not in this pool: {', '.join(unknown[:5])}.",
            remedy="Use the deck's own pool file, or profile this pool.",
        )
    if changed:
        raise CardError(
            f"{path}: measured on other weights or options: {', '.join(changed[:5])}.",
            remedy="Profile these experts again, or import with a mismatch allowed.",
        )
