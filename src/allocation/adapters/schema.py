"""The version of the schema: brought up to date at the start, and never used when it is a newer program's."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from allocation.adapters.database import Database

# Any number, as for the journal's lock: two programs that start together migrate one after the other.
_MIGRATION_LOCK = 5_274_190_662


class SchemaTooNew(Exception):
    """The database was migrated by a newer version of this program."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database has schema {revision}, which this version of allocation does not know. "
            "Install the version that made it, or a newer one."
        )
        self.revision = revision


def migrate(database: Database) -> None:
    """Bring the schema up to date, in one transaction. Raises SchemaTooNew or StorageUnavailable."""
    config = _config()
    with database.working() as connection, connection.begin():
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        _refuse_newer(connection, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(connection: Connection) -> bool:
    """Whether the schema is the one that this program was written for."""
    return _revision(connection) == ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "allocation:migrations")
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(connection: Connection, config: Config) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    revision = _revision(connection)
    if revision is not None and revision not in known:
        raise SchemaTooNew(revision)
