"""The version of the schema: brought up to date at the start, and never used when it is a newer program's."""

import functools
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, func, select, text

from allocation.adapters.database import Database
from allocation.adapters.journal_sequence import mend_sequence

# Any number, as for the journal's lock: two programs that start together migrate one after the other.
_MIGRATION_LOCK = 5_274_190_662
_VERSIONS = Path(__file__).parents[1] / "migrations" / "versions"


class SchemaTooNew(Exception):
    """The database was migrated by a newer version of this program."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database has schema {revision}, which this version of allocation does not know. "
            "Install the version that made it, or a newer one."
        )
        self.revision = revision


def migrate(database: Database) -> None:
    """Bring the schema up to date, and the journal's sequence, in one transaction.

    Raises SchemaTooNew or StorageUnavailable.
    """
    with database.working() as connection, connection.begin():
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        revision, known = _revision(connection), _known_revisions()
        if revision is not None and revision not in known:
            raise SchemaTooNew(revision)
        if revision != known[-1]:
            _upgrade(connection)
        mend_sequence(connection)


def is_current(connection: Connection) -> bool:
    """Whether the schema is the one that this program was written for."""
    return _revision(connection) == _known_revisions()[-1]


def _revision(connection: Connection) -> str | None:
    if connection.scalar(select(func.to_regclass("alembic_version"))) is None:
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


@functools.cache
def _known_revisions() -> Sequence[str]:
    """In order: the name of a migration's file begins with its revision, and they are numbered."""
    return sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))


def _upgrade(connection: Connection) -> None:
    # Imported here: a sixth of all imports of `serve`, for something that is needed once a release.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "allocation:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
