"""Connections to PostgreSQL: three pools for three kinds of work, one meaning for each kind of trouble."""

from collections.abc import Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

CONNECT_TIMEOUT_S = 3
POOL_TIMEOUT_S = 5

# Another writer was first: serialization_failure, deadlock_detected and, where rows are only ever added
# after a look that they are not there, unique_violation.
_CONFLICTS = frozenset({"40001", "40P01"})
_WRITE_CONFLICTS = _CONFLICTS | {"23505"}

_WRITE_SETTINGS = {
    "lock_timeout": "5s",
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "30s",
    # One allocation reads single rows by key. On a small or never analysed table the planner would read
    # it whole, and the cost of an allocation would depend on what else is in the table.
    "enable_seqscan": "off",
}
_READ_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "5s"}


class StorageUnavailable(Exception):
    """The database is away, or too busy to answer in time: nothing was changed, or it is not known."""


class VersionConflict(Exception):
    """Another writer changed the same product first: nothing was changed, and trying again may succeed."""


def postgresql_url(url: str) -> URL:
    """`url` with the driver that this program uses; raises ValueError unless it names PostgreSQL."""
    if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        raise ValueError("only PostgreSQL is supported: postgresql://user@host/database")
    return make_url(url).set(drivername="postgresql+psycopg")


class Database:
    """The pools of one process. Nothing connects before the first use; use it as a context, or `close` it.

    Every method that hands out a connection, and every use of one, raises VersionConflict or
    StorageUnavailable where the driver would raise an error of its own for them.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = postgresql_url(url)
        self._writes = self._engine(_WRITE_SETTINGS, pool_size, _WRITE_CONFLICTS)
        self._reads = self._engine(_READ_SETTINGS, pool_size).execution_options(isolation_level="AUTOCOMMIT")
        self._background = self._engine({}, pool_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def writing(self) -> AbstractContextManager[Connection]:
        """A connection for one write transaction. Raises StorageUnavailable."""
        return self._connected(self._writes)

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only autocommit connection. Raises StorageUnavailable."""
        return self._connected(self._reads)

    def working(self) -> AbstractContextManager[Connection]:
        """A connection for background work, without time limits. Raises StorageUnavailable."""
        return self._connected(self._background)

    def server_version(self) -> str:
        """PostgreSQL's version, as it names it itself. Raises StorageUnavailable."""
        with self.reading() as connection:
            return str(connection.scalar(text("SHOW server_version")))

    def close(self) -> None:
        """Close every connection of the pools."""
        for engine in (self._writes, self._reads, self._background):
            engine.dispose()

    @staticmethod
    @contextmanager
    def _connected(engine: Engine) -> Iterator[Connection]:
        try:
            connection = engine.connect()
        except PoolTimeoutError as error:
            raise StorageUnavailable("no connection became free in time") from error
        with connection:
            yield connection

    def _engine(self, settings: dict[str, str], pool_size: int, conflicts: Set[str] = _CONFLICTS) -> Engine:
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        engine = create_engine(
            self.url,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "allocation",
                "options": options,
            },
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
        )
        event.listen(engine, "handle_error", partial(_translate, conflicts))
        return engine


def _translate(conflicts: Set[str], context: ExceptionContext) -> Exception | None:
    """Let conflicts with other writers and outages surface as what they mean, wherever they happen."""
    if not isinstance(context.original_exception, Exception):
        # SystemExit and KeyboardInterrupt, which SQLAlchemy takes for a lost connection.
        return None
    trouble = str(context.original_exception)
    if getattr(context.original_exception, "sqlstate", None) in conflicts:
        return VersionConflict(trouble)
    if context.is_disconnect or isinstance(context.sqlalchemy_exception, OperationalError):
        return StorageUnavailable(trouble)
    return None
