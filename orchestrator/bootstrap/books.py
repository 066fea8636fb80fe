"""The books without the rest: what commands need that only list what was submitted."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.ports.jobs import JobReader
from orchestrator.runtime.private import tighten_folder
from orchestrator.settings.schema import Settings
from orchestrator.store import SqlJobStore, open_database


@contextmanager
def open_books(settings: Settings) -> Iterator[JobReader]:
    """The jobs of a configuration, over a database that is closed at the end.

    Raises:
        StoreError: the database cannot be used.
    """
    tighten_folder(settings.muster.data_dir)
    database = open_database(settings.database_url)
    try:
        yield SqlJobStore(database)
    finally:
        database.close()
