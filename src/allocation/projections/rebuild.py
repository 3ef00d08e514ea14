"""Rebuilding a read model from the write model, by SQL."""

from sqlalchemy import Connection, text

from allocation.adapters import checkpoints
from allocation.adapters.checkpoints import Checkpoints
from allocation.adapters.database import Database
from allocation.adapters.journal import SqlAlchemyJournal
from allocation.projections.delivery import Projection


def rebuild(database: Database, projection: Projection) -> int:
    """Fill the read model anew and move its checkpoint to match; the number of rows.

    Everything is taken from one snapshot: what the write model holds in it, and the last position that the
    journal holds in it, belong together. Until the end, readers of this view wait, and projections pause.
    """
    with database.working() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            # Before the first query, which takes the snapshot: no projector is then in the middle of a batch.
            connection.execute(text("LOCK TABLE projections IN EXCLUSIVE MODE"))
            rows = _refill(connection, projection)
            position = SqlAlchemyJournal(connection).last_position()
            Checkpoints(connection, checkpoints.projections).move(projection.name, position)
    return rows


def _refill(connection: Connection, projection: Projection) -> int:
    columns = ", ".join(projection.columns)
    connection.execute(text(f"TRUNCATE {projection.name}"))
    inserted = connection.execute(text(f"INSERT INTO {projection.name} ({columns}) {projection.truth}"))
    return inserted.rowcount
