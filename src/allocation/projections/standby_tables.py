"""Tables of a read model that do not serve: how they follow the journal, and how one comes to serve."""

from sqlalchemy import Connection, text

from allocation.adapters.journal.archive import JournalArchive, JournalWithArchive
from allocation.adapters.journal.checkpoints import Checkpoint, Checkpoints, ParkedEvents, projections
from allocation.adapters.read_models import shadow_tables
from allocation.adapters.read_models.rebuilds import Segments
from allocation.adapters.read_models.shadow_tables import BUILDING, PREVIOUS
from allocation.projections.follower import BATCH, ProjectionFollower

# The serving table is locked in vain for so long at most: then its readers go first, and it is tried again.
_LOCK_TIMEOUT = "250ms"

SUFFIXES = {BUILDING: "building", PREVIOUS: "previous"}


def lecteur(name: str, schema: str) -> str:
    """What the table of a projection in this schema is called as a reader of the journal."""
    return f"{name}.{SUFFIXES[schema]}"


def discard(connection: Connection, name: str, schema: str) -> None:
    """Let the table in this schema be gone, if there is one, with the events that were parked for it."""
    shadow_tables.drop(connection, name, schema)
    ParkedEvents(connection, lecteur(name, schema)).clear()


class StandbyTable:
    """The table of a projection in another schema, in one transaction.

    What it needs of the journal may be archived: `archive` finds it again, from one transaction to the next.
    `failures` says how often a handler has failed on what comes next.
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
        self.lecteur = lecteur(follower.name, schema)
        self._name = follower.name
        self._connection = connection
        self._follower = follower
        self._schema = schema
        self._failures = failures
        self._journal = JournalWithArchive(connection, archive)
        self._checkpoints = Checkpoints(connection, projections)

    def apply_batch(self, position: int, segments: Segments) -> int | None:
        """Apply the next events behind `position`; the position reached, None when there are none.

        Left out is what the table already has according to `segments`. Raises what a handler raises.
        """
        end = self._journal.end_of_batch(position, BATCH)
        if end is None:
            return None
        rows = self._follower.read(self._journal, position, end)
        missing = [row for row in rows if not segments.include(row.sku, row.position)]
        with shadow_tables.put_first(self._connection, self._schema):
            self._follower.apply(self._connection, missing, self.lecteur, failures=self._failures)
        return end

    def is_nearly_up_to_date(self, position: int) -> bool:
        """Whether what is missing behind `position` is less than a batch."""
        return self._journal.last_position() - position < BATCH

    def apply_all(self, position: int, segments: Segments, *, until: int | None = None) -> int:
        """Apply the events behind `position`, up to `until` at least; the position reached."""
        while until is None or position < until:
            end = self.apply_batch(position, segments)
            if end is None:
                break
            position = end
        return position

    def retry_parked(self, sku: str) -> BaseException | None:
        """Apply the SKU's parked events; why they still can't be, None if they are."""
        with shadow_tables.put_first(self._connection, self._schema):
            return self._follower.retry_parked(self._connection, sku, self.lecteur)

    def obstacle(self) -> str | None:
        """What keeps the table from serving: events that could not be applied."""
        skus = ParkedEvents(self._connection, self.lecteur).skus()
        return f"events of {len(skus)} SKUs are parked by {self.lecteur}" if skus else None

    def hold_serving(self) -> Checkpoint:
        """The checkpoint of the table that serves, whose projector pauses until the transaction ends.

        From now on, the transaction waits a moment at most for whoever has the checkpoint or the table.
        Raises StorageUnavailable when it is longer.
        """
        self._connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        checkpoint = self._checkpoints.take(self._name, wait=True)
        if checkpoint is None:
            raise LookupError(f"the projection {self._name} is not registered")
        return checkpoint

    def serve(self, position: int, served: Checkpoint) -> None:
        """Let this table, which stands at `position`, serve in place of the one that has served so far.

        Raises StorageUnavailable when readers don't let it in within a moment.
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
        """What is parked stays with its table."""
        replaced = f"{self._name}.replaced"
        for giving, taking in (
            (self._name, replaced),
            (self.lecteur, self._name),
            (replaced, lecteur(self._name, PREVIOUS)),
        ):
            ParkedEvents(self._connection, giving).hand_over(taking)
