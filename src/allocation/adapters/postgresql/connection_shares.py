"""How the connections that a server takes are shared out among the processes of one `serve`."""

import logging

from sqlalchemy import text

from allocation.adapters.postgresql.database import Database

logger = logging.getLogger(__name__)

# An API process has a pool each for writing, for reading, for looking up, and for what is rare.
POOLS = 4
# The worker's readers and rebuilds, the listener, and what sends messages.
WORKER = 14
# For psql, backups, and the other commands.
ROOM = 6

# What a superuser may still take is nobody else's; -1 means that there is no limit.
_AVAILABLE = text("""
    SELECT least(
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true)::int, 0),
        (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
        (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)
    )
""")


def needed(workers: int, pool_size: int) -> int:
    """How many connections `workers` API processes and the projection worker take, with room to spare."""
    return workers * POOLS * pool_size + WORKER + ROOM


def fitting(available: int, workers: int, wanted: int) -> int:
    """The largest pools, up to the size that is wanted, with which so many API processes fit; 1 at least."""
    return max(1, min(wanted, (available - WORKER - ROOM) // (workers * POOLS)))


def share_out(database: Database, workers: int, wanted: int) -> int:
    """The size of the pools for this server; a warning says so where it is not the one that is wanted.

    Raises StorageUnavailable.
    """
    with database.working() as connection:
        available: int = connection.execute(_AVAILABLE).scalar_one()
    size = fitting(available, workers, wanted)
    if needed(workers, size) > available:
        logger.warning(
            "%s API processes need %s connections, and the server has %s for them: "
            "let it take more (max_connections), or start fewer (--workers)",
            workers,
            needed(workers, size),
            available,
        )
    elif size < wanted:
        logger.warning(
            "the server has %s connections for %s API processes, which therefore get pools of %s, not of %s",
            available,
            workers,
            size,
            wanted,
        )
    return size
