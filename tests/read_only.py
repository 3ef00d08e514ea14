"""A database that takes no changes for a while, as a standby that nobody has promoted yet."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from allocation.adapters.database import Database


@contextmanager
def reading_only(database: Database) -> Iterator[None]:
    """Within the context, no transaction can change anything."""
    _alter(database, "SET default_transaction_read_only = on")
    yield
    _alter(database, "RESET default_transaction_read_only")


def _alter(database: Database, change: str) -> None:
    with database.working() as connection, connection.begin():
        connection.execute(text("SET TRANSACTION READ WRITE"))
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} {change}"))
    # The connections that there are begin as they did before.
    database.close()
