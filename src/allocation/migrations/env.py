"""Alembic's entry: the connection, its transaction and its lock come from `adapters.schema`."""

from alembic import context

from allocation.adapters import checkpoints, journal, notifications, orm, read_tables, rebuilds
from allocation.adapters.metadata import metadata

TABLES = (checkpoints, journal, notifications, orm, read_tables, rebuilds)

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
