"""Opening the database that a command works on."""

from collections.abc import Iterator
from contextlib import contextmanager

from allocation.adapters.configuration import Settings
from allocation.adapters.embedded.embedded_postgresql import (
    MIN_CONNECTIONS,
    EmbeddedPostgreSQL,
    embedded_postgresql,
)
from allocation.adapters.postgresql import schema
from allocation.adapters.postgresql.database import Database
from allocation.projections import projector
from allocation.service_layer.bootstrap import journal_followers


@contextmanager
def database_url(
    settings: Settings, *, connections: int = MIN_CONNECTIONS
) -> Iterator[tuple[str, EmbeddedPostgreSQL | None]]:
    """The URL of the database, and the embedded server if that is the one in use (else None).

    Without a configured database, the embedded server is started if need be, to take `connections`
    connections. Raises EmbeddedServerTrouble.
    """
    if settings.database_url is not None:
        yield settings.database_url, None
        return
    with embedded_postgresql(settings.data_dir, connections=connections) as server:
        yield server.url, server


@contextmanager
def open_database(settings: Settings, *, writing: bool = False) -> Iterator[Database]:
    """The database, if this program can work on its schema; only for `writing` must the role be able to.

    Raises SchemaTooOld, SchemaTooNew, RightMissing, StorageUnavailable or EmbeddedServerTrouble.
    """
    with connected(settings) as database:
        schema.check(database, writing=writing)
        yield database


@contextmanager
def prepared_database(settings: Settings) -> Iterator[Database]:
    """The database, once its schema has been brought up to date.

    Raises SchemaTooNew, StorageUnavailable or EmbeddedServerTrouble.
    """
    with connected(settings) as database:
        prepare(database, settings)
        yield database


@contextmanager
def connected(settings: Settings) -> Iterator[Database]:
    """The database, its schema unchecked. Raises EmbeddedServerTrouble if the embedded one does not start."""
    with database_url(settings) as (url, _), Database(url, schema=settings.database_schema) as database:
        yield database


def prepare(database: Database, settings: Settings) -> None:
    """Bring the schema up to date, and create the missing checkpoints of journal readers."""
    schema.migrate(database)
    projector.register(journal_followers(database, settings))
