"""Tables of a read model besides the one in use: how they follow the journal and are put into use."""

from sqlalchemy import Connection, text

from allocation.adapters.journal.archive import JournalArchive, JournalWithArchive
from allocation.adapters.journal.checkpoints import Checkpoint, Checkpoints, ParkedEvents, projections
from allocation.adapters.read_models import shadow_tables
from allocation.adapters.read_models.rebuilds import Segments
from allocation.adapters.read_models.shadow_tables import BUILDING, PREVIOUS
from allocation.projections.follower import BATCH, ProjectionFollower

# How long to wait for the lock on the table in use: later queries queue up meanwhile. The rebuild tries again
# after a pause.
_LOCK_TIMEOUT = "250ms"

SUFFIXES = {BUILDING: "building", PREVIOUS: "previous"}


def reader_name(name: str, schema: str) -> str:
    """The name under which the projection's table in this schema reads the journal."""
    return f"{name}.{SUFFIXES[schema]}"


def discard(connection: Connection, name: str, schema: str) -> None:
    """Drop the table in this schema, if it exists, together with the events parked for it."""
    shadow_tables.drop(connection, name, schema)
    ParkedEvents(connection, reader_name(name, schema)).clear()


class StandbyTable:
    """The table of a projection in another schema, within one transaction.

    Events that it needs may have been archived: `archive` reads them, and keeps its place across
    transactions. `failures` says how often a handler has already failed on the next events.
    """

    def __init__(
        self,
        connection: Connection,
        follower: ProjectionFollower,
        schema: str,
        archive: JournalArchive,
        *,
        failures: int = 0,
    ) -> None:
        self.reader = reader_name(follower.name, schema)
        self._name = follower.name
        self._connection = connection
        self._follower = follower
        self._schema = schema
        self._failures = failures
        self._journal = JournalWithArchive(connection, archive)
        self._checkpoints = Checkpoints(connection, projections)

    def apply_batch(self, position: int, segments: Segments) -> int | None:
        """Apply the next events after `position`; return the position reached, or None if there are none.

        Events that the table already contains according to `segments` are skipped. Raises what handlers
        raise.
        """
        end = self._journal.end_of_batch(position, BATCH)
        if end is None:
            return None
        rows = self._follower.read(self._journal, position, end)
        missing = [row for row in rows if not segments.include(row.sku, row.position)]
        with shadow_tables.put_first(self._connection, self._schema):
            self._follower.apply(self._connection, missing, self.reader, failures=self._failures)
        return end

    def is_nearly_up_to_date(self, position: int) -> bool:
        """Whether less than a batch is missing after `position`."""
        return self._journal.last_position() - position < BATCH

    def apply_all(self, position: int, segments: Segments, *, until: int | None = None) -> int:
        """Apply the events after `position`, at least up to `until`; return the position reached."""
        while until is None or position < until:
            end = self.apply_batch(position, segments)
            if end is None:
                break
            position = end
        return position

    def retry_parked(self, sku: str) -> BaseException | None:
        """Apply the SKU's parked events; return what a handler raised, or None on success."""
        with shadow_tables.put_first(self._connection, self._schema):
            return self._follower.retry_parked(self._connection, sku, self.reader)

    def obstacle(self) -> str | None:
        """Why the table can't be put into use, namely that it has parked events; None if it can."""
        skus = ParkedEvents(self._connection, self.reader).skus()
        return f"events of {len(skus)} SKUs are parked by {self.reader}" if skus else None

    def hold_serving(self) -> Checkpoint:
        """Lock and return the checkpoint of the table in use: its projector waits for the transaction's end.

        From here on, the transaction waits only a moment for locks on the checkpoint or the table, then
        raises StorageUnavailable.
        """
        self._connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        checkpoint = self._checkpoints.take(self._name, wait=True)
        if checkpoint is None:
            raise LookupError(f"the projection {self._name} is not registered")
        return checkpoint

    def serve(self, position: int, served: Checkpoint) -> None:
        """Put this table, which is at `position`, into use in place of the present one.

        Raises StorageUnavailable if queries on the present one don't end within a moment.
        """
        self._exchange_parked()
        shadow_tables.replace_serving(self._connection, self._name, self._schema)
        self._checkpoints.resume(self._name)
        self._checkpoints.move(self._name, position, applied=0)
        self._checkpoints.change(
            self._name,
            version=self._follower.projection.version,
            version_précédente=served.version,
            position_précédente=served.position,
        )

    def _exchange_parked(self) -> None:
        """Hand parked events over together with their table."""
        replaced = f"{self._name}.replaced"
        for giving, taking in (
            (self._name, replaced),
            (self.reader, self._name),
            (replaced, reader_name(self._name, PREVIOUS)),
        ):
            ParkedEvents(self._connection, giving).hand_over(taking)
