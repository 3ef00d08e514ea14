"""Sessions that depend on no setting from outside: of the server, the database, the role, the environment.

What the program needs is set when a session begins or, where a pooler may give each transaction another
session, when a transaction does. What an operator decides stays as it is: where data lies (tablespaces),
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

_DEFAULTS: ConnectionInfo = {"application_name": "allocation", "connect_timeout": "3", **KEEPALIVES}

# The oldest PostgreSQL that has all that is used here, as `server_version_num` gives it.
MIN_VERSION = 150_000

# How often a statement is carried out before psycopg has it prepared; its own default.
PREPARE_THRESHOLD = 5

Settings: TypeAlias = Mapping[str, str]

NOTHING: Settings = MappingProxyType({})

# How values are written and read.
_VALUES: Settings = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "array_nulls": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
}
# When sessions, transactions and statements end: there is no limit but those that a pool sets.
_ENDS: Settings = {
    "exit_on_error": "off",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    "statement_timeout": "0",
    # Of a client whose host is gone, PostgreSQL learns by this, too; until then its locks are kept.
    "tcp_keepalives_idle": KEEPALIVES["keepalives_idle"],
    "tcp_keepalives_interval": KEEPALIVES["keepalives_interval"],
    "tcp_keepalives_count": KEEPALIVES["keepalives_count"],
    "tcp_user_timeout": KEEPALIVES["tcp_user_timeout"],
}
# How statements are carried out.
_PLANS: Settings = {
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
_TRANSACTIONS: Settings = {
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
}
_SINCE: Mapping[str, int] = {"transaction_timeout": 170_000}
EVERYWHERE: Settings = {**_VALUES, **_ENDS, **_PLANS, **_TRANSACTIONS, "transaction_timeout": "0"}

_POOLER = (
    "a pooler is in between, and sessions of its own are needed: give the address of PostgreSQL itself "
    "(`allocation worker` and the commands that look after read models go through poolers)"
)

# The schema is the one that was asked for or, without, that of the path with our tables, or else its first.
# Temporary tables come last in the path, where they hide nothing. A commit waits for the disk, or for more if
# that is how it is set. Nothing is set where the server's process is not the one that the client was told of
# when it connected: then a pooler is in between.
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
# Nobody is disconnected between transactions, or before the first statement of one has set the rest; behind
# a pooler, that is the pooler's matter.
_STAY = """
    SELECT set_config(name, '0', false)
    FROM unnest(ARRAY[
        'idle_in_transaction_session_timeout', 'idle_session_timeout', 'statement_timeout'
    ]) AS name
    WHERE pg_backend_pid() = %s
"""


class UnsuitableServer(Exception):
    """What answers there can't be worked with, for the reason given."""


class Sessions:
    """Makes sessions on one server, in the schema of one installation."""

    def __init__(self, info: ConnectionInfo, schema: str | None = None) -> None:
        self._info = info
        self._schema = schema

    def begin(
        self, settings: Settings = NOTHING, kind: type[psycopg.Connection] = psycopg.Connection
    ) -> psycopg.Connection:
        """A session of the caller's own, with these settings.

        Raises UnsuitableServer, also where a pooler is in between, and the driver's errors.
        """
        connection = self.connect(kind)
        try:
            connection.autocommit = True
            self._set(connection, settings)
        except BaseException:
            connection.close()
            raise
        connection.autocommit = False
        connection.prepare_threshold = PREPARE_THRESHOLD
        return connection

    def connect(self, kind: type[psycopg.Connection] = psycopg.Connection) -> psycopg.Connection:
        """A connection that may lead through a pooler; each transaction is to begin with `begin_transaction`.

        Raises UnsuitableServer and the driver's errors.
        """
        address = make_conninfo(**{**_DEFAULTS, **self._info, "client_encoding": "UTF8"})
        # What is prepared belongs to a session, and the next transaction may have another one.
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
        """A connection that hears what is notified on this installation's channel of that name.

        Through a pooler, it hears nothing. Raises UnsuitableServer and the driver's errors.
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

    def begin_transaction(self, connection: Connection, settings: Settings = NOTHING) -> None:
        """Let the settings be those, for the transaction that has just begun."""
        driver = cast(psycopg.Connection, connection.connection.driver_connection)
        connection.exec_driver_sql(_SET, self._parameters(driver, settings, for_transaction=True))

    def _set(self, connection: psycopg.Connection, settings: Settings) -> None:
        parameters = self._parameters(connection, settings, for_transaction=False)
        if connection.execute(_SET, parameters).rowcount == 0:
            raise UnsuitableServer(_POOLER)

    def _parameters(
        self, connection: psycopg.Connection, settings: Settings, *, for_transaction: bool
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
    """Raises UnsuitableServer for a version (as `server_version_num` gives it) or encoding that won't do."""
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
