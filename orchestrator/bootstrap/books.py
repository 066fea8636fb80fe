"""The books without the rest: what commands need that only list what was submitted."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.ports.jobs import JobReader
from orchestrator.runtime.private import tighten_folder
from orchestrator.settings.schema import Settings
from orchestrator.store import Database, SqlJobStore, open_database


@contextmanager
def opened_database(settings: Settings) -> Iterator[Database]:
    """The database of a configuration, closed at the end.

    Raises:
        StoreError: it cannot be used.
    """
    tighten_folder(settings.muster.data_dir)
    database = open_database(settings.database_url)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def open_books(settings: Settings) -> Iterator[JobReader]:
    """The jobs of a configuration; raises as `opened_database`."""
    with opened_database(settings) as database:
        yield SqlJobStore(database)
