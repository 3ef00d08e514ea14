"""Tables with the same name in other schemas: one under construction, one that was replaced.

    allocation_building.stock_view ──▶ public.stock_view ──▶ allocation_previous.stock_view

These are the names for an installation in the schema `public`; for one in `shop`, the schemas are
`shop_building` and `shop_previous`. A table moves from schema to schema with its constraints, indexes and
sequences, which keep their names. Handlers need not know which of the tables they write to: the search path
decides.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, MetaData, Table, UniqueConstraint, text
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable

from allocation.adapters.postgresql.metadata import metadata
from allocation.adapters.postgresql.privileges import hand_over
from allocation.adapters.postgresql.rights import RightMissing

BUILDING = "allocation_building"
PREVIOUS = "allocation_previous"
_SUFFIXES = {BUILDING: "_building", PREVIOUS: "_previous"}

_MAY_CREATE_SCHEMAS = "SELECT has_database_privilege(current_database(), 'CREATE')"
_MAY_CREATE_IN = """
    SELECT has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE')
    FROM pg_namespace WHERE nspname = :schema
"""

# `to_regclass` might not see yet what another transaction has just committed.
_IDENTITY = """
    SELECT pg_class.oid::bigint FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname = :name AND nspname = coalesce(:schema, current_schema())
"""

_USERS = """
    SELECT format('process %s (%s)', pg_locks.pid, concat_ws(
               ', ', nullif(application_name, ''),
               'for ' || round(extract(epoch FROM clock_timestamp() - xact_start)) || ' s'))
    FROM pg_locks LEFT JOIN pg_stat_activity ON pg_stat_activity.pid = pg_locks.pid
    WHERE relation = to_regclass(:name) AND granted AND pg_locks.pid IS DISTINCT FROM pg_backend_pid()
    GROUP BY pg_locks.pid, application_name, xact_start ORDER BY xact_start
"""


@contextmanager
def put_first(connection: Connection, schema: str) -> Iterator[None]:
    """Within the context, put this schema first on the search path."""
    path = connection.scalar(text("SHOW search_path"))
    _set_search_path(connection, f"{_quoted(connection, schema)}, {path}")
    yield
    # After an exception, the end of the transaction restores the path.
    _set_search_path(connection, path)


def qualified(connection: Connection, name: str, schema: str) -> str:
    """The table's name in SQL, with its schema."""
    return f"{_quoted(connection, schema)}.{name}"


def serving(connection: Connection, name: str) -> str:
    """The name in SQL of the table in use, with its schema."""
    return f"{_serving_schema(connection)}.{name}"


def make_schemas(connection: Connection) -> None:
    """Create the schemas for tables not in use, if they do not exist. Raises RightMissing."""
    for schema in _SUFFIXES:
        called = _quoted(connection, schema)
        usable = connection.scalar(text(_MAY_CREATE_IN), {"schema": _called(connection, schema)})
        if usable is None and connection.scalar(text(_MAY_CREATE_SCHEMAS)):
            connection.execute(text(f"CREATE SCHEMA {called}"))
        elif not usable:
            role = connection.scalar(text("SELECT quote_ident(current_user)"))
            helps = (
                f"CREATE SCHEMA {called} AUTHORIZATION {role}"
                if usable is None
                else f"GRANT CREATE, USAGE ON SCHEMA {called} TO {role}"
            )
            raise RightMissing(f"The role {role} needs the schema {called} to rebuild read models: {helps}")


def exists(connection: Connection, name: str, schema: str | None = None) -> bool:
    """Whether the table exists in this schema or, without a schema, as the one in use."""
    return identity(connection, name, schema) is not None


def create(connection: Connection, table: Table, *, with_keys: bool) -> None:
    """Create the table under construction if it does not exist.

    It has no indexes yet, and without keys it is faster to fill; `complete` adds what is missing.
    """
    building = _under_construction(connection, table)
    if not with_keys:
        # Constraints that get statements of their own are left out of CREATE TABLE.
        _additions(building)
    connection.execute(CreateTable(building))


def drop(connection: Connection, name: str, schema: str) -> None:
    """Drop the table in this schema, if it exists."""
    connection.execute(text(f"DROP TABLE IF EXISTS {qualified(connection, name, schema)}"))


def identity(connection: Connection, name: str, schema: str | None = None) -> int | None:
    """The table's OID, which stays the same when tables change places; None if there is no such table."""
    called = None if schema is None else _called(connection, schema)
    found: int | None = connection.scalar(text(_IDENTITY), {"name": name, "schema": called})
    return found


def kept_serving(connection: Connection, name: str) -> bool:
    """Have the table in use stay so until the transaction ends; false if it was replaced since its snapshot.

    To such a snapshot, the rows of the new table are none: they were written later.
    """
    called = serving(connection, name)
    connection.execute(text(f"LOCK TABLE {called} IN ACCESS SHARE MODE"))
    current = connection.scalar(text("SELECT CAST(:called AS regclass)::oid::bigint"), {"called": called})
    return bool(current == identity(connection, name))


def users(connection: Connection, name: str) -> list[str]:
    """The processes whose transactions must end before the table in use can be replaced."""
    return list(connection.scalars(text(_USERS), {"name": name}))


def complete(connection: Connection, table: Table, *, with_keys: bool) -> None:
    """Add the indexes and, if `with_keys`, the keys; then analyse the table for the planner."""
    building = _under_construction(connection, table)
    for addition in _additions(building) if with_keys else ():
        connection.execute(addition)
    for index in building.indexes:
        connection.execute(CreateIndex(index))
    connection.execute(text(f"ANALYZE {qualified(connection, table.name, BUILDING)}"))


def replace_serving(connection: Connection, name: str, schema: str) -> None:
    """Put the table of this schema into use, and keep the one in use so far as the previous one.

    It gets the same owner and grants. This waits for queries on the old table; later queries wait for the end
    of the transaction, and then read the new table.
    """
    in_use = serving(connection, name)
    building, previous = _quoted(connection, BUILDING), _quoted(connection, PREVIOUS)
    connection.execute(text(f"LOCK TABLE {in_use} IN ACCESS EXCLUSIVE MODE"))
    hand_over(connection, in_use, qualified(connection, name, schema))
    if schema == PREVIOUS:
        connection.execute(text(f"ALTER TABLE {previous}.{name} SET SCHEMA {building}"))
    connection.execute(text(f"ALTER TABLE {in_use} SET SCHEMA {previous}"))
    connection.execute(text(f"ALTER TABLE {building}.{name} SET SCHEMA {_serving_schema(connection)}"))


def _set_search_path(connection: Connection, path: str) -> None:
    connection.execute(text("SELECT set_config('search_path', :path, true)"), {"path": path})


def _serving_schema(connection: Connection) -> str:
    return str(connection.scalar(text("SELECT quote_ident(current_schema())")))


def _called(connection: Connection, schema: str) -> str:
    """The name of this installation's schema for such tables."""
    in_use = connection.scalar(text("SELECT current_schema()"))
    return schema if in_use == "public" or schema not in _SUFFIXES else f"{in_use}{_SUFFIXES[schema]}"


def _quoted(connection: Connection, schema: str) -> str:
    called = _called(connection, schema)
    return str(connection.scalar(text("SELECT quote_ident(:called)"), {"called": called}))


def _under_construction(connection: Connection, table: Table) -> Table:
    catalogue = MetaData(naming_convention=metadata.naming_convention)
    return table.to_metadata(catalogue, schema=_called(connection, BUILDING))


def _additions(table: Table) -> list[AddConstraint]:
    unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    return [AddConstraint(each) for each in (table.primary_key, *unique)]
