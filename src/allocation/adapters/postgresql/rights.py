"""The privileges that the role needs, and the statements that grant them."""

from collections.abc import Mapping

from sqlalchemy import Connection, text

from allocation.adapters.postgresql.metadata import metadata
from allocation.adapters.postgresql.sessions import UnsuitableServer

_ROLE = "SELECT quote_ident(current_user), quote_ident(current_database()), quote_ident(current_schema())"
_MAY_CREATE = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
_TABLES = """
    SELECT bool_and(has_table_privilege(pg_class.oid, privilege))
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace,
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE nspname = current_schema() AND relkind IN ('r', 'p') AND relname = ANY (:names)
"""
_SEQUENCES = """
    SELECT bool_and(has_sequence_privilege(sequence, privilege))
    FROM (SELECT pg_get_serial_sequence('journal', 'position') AS sequence) AS of_journal,
         unnest(ARRAY['USAGE', 'UPDATE']) AS privilege
    WHERE to_regclass('journal') IS NOT NULL
"""


class RightMissing(UnsuitableServer):
    """The role lacks a privilege that the program needs; the message has the statement that grants it."""


def check_schema(connection: Connection) -> None:
    """Raises RightMissing unless there is a schema that the role may use."""
    role, database, schema = connection.execute(text(_ROLE)).one()
    if schema is None:
        raise RightMissing(
            f"The role {role} has no schema to work in: CREATE SCHEMA name AUTHORIZATION {role} "
            f"in the database {database}, or GRANT USAGE ON SCHEMA name TO {role}; "
            "and ALLOCATION_DATABASE_SCHEMA=name, if it is not on the search path"
        )


def check_creating(connection: Connection) -> None:
    """Raises RightMissing unless the role may create tables in the schema."""
    check_schema(connection)
    if not connection.scalar(text(_MAY_CREATE)):
        role, _, schema = connection.execute(text(_ROLE)).one()
        raise RightMissing(
            f"The role {role} may not create tables in the schema {schema}: "
            f"GRANT CREATE ON SCHEMA {schema} TO {role}"
        )


def check_working(connection: Connection) -> None:
    """Raises RightMissing unless the role may read and write the tables."""
    statements: Mapping[str, str] = {
        _TABLES: "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES",
        _SEQUENCES: "GRANT USAGE, UPDATE ON ALL SEQUENCES",
    }
    for query, statement in statements.items():
        if connection.scalar(text(query), {"names": list(metadata.tables)}) is False:
            role, _, schema = connection.execute(text(_ROLE)).one()
            raise RightMissing(
                f"The role {role} may not work on the tables of the schema {schema}: "
                f"{statement} IN SCHEMA {schema} TO {role}"
            )
