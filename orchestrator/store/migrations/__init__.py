"""The schema's history (Alembic), applied by the program itself whenever it opens a database."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from orchestrator.errors import StoreError

HEAD = "0025"
"""Newest revision; lets an up-to-date database open without importing Alembic."""

_LOCK = 0x6D757374  # PostgreSQL's advisory lock while migrating


def upgrade(conn: Connection) -> None:
    """Bring the schema to `HEAD` inside the caller's transaction; several processes may try at once.

    Raises:
        StoreError: the database was written by a newer version.
    """
    if current_revision(conn) == HEAD:
        return
    if conn.dialect.name == "postgresql":
        conn.execute(text("SET LOCAL statement_timeout = 0"))  # a large table takes its time
        conn.execute(text("SET LOCAL lock_timeout = '60s'"))
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    _run_alembic(conn)


def current_revision(conn: Connection) -> str | None:
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run_alembic(conn: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = conn
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(
            f"the database's schema is not known to this version: {error}.", remedy="Upgrade Muster."
        ) from error
