"""Keys without the rest: what commands need that only make, list or ask for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.bootstrap.books import opened_database
from orchestrator.services.keys import Keys
from orchestrator.settings.schema import Settings
from orchestrator.store import SqlKeyStore, SqlMergeStore


@contextmanager
def open_keys(settings: Settings) -> Iterator[Keys]:
    """The keys of a configuration; raises as `opened_database`."""
    with opened_database(settings) as database:
        merged = SqlMergeStore(database).merged_experts()
        members = [member.model_name for member in settings.model_list]
        yield Keys(SqlKeyStore(database), experts=frozenset([*members, *(expert.id for expert in merged)]))
