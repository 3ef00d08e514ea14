"""Alembic's entry: the connection, its transaction and its lock come from `adapters.postgresql.schema`."""

from alembic import context

from allocation.adapters import notifications
from allocation.adapters.journal import archive, checkpoints, ledger
from allocation.adapters.postgresql.metadata import metadata
from allocation.adapters.read_models import rebuilds
from allocation.adapters.read_models import tables as read_tables
from allocation.adapters.write_model import tables as write_tables

TABLES = (archive, checkpoints, ledger, notifications, read_tables, rebuilds, write_tables)

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
