"""Sessions that depend on no outside setting: of the server, the database, the role or the environment.

The settings that the program needs are made at the start of a session or, where a pooler gives each
transaction another session, at the start of a transaction. What operators decide is left alone: tablespaces,
whether the database may be written at all, and how much memory and parallelism statements get.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection

from allocation.adapters.postgresql.bounded_connection import KEEPALIVES
from allocation.adapters.postgresql.connection_info import ConnectionInfo
from allocation.adapters.postgresql.installation import channel
from allocation.domain.errors import AllocationError

_DEFAULTS: ConnectionInfo = {"application_name": "allocation", "connect_timeout": "3", **KEEPALIVES}

# The oldest supported PostgreSQL, as a `server_version_num`.
MIN_VERSION = 150_000

# How often psycopg executes a statement before preparing it; this is its own default.
PREPARE_THRESHOLD = 5

SessionSettings: TypeAlias = Mapping[str, str]

NOTHING: SessionSettings = MappingProxyType({})

# How values are written and read.
_VALUES: SessionSettings = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "array_nulls": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
}
# When sessions, transactions and statements end: the only limits are those that a pool sets.
_ENDS: SessionSettings = {
    "exit_on_error": "off",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    "statement_timeout": "0",
    # So that PostgreSQL notices when a client's host is gone, and releases its locks.
    "tcp_keepalives_idle": KEEPALIVES["keepalives_idle"],
    "tcp_keepalives_interval": KEEPALIVES["keepalives_interval"],
    "tcp_keepalives_count": KEEPALIVES["keepalives_count"],
    "tcp_user_timeout": KEEPALIVES["tcp_user_timeout"],
}
# How statements are planned and executed.
_PLANS: SessionSettings = {
    **dict.fromkeys(
        (
            "enable_bitmapscan",
            "enable_hashagg",
            "enable_hashjoin",
            "enable_indexonlyscan",
            "enable_indexscan",
            "enable_material",
            "enable_mergejoin",
            "enable_nestloop",
            "enable_seqscan",
            "enable_sort",
        ),
        "on",
    ),
    "jit": "off",
    "plan_cache_mode": "auto",
}
_TRANSACTIONS: SessionSettings = {
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
}
_SINCE: Mapping[str, int] = {"transaction_timeout": 170_000}
EVERYWHERE: SessionSettings = {**_VALUES, **_ENDS, **_PLANS, **_TRANSACTIONS, "transaction_timeout": "0"}

_POOLER = (
    "there is a pooler in between, but this command needs sessions of its own: give the address of "
    "PostgreSQL itself (`allocation worker` and the commands for read models do work through poolers)"
)

# The schema is the one asked for; without one, the schema on the search path that has our tables, or else the
# first. Temporary tables come last on the path, so that they hide nothing. A commit waits for the disk, or
# for more if so configured. If the server process is not the one that the client was told of when it
# connected, there is a pooler in between, and nothing is set.
_SET = """
    WITH our_schema AS (
        SELECT nspname AS name FROM pg_namespace
        LEFT JOIN unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place) ON path.name = nspname
        WHERE CASE
            WHEN %(schema)s::text IS NULL THEN place IS NOT NULL AND nspname !~ '^pg_'
            ELSE nspname = %(schema)s::text AND has_schema_privilege(oid, 'USAGE')
        END
        ORDER BY to_regclass(format('%%I.alembic_version', nspname)) IS NULL, place LIMIT 1
    ), settings AS (
        SELECT name, value FROM unnest(%(names)s::text[], %(values)s::text[]) AS given (name, value)
        UNION ALL
        SELECT 'synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on')
        WHERE 'synchronous_commit' <> ALL (%(names)s::text[])
        UNION ALL
        SELECT 'search_path', coalesce((SELECT quote_ident(name) || ', pg_temp' FROM our_schema), '')
    )
    SELECT set_config(name, value, %(for_transaction)s) FROM settings
    WHERE %(for_transaction)s OR pg_backend_pid() = %(pid)s
"""
# No session is ended between transactions, or before the first statement of a transaction has set the rest.
# For sessions of a pooler, that is up to the pooler.
_STAY = """
    SELECT set_config(name, '0', false)
    FROM unnest(ARRAY[
        'idle_in_transaction_session_timeout', 'idle_session_timeout',
        'statement_timeout', 'transaction_timeout'  -- which came with PostgreSQL 17
    ]) AS name
    WHERE pg_backend_pid() = %s AND current_setting(name, true) IS NOT NULL
