"""The version of the schema: which programs may work on it, and how it is brought up to date.

Each migration's number is a version. A program works on the version that it was written for, and on later
ones that declare themselves compatible: see `docs/how-to/upgrade.md`.
"""

import functools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Table,
    Text,
    event,
    func,
    select,
    text,
    true,
)

from allocation.adapters.journal.sequence import mend_sequence
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.installation import advisory_lock
from allocation.adapters.postgresql.metadata import metadata
from allocation.adapters.postgresql.rights import RightMissing, check_creating, check_schema, check_working
from allocation.adapters.read_models.shadow_tables import make_schemas
from allocation.domain.errors import AllocationError

if TYPE_CHECKING:
    from alembic.config import Config

logger = logging.getLogger(__name__)

# An arbitrary number, like that of the journal's lock: programs that start together migrate in turn.
_LOCK = text(f"SELECT {advisory_lock(5_274_190_662)}")
# The second migration creates these schemas under fixed names. As it has landed, its text is never changed.
_SCHEMAS_OF_REBUILDS = re.compile(r"^CREATE SCHEMA allocation_\w+;$", re.MULTILINE)
_VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("single", Boolean, primary_key=True, server_default=true()),
    Column("oldest_program", Text, nullable=False),
    CheckConstraint("single", name="single"),
)


class SchemaTrouble(AllocationError):
    """This program can't work on the schema; nothing was changed."""


class SchemaTooOld(SchemaTrouble):
    """The database has not been migrated to the schema that this program needs."""

    def __init__(self, revision: str | None) -> None:
        has = (
            "has no tables of allocation yet" if revision is None else f"has schema {revision}, an older one"
        )
        super().__init__(f"The database {has}: bring it up to date first, with `allocation migrate`.")
        self.revision = revision


class SchemaTooNew(SchemaTrouble):
    """A newer version of the program has migrated the database to a schema that this version can't use."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database has schema {revision}, which this version of allocation does not know. "
            "Install the version that made it, or a newer one."
        )
        self.revision = revision


@dataclass(frozen=True)
class Migration:
    """A step that brings the schema up to date: its number, and its description."""

    revision: str
    purpose: str


def migrate(database: Database) -> None:
    """Bring the schema up to date, in one transaction; a newer, compatible one is left alone.

    The journal's sequence is corrected, if need be. Raises SchemaTooNew, RightMissing or StorageUnavailable.
    """
    with database.working() as connection, connection.begin():
        check_schema(connection)
        connection.execute(_LOCK)
        if _is_older(connection):
            check_creating(connection)
            _upgrade(connection)
        check_working(connection)
        mend_sequence(connection)


def pending(database: Database) -> list[Migration]:
    """What `migrate` would do, in order. Raises SchemaTooNew or StorageUnavailable."""
    with database.working() as connection:
        if not _is_older(connection):
            return []
        revision = _revision(connection) or ""
    return [each for each in _migrations() if each.revision > revision]


def check(database: Database, *, writing: bool) -> None:
    """Raises SchemaTooOld, SchemaTooNew or RightMissing unless this program can work on the schema.

    Only for `writing`, the role needs more than to read what it asks for. Raises StorageUnavailable, too.
    """
    with database.working() as connection:
        check_schema(connection)
        if _is_older(connection):
            raise SchemaTooOld(_revision(connection))
        if writing:
            check_working(connection)


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
    """The oldest migration that a program must know to work on this schema; None if it does not say."""
    if connection.scalar(select(func.to_regclass(schema_compatibility.name))) is None:
        return None
    return connection.scalar(select(schema_compatibility.c.oldest_program))


@functools.cache
def _known_revisions() -> Sequence[str]:
    """The revisions in order: they are numbers, with which the names of the migrations' files begin."""
    return sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))


def _migrations() -> list[Migration]:
    """All migrations that this program knows, in order."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    newest_first = ScriptDirectory.from_config(_alembic()).walk_revisions()
    return [Migration(each.revision, each.doc) for each in newest_first][::-1]


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415

    config = _alembic()
    config.attributes["connection"] = connection
    event.listen(connection, "before_cursor_execute", _without_schemas_of_rebuilds, retval=True)
    command.upgrade(config, "head")
    event.remove(connection, "before_cursor_execute", _without_schemas_of_rebuilds)
    try:
        make_schemas(connection)
    except RightMissing as missing:
        logger.warning("Read models can't be rebuilt. %s", missing)


def _without_schemas_of_rebuilds(
    _connection: Connection, _cursor: Any, statement: str, parameters: Any, *_context: Any
) -> tuple[str, Any]:
    """The statement without CREATE SCHEMA: `make_schemas` creates this installation's, if the role may."""
    return _SCHEMAS_OF_REBUILDS.sub("", statement), parameters


def _alembic() -> "Config":
    # Imported here, as it makes up a sixth of all imports of `serve` and is needed once a release.
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "allocation:migrations")
    return config
