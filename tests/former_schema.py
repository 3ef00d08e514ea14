"""Databases whose schema is that of a former migration."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from alembic import command
from sqlalchemy import make_url

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import _alembic


@contextmanager
def database_at(revision: str, server_url: str, name: str, *statements: str) -> Iterator[Database]:
    """A new database of this name, migrated as far as the revision, after these statements."""
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        server.execute(f"CREATE DATABASE {name}".encode())
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with Database(url) as database:
        migrate_to(revision, database, *statements)
        yield database


def migrate_to(revision: str, database: Database, *statements: str) -> None:
    """Migrate the database as far as the revision, then execute these statements."""
    config = _alembic()
    with database.working() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.exec_driver_sql(statement)