"""


class UnsuitableServer(AllocationError):
    """The server can't be used, for the reason given."""


class Sessions:
    """Makes sessions on one server, in the schema of one installation."""

    def __init__(self, info: ConnectionInfo, schema: str | None = None) -> None:
        self._info = info
        self._schema = schema

    def begin(
        self, settings: SessionSettings = NOTHING, kind: type[psycopg.Connection] = psycopg.Connection
    ) -> psycopg.Connection:
        """A session of the caller's own, with these settings.

        Raises UnsuitableServer, as also for a pooler in between, or the driver's errors.
        """
        connection = self.connect(kind)
        if not self.set_up(connection, settings):
            connection.close()
            raise UnsuitableServer(_POOLER)
        return connection

    def connect(self, kind: type[psycopg.Connection] = psycopg.Connection) -> psycopg.Connection:
        """A connection that may lead through a pooler: `set_up` tells, and makes the settings if it does not.

        Raises UnsuitableServer or the driver's errors.
        """
        address = make_conninfo(**{**_DEFAULTS, **self._info, "client_encoding": "UTF8"})
        # Prepared statements belong to a session, and the next transaction may get another one.
        connection = kind.connect(address, prepare_threshold=None, autocommit=True)
        try:
            encoding = connection.info.parameter_status("server_encoding")
            check_server(connection.info.server_version, str(encoding))
            connection.execute(_STAY, [connection.info.backend_pid])
        except BaseException:
            connection.close()
            raise
        connection.autocommit = False
        return connection

    def listen(self, name: str, kind: type[psycopg.Connection] = psycopg.Connection) -> psycopg.Connection:
        """A connection that listens on this installation's channel of that name.

        Through a pooler, it receives nothing. Raises UnsuitableServer or the driver's errors.
        """
        connection = self.connect(kind)
        try:
            with connection.transaction():
                connection.execute(_SET, self._parameters(connection, NOTHING, for_transaction=True))
                [called] = connection.execute(f"SELECT {channel('%s')}", [name]).fetchone() or [name]
            connection.autocommit = True
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(called)))
        except BaseException:
            connection.close()
            raise
        return connection

    def set_up(self, connection: psycopg.Connection, settings: SessionSettings = NOTHING) -> bool:
        """Make these settings for the session; false if there is a pooler in between.

        Nothing is set then, and each transaction must begin with `begin_transaction`. Raises the driver's
        errors; the connection is closed then.
        """
        parameters = self._parameters(connection, settings, for_transaction=False)
        try:
            connection.autocommit = True
            is_own_session = connection.execute(_SET, parameters).rowcount > 0
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        if is_own_session:
            connection.prepare_threshold = PREPARE_THRESHOLD
        return is_own_session

    def begin_transaction(self, connection: Connection, settings: SessionSettings = NOTHING) -> None:
        """Make these settings for the transaction that has just begun."""
        driver = cast(psycopg.Connection, connection.connection.driver_connection)
        connection.exec_driver_sql(_SET, self._parameters(driver, settings, for_transaction=True))

    def _parameters(
        self, connection: psycopg.Connection, settings: SessionSettings, *, for_transaction: bool
    ) -> dict[str, Any]:
        version = connection.info.server_version
        wanted = {**EVERYWHERE, **settings}
        effective = {name: value for name, value in wanted.items() if version >= _SINCE.get(name, 0)}
        return {
            "schema": self._schema,
            "names": list(effective),
            "values": list(effective.values()),
            "for_transaction": for_transaction,
            "pid": connection.info.backend_pid,
        }


def check_server(version: int, encoding: str) -> None:
    """Raises UnsuitableServer if the version (a `server_version_num`) or encoding is not supported."""
    if version < MIN_VERSION:
        raise UnsuitableServer(
            f"PostgreSQL {MIN_VERSION // 10_000} or newer is needed, and this server has "
            f"{version // 10_000}.{version % 10_000}"
        )
    if encoding != "UTF8":
        raise UnsuitableServer(
            f"the database has the encoding {encoding}, and UTF8 is needed: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
