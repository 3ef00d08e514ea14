"""Pools of connections: how one is made, and how a connection is borrowed and given back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from allocation.adapters.postgresql.bounded_connection import BoundedConnection
from allocation.adapters.postgresql.database_errors import StorageUnavailable, translate
from allocation.adapters.postgresql.lookups import Prepared

C = TypeVar("C")

POOL_TIMEOUT_S = 5


def new_pool(connect: Callable[[], psycopg.Connection], size: int, **options: Any) -> Engine:
    """At most `size` connections, each made by `connect`, whose troubles get the program's own names."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        **options,
    )
    event.listen(engine, "handle_error", translate)
    return engine


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """SQLAlchemy's connection, from the pool of the engine. Raises StorageUnavailable if none is free."""
    pool = engine.pool
    with _from_pool(engine.connect) as connection:
        try:
            yield connection
        finally:
            if connection.invalidated:
                # The other connections in the pool were probably lost together with this one.
                engine.dispose()
            elif engine.pool is not pool:
                # Returned to a pool that was disposed of, it would never be closed.
                connection.invalidate()


@contextmanager
def borrowed(engine: Engine) -> Iterator[tuple[BoundedConnection, Prepared]]:
    """The driver's own connection, from the pool of the engine, and the statements prepared on it."""
    pool = engine.pool
    pooled = _from_pool(engine.raw_connection)
    connection = cast(BoundedConnection, pooled.driver_connection)
    try:
        yield connection, pooled.info
    finally:
        if connection.closed:
            # The other connections in the pool were probably lost together with this one.
            pooled.invalidate()
            engine.dispose()
        elif engine.pool is not pool:
            # Returned to a pool that was disposed of, it would never be closed.
            pooled.invalidate()
        else:
            pooled.close()


def _from_pool(connect: Callable[[], C]) -> C:
    """The connection that `connect` takes from a pool. Raises StorageUnavailable if none is free in time."""
    try:
        return connect()
    except PoolTimeoutError as error:
        raise StorageUnavailable("no connection became free in time") from error
