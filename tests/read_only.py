"""A database that takes no changes for a while, as a standby that nobody has promoted yet."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from allocation.adapters.postgresql.database import Database

_END_ALL_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@contextmanager
def reading_only(database: Database) -> Iterator[None]:
    """Within the context, no transaction can change anything."""
    _alter(database, "SET default_transaction_read_only = on")
    yield
    _alter(database, "RESET default_transaction_read_only")


def _alter(database: Database, change: str) -> None:
    with database.working() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SET default_transaction_read_only = off"))
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} {change}"))
        # The sessions that there are would go on as they began.
        connection.execute(text(_END_ALL_OTHERS))
        connection.invalidate()
