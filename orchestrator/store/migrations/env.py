"""Alembic's entry: runs the revisions on the connection handed over by `migrations.upgrade`."""

from alembic import context

from orchestrator.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
