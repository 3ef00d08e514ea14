"""How the server's connections are shared out among the processes of one `serve`."""

import logging

from sqlalchemy import text

from allocation.adapters.postgresql.database import Database

logger = logging.getLogger(__name__)

# An API process has four pools: for writes, for reads, for those that are grouped, and for rare work.
POOLS = 4
# For the worker: journal readers and rebuilds, the listener, and the senders of messages.
WORKER = 14
# Kept free for psql, backups, and other commands.
ROOM = 6

# Connections reserved for superusers don't count; a limit of -1 means none.
_AVAILABLE = text("""
    SELECT least(
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true)::int, 0),
        (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
        (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)
    )
""")


def needed(workers: int, pool_size: int) -> int:
    """How many connections `workers` API processes and the projection worker take, with some to spare."""
    return workers * POOLS * pool_size + WORKER + ROOM


def fitting(available: int, workers: int, wanted: int) -> int:
    """The largest pool size, from 1 to `wanted`, with which `workers` API processes fit."""
    return max(1, min(wanted, (available - WORKER - ROOM) // (workers * POOLS)))


def share_out(database: Database, workers: int, wanted: int) -> int:
    """The pool size that fits this server; a warning is logged if it is smaller than `wanted`.

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
