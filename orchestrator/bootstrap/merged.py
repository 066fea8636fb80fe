"""Merged experts in the pool: rows of `model_list` that no file holds, from the database."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from orchestrator.bootstrap.checks import check_references
from orchestrator.domain.experts import Pool
from orchestrator.domain.merges import Lineage, MergedExpert
from orchestrator.errors import ConfigError
from orchestrator.pool import build_pool
from orchestrator.settings.members import Member
from orchestrator.settings.schema import Settings
from workers.backends.registry import REMOTE_BACKENDS, parts_of
from workers.checkpoints.identity import weights_hash

log = logging.getLogger(__name__)


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
    """
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
    for place in (member.litellm_params.model, member.model_info.base_model):
        if place is not None and not Path(place).is_dir():
            raise ConfigError(f"there is no folder '{place}'.", remedy="Bring it back, or merge again.")
    settings = joined.settings.model_copy(update={"model_list": (*joined.settings.model_list, member)})
    pool = build_pool(settings, weights_hash=weights_hash, remote=REMOTE_BACKENDS, parts=parts_of)
    check_references(settings, pool)
    return Joined(settings, pool, {**joined.lineages, one.id: one.lineage})
