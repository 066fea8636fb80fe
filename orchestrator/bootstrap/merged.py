"""Merged experts in the pool: rows of `model_list` that no file holds, from the database, as it changes."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from orchestrator.bootstrap.references import check_references
from orchestrator.domain.experts import LivePool, Pool
from orchestrator.domain.merges import Lineage, MergedExpert
from orchestrator.errors import ConfigError, StoreError
from orchestrator.pool import merged_member
from orchestrator.ports.merging import MergedExperts
from orchestrator.runtime.rounds import Rounds
from orchestrator.settings.members import Member
from orchestrator.settings.schema import Settings
from workers.backends.registry import SERVER_BACKENDS, features_of, parts_of
from workers.checkpoints.identity import weights_hash
from workers.checkpoints.turns import rendering_of

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often a process looks for experts that merges registered or removed since."""


class Joined(NamedTuple):
    """Settings and pool with merged experts, and where these come from, by their ids."""

    settings: Settings
    pool: Pool
    lineages: dict[str, Lineage]


def join_pool(
    settings: Settings,
    pool: Pool,
    registered: Sequence[MergedExpert],
    applicants: Sequence[MergedExpert] = (),
) -> Joined:
    """The pool of a file with merged experts behind it.

    A registered one whose weights are gone, or whose name the file or a composition took since, is left out
    and said: it must not keep the others from answering.

    Args:
        applicants: come in place of registered ones of their names.

    Raises:
        ConfigError: an applicant that cannot be in the pool.
    """
    tried = {one.id for one in applicants}
    joined = Joined(settings, pool, {})
    for one in (*(r for r in registered if r.id not in tried), *applicants):
        try:
            joined = _with(joined, one)
        except ConfigError as error:
            if one.id in tried:
                raise
            log.warning("the merged expert '%s' is left out: %s", one.id, error)
    return joined


def member_of(expert: MergedExpert) -> Member:
    """Row of `model_list` that a merged expert was registered with.

    Raises:
        ConfigError: a row that this version does not understand.
    """
    try:
        return Member.model_validate(expert.member)
    except ValidationError as error:
        raise ConfigError(f"it cannot be read: {error.errors(include_url=False)[0]['msg']}.") from None


def _with(joined: Joined, one: MergedExpert) -> Joined:
    if one.id in joined.pool.by_id:
        raise ConfigError(
            f"another member of the pool is called '{one.id}'.", remedy="Give one of them another name."
        )
    member = member_of(one)
    if member.model_name != one.id:
        raise ConfigError(f"it calls itself '{member.model_name}'.", remedy="Merge again.")
    for place in _folders(member):
        if not place.is_dir():
            raise ConfigError(f"there is no folder '{place}'.", remedy="Bring it back, or merge again.")
    settings = joined.settings.model_copy(update={"model_list": (*joined.settings.model_list, member)})
    expert = merged_member(
        member,
        settings,
        weights_hash=weights_hash,
        servers=SERVER_BACKENDS,
        parts=parts_of,
        features=features_of,
        renderings=rendering_of,
    )
    if expert.engine.id in joined.pool.engines:
        raise ConfigError(
            f"an engine of the pool is called '{expert.engine.id}'.", remedy="Give the expert another name."
        )
    pool = Pool(experts=(*joined.pool.experts, expert))
    check_references(settings, pool)
    return Joined(settings, pool, {**joined.lineages, one.id: one.lineage})


def _folders(member: Member) -> list[Path]:
    """Where its weights lie."""
    return [Path(p) for p in (member.litellm_params.model, member.model_info.base_model) if p is not None]


class PoolWatch:
    """Keeps the pool of a process as the database says: experts join it and depart while it is used.

    Args:
        settings, pool: of the file.
        on_changed: called after the pool changed, from whatever thread looked.

    Attributes:
        pool: the live one, for everybody in the process.

    Raises:
        ConfigError: an applicant that cannot be in the pool.
        StoreError: the database cannot be read.
    """

    def __init__(
        self,
        store: MergedExperts,
        *,
        settings: Settings,
        pool: Pool,
        applicants: Sequence[MergedExpert],
        on_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._file = Joined(settings, pool, {})
        self._applicants = applicants
        self._on_changed = on_changed
        self._lock = threading.Lock()
        self._rounds = Rounds("muster-pool", self._look_again, every_s=LOOK_S)
        registered = store.merged_experts()
        self._seen = _marks(registered)
        self._joined = join_pool(settings, pool, registered, applicants)
        self.pool = LivePool(experts=self._joined.pool.experts)

    @property
    def settings(self) -> Settings:
        """Settings of the file, with the members that merges made."""
        return self._joined.settings

    @property
    def lineages(self) -> dict[str, Lineage]:
        """Lineages of merged experts, by id."""
        return self._joined.lineages

    def look(self) -> bool:
        """Take over what changed; whether anything did.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._lock:
            registered = self._store.merged_experts()
            marks = _marks(registered)
            if marks == self._seen:
                return False
            self._joined = join_pool(self._file.settings, self._file.pool, registered, self._applicants)
            self._seen = marks
            before = set(self.pool.by_id)
            self.pool.follow(self._joined.pool)
            after = set(self.pool.by_id)
        log.info("the pool changed: joined %s, departed %s", sorted(after - before), sorted(before - after))
        self._on_changed()
        return True

    def start(self) -> None:
        """Look every `LOOK_S` in a thread of its own, until `stop`; idempotent."""
        self._rounds.start()

    def stop(self) -> None:
        """End the looks; one that is under way may still change the pool. Idempotent."""
        self._rounds.stop()

    def _look_again(self) -> None:
        try:
            self.look()
        except StoreError as error:  # the database is away: later
            log.debug("the pool is not looked at: %s", error)


def _marks(registered: Sequence[MergedExpert]) -> list[tuple[MergedExpert, bool]]:
    """Rows, and whether their weights are there."""
    return [(one, _is_there(one)) for one in registered]


def _is_there(one: MergedExpert) -> bool:
    try:
        return all(place.is_dir() for place in _folders(member_of(one)))
    except ConfigError:
        return False
