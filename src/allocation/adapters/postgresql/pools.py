"""Pools of connections: how one is made, and how a connection is borrowed and given back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar, cast

import psycopg
from sqlalchemy import Connection, Engine, Pool, PoolProxiedConnection, create_engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from allocation.adapters.postgresql.bounded_connection import BoundedConnection
from allocation.adapters.postgresql.database_errors import StorageUnavailable, translate
from allocation.adapters.postgresql.lookups import Prepared

C = TypeVar("C", Connection, PoolProxiedConnection)

POOL_TIMEOUT_S = 5

_renewing = Lock()


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
    with _taken(engine, engine.connect, lambda connection: connection.invalidated) as connection:
        yield connection


@contextmanager
def borrowed(engine: Engine) -> Iterator[tuple[BoundedConnection, Prepared]]:
    """The driver's own connection, from the pool of the engine, and the statements prepared on it."""
    with _taken(engine, engine.raw_connection, lambda pooled: _driver(pooled).closed) as pooled:
        yield _driver(pooled), pooled.info


def renew(engine: Engine, pool: Pool) -> None:
    """Close the pool's connections, and give the engine another pool; those in use are closed when returned.

    The other pool comes first, so that whoever returns a connection to this one either is in time to have it
    closed here, or sees that it must be closed there.
    """
    with _renewing:
        if engine.pool is pool:
            engine.dispose(close=False)
    pool.dispose()


@contextmanager
def _taken(engine: Engine, take: Callable[[], C], is_lost: Callable[[C], bool]) -> Iterator[C]:
    """What `take` takes from the pool, returned at the end.

    One that is lost has the pool renewed: the others were probably lost together with it.
    """
    pool, connection = _from_pool(engine, take)
    lost = False
    try:
        try:
            yield connection
        finally:
            lost = is_lost(connection)
            if lost:
                connection.invalidate()
            connection.close()
    finally:
        if lost:
            renew(engine, pool)
        elif engine.pool is not pool:
            pool.dispose()


def _from_pool(engine: Engine, take: Callable[[], C]) -> tuple[Pool, C]:
    """What `take` takes from the pool, and which pool that is. Raises StorageUnavailable if none is free."""
    while True:
        pool = engine.pool
        try:
            connection = take()
        except PoolTimeoutError as error:
            raise StorageUnavailable("no connection became free in time") from error
        if engine.pool is pool:
            return pool, connection
        # It may be from either pool.
        connection.invalidate()
        connection.close()


def _driver(pooled: PoolProxiedConnection) -> BoundedConnection:
    return cast(BoundedConnection, pooled.driver_connection)
