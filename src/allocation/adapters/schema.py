"""The version of the schema: who may work on it, and how it is brought up to date.

Each migration's number is a version. A program works on the version that it was written for, and on later
ones that say that they suit it: see `docs/how-to/upgrade.md`.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Boolean, CheckConstraint, Column, Connection, Table, Text, func, select, text, true

from allocation.adapters.database import Database
from allocation.adapters.journal_sequence import mend_sequence
from allocation.adapters.metadata import metadata

if TYPE_CHECKING:
    from alembic.config import Config

# Any number, as for the journal's lock: two programs that start together migrate one after the other.
_MIGRATION_LOCK = 5_274_190_662
_VERSIONS = Path(__file__).parents[1] / "migrations" / "versions"

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("single", Boolean, primary_key=True, server_default=true()),
    Column("oldest_program", Text, nullable=False),
    CheckConstraint("single", name="single"),
)


class SchemaTrouble(Exception):
    """The schema is not one that this program can work on; nothing was changed."""


class SchemaTooOld(SchemaTrouble):
    """The database has not been migrated to what this program needs."""

    def __init__(self, revision: str | None) -> None:
        has = (
            "has no tables of allocation yet" if revision is None else f"has schema {revision}, an older one"
        )
        super().__init__(f"The database {has}: bring it up to date first, with `allocation migrate`.")
        self.revision = revision


class SchemaTooNew(SchemaTrouble):
    """The database was migrated by a newer version of this program, which left no room for this one."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database has schema {revision}, which this version of allocation does not know. "
            "Install the version that made it, or a newer one."
        )
        self.revision = revision


@dataclass(frozen=True)
class Migration:
    """A step that brings the schema up to date: its number, and what it does."""

    revision: str
    purpose: str


def migrate(database: Database) -> None:
    """Bring the schema up to date, in one transaction; a newer one that suits this program is left alone.

    The journal's sequence is mended, if that is needed. Raises SchemaTooNew or StorageUnavailable.
    """
    with database.working() as connection, connection.begin():
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        if _is_older(connection):
            _upgrade(connection)
        mend_sequence(connection)


def pending(database: Database) -> list[Migration]:
    """What `migrate` would do, in order. Raises SchemaTooNew or StorageUnavailable."""
    with database.working() as connection:
        if not _is_older(connection):
            return []
        revision = _revision(connection) or ""
    return [each for each in _migrations() if each.revision > revision]


def check(database: Database) -> None:
    """Raises SchemaTooOld or SchemaTooNew unless this program can work on the schema; StorageUnavailable."""
    with database.working() as connection:
        if _is_older(connection):
            raise SchemaTooOld(_revision(connection))


def is_usable(connection: Connection) -> bool:
    """Whether this program can work on the schema."""
    try:
        return not _is_older(connection)
    except SchemaTooNew:
        return False


def _is_older(connection: Connection) -> bool:
    """Whether the schema lacks what this program needs. Raises SchemaTooNew."""
    revision, known = _revision(connection), _known_revisions()
    if revision is None or revision in known:
        return revision != known[-1]
    oldest_program = _oldest_program(connection)
    if oldest_program is None or oldest_program > known[-1]:
        raise SchemaTooNew(revision)
    return False


def _revision(connection: Connection) -> str | None:
    if connection.scalar(select(func.to_regclass("alembic_version"))) is None:
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _oldest_program(connection: Connection) -> str | None:
    """The oldest migration that a program must know to work on this schema; None where it is not said."""
    if connection.scalar(select(func.to_regclass(schema_compatibility.name))) is None:
        return None
    return connection.scalar(select(schema_compatibility.c.oldest_program))


@functools.cache
def _known_revisions() -> Sequence[str]:
    """In order: the name of a migration's file begins with its revision, and they are numbered."""
    return sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))


def _migrations() -> list[Migration]:
    """All that this program knows, in order."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    newest_first = ScriptDirectory.from_config(_alembic()).walk_revisions()
    return [Migration(each.revision, each.doc) for each in newest_first][::-1]


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415

    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _alembic() -> "Config":
    # Imported here: a sixth of all imports of `serve`, for something that is needed once a release.
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "allocation:migrations")
    return config
