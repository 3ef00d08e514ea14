"""Tables with the same name in other schemas: one under construction, one that was replaced.

    allocation_building.stock_view ──▶ public.stock_view ──▶ allocation_previous.stock_view

So they are called for an installation in the schema `public`; for one in `shop`, they are `shop_building` and
`shop_previous`. A table moves from schema to schema with its constraints, indexes and sequences, whose names
therefore stay. Handlers are let loose on another one than the serving table by the search path, and need not
know of it.
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

# Not by `to_regclass`, which may not know yet what another transaction has just committed.
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
    """Within the context, tables without a schema are looked for in this one before all others."""
    path = connection.scalar(text("SHOW search_path"))
    _set_search_path(connection, f"{_quoted(connection, schema)}, {path}")
    yield
    # Where something was raised, the end of the transaction does so.
    _set_search_path(connection, path)


def qualified(connection: Connection, name: str, schema: str) -> str:
    """The table of this schema, as SQL names it."""
    return f"{_quoted(connection, schema)}.{name}"


def make_schemas(connection: Connection) -> None:
    """See to it that there are schemas for tables that don't serve. Raises RightMissing."""
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
    """Whether there is such a table, in this schema or, without, to serve."""
    return identity(connection, name, schema) is not None


def create(connection: Connection, table: Table, *, with_keys: bool) -> None:
    """Create the table under construction, where there is none.

    It is faster to fill without keys; indexes it has none yet. `complete` adds what is missing.
    """
    building = _under_construction(connection, table)
    if not with_keys:
        # What is to be added by a statement of its own is left out of CREATE TABLE.
        _additions(building)
    connection.execute(CreateTable(building))


def drop(connection: Connection, name: str, schema: str) -> None:
    """Let the table of this schema be gone, if there is one."""
    connection.execute(text(f"DROP TABLE IF EXISTS {qualified(connection, name, schema)}"))


def identity(connection: Connection, name: str, schema: str | None = None) -> int | None:
    """What stays the same of a table that comes to serve, or serves no longer; None if there is none."""
    called = None if schema is None else _called(connection, schema)
    found: int | None = connection.scalar(text(_IDENTITY), {"name": name, "schema": called})
    return found


def users(connection: Connection, name: str) -> list[str]:
    """Whose transactions the serving table would have to wait for before another takes its place."""
    return list(connection.scalars(text(_USERS), {"name": name}))


def complete(connection: Connection, table: Table, *, with_keys: bool) -> None:
    """Add the indexes and, `with_keys`, the keys, and let the planner know the table's contents."""
    building = _under_construction(connection, table)
    for addition in _additions(building) if with_keys else ():
        connection.execute(addition)
    for index in building.indexes:
        connection.execute(CreateIndex(index))
    connection.execute(text(f"ANALYZE {qualified(connection, table.name, BUILDING)}"))


def replace_serving(connection: Connection, name: str, schema: str) -> None:
    """Let the table of this schema serve, and keep the one that served so far as the previous one.

    Who may do what with the one may do it with the other. Waits for readers, who then wait for the end of the
    transaction, and read from the new one.
    """
    serving = f"{_serving_schema(connection)}.{name}"
    building, previous = _quoted(connection, BUILDING), _quoted(connection, PREVIOUS)
    connection.execute(text(f"LOCK TABLE {serving} IN ACCESS EXCLUSIVE MODE"))
    hand_over(connection, serving, qualified(connection, name, schema))
    if schema == PREVIOUS:
        connection.execute(text(f"ALTER TABLE {previous}.{name} SET SCHEMA {building}"))
    connection.execute(text(f"ALTER TABLE {serving} SET SCHEMA {previous}"))
    connection.execute(text(f"ALTER TABLE {building}.{name} SET SCHEMA {_serving_schema(connection)}"))


def _set_search_path(connection: Connection, path: str) -> None:
    connection.execute(text("SELECT set_config('search_path', :path, true)"), {"path": path})


def _serving_schema(connection: Connection) -> str:
    return str(connection.scalar(text("SELECT quote_ident(current_schema())")))


def _called(connection: Connection, schema: str) -> str:
    """What this installation's schema for such tables is called."""
    serving = connection.scalar(text("SELECT current_schema()"))
    return schema if serving == "public" or schema not in _SUFFIXES else f"{serving}{_SUFFIXES[schema]}"


def _quoted(connection: Connection, schema: str) -> str:
    called = _called(connection, schema)
    return str(connection.scalar(text("SELECT quote_ident(:called)"), {"called": called}))


def _under_construction(connection: Connection, table: Table) -> Table:
    catalogue = MetaData(naming_convention=metadata.naming_convention)
    return table.to_metadata(catalogue, schema=_called(connection, BUILDING))


def _additions(table: Table) -> list[AddConstraint]:
    unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    return [AddConstraint(each) for each in (table.primary_key, *unique)]
