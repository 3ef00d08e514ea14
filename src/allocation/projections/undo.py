"""Undoing a rebuild: putting the table that it replaced back into use."""

from sqlalchemy import Connection

from allocation.adapters.journal.archive import JournalArchive
from allocation.adapters.journal.checkpoints import Checkpoint, Checkpoints, projections
from allocation.adapters.postgresql.database import Database, StorageUnavailable
from allocation.adapters.read_models import shadow_tables
from allocation.adapters.read_models.rebuilds import Rebuilds, Segments
from allocation.adapters.read_models.shadow_tables import BUILDING, PREVIOUS
from allocation.projections.follower import ProjectionFollower
from allocation.projections.rebuild import RebuildRefused
from allocation.projections.standby_tables import StandbyTable


def undo(database: Database, follower: ProjectionFollower) -> None:
    """Put the table that the last rebuild replaced back into use, once it has caught up with the journal.

    If requested twice at the same time, it happens once. Raises RebuildRefused if there is no such table, if
    it belongs to another version of the projection, or if queries on the table in use don't end.
    """
    with database.working() as connection:
        _position_of_previous(connection, follower)
        wanted = shadow_tables.identity(connection, follower.name, PREVIOUS)
    undoing = _Undoing(database, follower, wanted)
    while not undoing.catch_up():
        pass
    undoing.serve()


class _Undoing:
    """The steps, each in a transaction during which nobody else undoes or begins a rebuild.

    `wanted` is the OID of the table to put into use: somebody else may already have done so, or dropped it.
    """

    def __init__(self, database: Database, follower: ProjectionFollower, wanted: int | None) -> None:
        self._database = database
        self._follower = follower
        self._wanted = wanted
        self._archive = JournalArchive()

    def catch_up(self) -> bool:
        """Apply the next batch of events to the replaced table; return whether it is nearly up to date."""
        with self._database.working() as connection, connection.begin():
            if not self._is_due(connection):
                return True
            position = _position_of_previous(connection, self._follower)
            table = self._table(connection)
            end = table.apply_batch(position, Segments([]))
            if end is not None:
                Checkpoints(connection, projections).change(self._follower.name, position_précédente=end)
            return table.is_nearly_up_to_date(position if end is None else end)

    def serve(self) -> None:
        """Apply the remaining events to the replaced table, and put it into use."""
        try:
            with self._database.working() as connection, connection.begin():
                if self._is_due(connection):
                    self._serve(connection)
        except StorageUnavailable as trouble:
            with self._database.working() as connection:
                users = shadow_tables.users(connection, self._follower.name)
            if not users:
                raise
            raise RebuildRefused(
                f"{self._follower.name} is not free, try again later: {'; '.join(users)}"
            ) from trouble

    def _serve(self, connection: Connection) -> None:
        table = self._table(connection)
        served = table.hold_serving()
        position = _position_of_previous(connection, self._follower)
        table.serve(table.apply_all(position, Segments([]), until=served.position), served)

    def _is_due(self, connection: Connection) -> bool:
        """Whether this is still to be done; excludes others for the transaction. Raises RebuildRefused."""
        name = self._follower.name
        Rebuilds(connection).hold_requests(name)
        if shadow_tables.identity(connection, name) == self._wanted:
            return False
        if shadow_tables.identity(connection, name, PREVIOUS) != self._wanted:
            raise RebuildRefused(f"{name} was rebuilt meanwhile: the earlier table is gone")
        return True

    def _table(self, connection: Connection) -> StandbyTable:
        return StandbyTable(connection, self._follower, PREVIOUS, self._archive)


def _position_of_previous(connection: Connection, follower: ProjectionFollower) -> int:
    """The position of the replaced table. Raises RebuildRefused."""
    name = follower.name
    if shadow_tables.exists(connection, name, BUILDING):
        raise RebuildRefused(f"a rebuild of {name} is under way")
    served: Checkpoint | None = Checkpoints(connection, projections).look_at(name)
    if served is None or served.position_précédente is None:
        raise RebuildRefused(f"{name} has not been rebuilt: there is no earlier table")
    if served.version_précédente != follower.projection.version:
        raise RebuildRefused(
            f"the earlier table of {name} has version {served.version_précédente}, "
            f"and this program keeps version {follower.projection.version}"
        )
    return served.position_précédente
