"""Keys without the rest: what commands need that only make, list or ask for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.runtime.private import tighten_folder
from orchestrator.services.keys import Keys
from orchestrator.settings.schema import Settings
from orchestrator.store import SqlKeyStore, SqlMergeStore, open_database


@contextmanager
def open_keys(settings: Settings) -> Iterator[Keys]:
    """The keys of a configuration, over a database that is closed at the end.

    Raises:
        StoreError: the database cannot be used.
    """
    tighten_folder(settings.muster.data_dir)
    database = open_database(settings.database_url)
    try:
        merged = SqlMergeStore(database).merged_experts()
        members = [member.model_name for member in settings.model_list]
        yield Keys(SqlKeyStore(database), experts=frozenset([*members, *(expert.id for expert in merged)]))
    finally:
        database.close()
