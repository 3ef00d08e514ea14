"""Following the journal: take a reader's checkpoint, deliver the batch of events after it, and move it on.

A *reader* of the journal is a projection or a subscription. A `Follower` does a reader's work in this
process; other processes may have one for the same reader, of which one at a time holds the checkpoint.

A batch that a handler can't apply is tried again. At the third failure, the event to blame is looked for and
parked, together with every later event of its SKU, and the reader goes on with the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import ClassVar

from sqlalchemy import Connection, Table

from allocation.adapters.journal import checkpoints
from allocation.adapters.journal.checkpoints import Checkpoint, Checkpoints, ParkedEvents
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.rows import Ahead, StoredEvent
from allocation.adapters.postgresql.database import Database
from allocation.adapters.read_models import shadow_tables
from allocation.adapters.read_models.rebuilds import Rebuilds
from allocation.projections.delivery import Projection, Routes
from allocation.projections.parking import Search, split_off_parked
from allocation.projections.stretches import stretches
from allocation.projections.troubles import is_passing

BATCH = 5000
MAX_TRIES = 3
DEFAULT_MAX_PARKED = 100


class Follower(ABC):
    """What projections and subscriptions have in common. `routes` says which handler gets which events.

    The reader is paused once events of `max_parked` SKUs are parked, as no single event is to blame then.
    """

    checkpoints: ClassVar[Table]
    # Under load, the events committed within this time are one batch; the first event after a pause does not
    # wait.
    pace_s: ClassVar[float]

    def __init__(
        self, name: str, routes: Routes, database: Database, *, max_parked: int = DEFAULT_MAX_PARKED
    ) -> None:
        self.name = name
        self.max_parked = max_parked
        self._routes = routes
        self._database = database
        self._failures = 0
        self.has_backlog = False
        self.rest_s = 0.0
        self._may_have_parked = False

    @abstractmethod
    def register(self) -> None:
        """Create the checkpoint, if this reader is new."""

    def advance(self, *, wait: bool) -> int | None:
        """Deliver one batch, if there is one; return the position reached.

        If somebody else holds the checkpoint, wait for it or, without `wait`, return None. Afterwards,
        `has_backlog` says whether the batch was a full one, and `rest_s` for how many seconds there is
        nothing to do. Raises what a handler raises, at most twice for the same batch, and whatever else goes
        wrong.
        """
        try:
            reached = self._advance(wait=wait)
        except BaseException as error:
            self._failures += not is_passing(error)
            raise
        self._failures = 0
        return reached

    def follow(
        self, connection: Connection, journal: PostgreSQLJournal, position: int, *, failures: int
    ) -> tuple[int, int]:
        """Deliver one batch after `position`; return the position reached, and the number of events.

        Raises what a handler raises or, after two `failures`, parks the events that fail.
        """
        ahead = journal.ahead(position, BATCH, self._routes, self.name)
        self._may_have_parked = bool(ahead.parked) or failures + 1 >= MAX_TRIES
        reached, applied = self._go_through(connection, journal, position, ahead, failures)
        self.has_backlog = ahead.end is not None and (reached < ahead.end or ahead.end >= position + BATCH)
        return reached, applied

    def _go_through(
        self, connection: Connection, journal: PostgreSQLJournal, position: int, ahead: Ahead, failures: int
    ) -> tuple[int, int]:
        """Deliver what is ahead; return the position reached, and the number of events."""
        if ahead.end is None or ahead.kinds == []:
            return ahead.end or position, 0
        reached, rows = self._read(journal, position, ahead.end)
        if ahead.parked or failures:
            self.apply(connection, rows, self.name, failures=failures)
        else:
            self._deliver(connection, rows)
        return reached, len(rows)

    def apply(
        self, connection: Connection, rows: Sequence[StoredEvent], reader: str, *, failures: int
    ) -> None:
        """Deliver these events to the handlers. Those of SKUs with events parked by `reader` are parked too.

        Raises what a handler raises or, after two `failures`, parks the events that fail.
        """
        parked = ParkedEvents(connection, reader)
        due = split_off_parked(rows, parked)
        if failures + 1 >= MAX_TRIES:
            Search(parked, partial(self._attempt, connection)).deliver(due)
        elif due:
            self._deliver(connection, due)

    def retry_parked(self, connection: Connection, sku: str, reader: str) -> BaseException | None:
        """Deliver the SKU's parked events to the handlers; return what one raised, or None on success."""
        parked = ParkedEvents(connection, reader)
        rows = PostgreSQLJournal(connection).read_rows_at(parked.positions(sku))
        error = self._attempt(connection, rows)
        if error is None:
            parked.remove(sku)
        else:
            parked.note(sku, f"{type(error).__name__}: {error}")
        return error

    def note_failures(self, error: BaseException, failures: int) -> None:
        """Note with the checkpoint why this reader does not go on, unless somebody else holds it."""
        with self._database.following() as connection, connection.begin():
            checkpoints = Checkpoints(connection, self.checkpoints)
            if checkpoints.take(self.name, wait=False) is not None:
                checkpoints.note_failures(self.name, f"{type(error).__name__}: {error}", failures)

    def promise(self, seconds: float) -> None:
        """Promise another sign of life within `seconds`, unless somebody else holds the checkpoint."""
        with self._database.following() as connection, connection.begin():
            checkpoints = Checkpoints(connection, self.checkpoints)
            if checkpoints.take(self.name, wait=False) is not None:
                checkpoints.promise(self.name, seconds)

    def _advance(self, *, wait: bool) -> int | None:
        with self._database.following() as connection, connection.begin():
            checkpoints = Checkpoints(connection, self.checkpoints)
            checkpoint = checkpoints.take(self.name, wait=wait)
            if checkpoint is None:
                return None
            if checkpoint.en_pause or not self._serves(checkpoint):
                return checkpoint.position
            reached, applied = self.follow(
                connection, PostgreSQLJournal(connection), checkpoint.position, failures=self._failures
            )
            if reached > checkpoint.position:
                checkpoints.move(self.name, reached, applied=applied)
                if self._may_have_parked:
                    self._pause_if_too_much_is_parked(connection, checkpoints)
            elif checkpoint.erreur is not None:
                checkpoints.resume(self.name)
            return reached

    def _pause_if_too_much_is_parked(self, connection: Connection, checkpoints: Checkpoints) -> None:
        parked = len(ParkedEvents(connection, self.name).skus())
        if parked >= self.max_parked:
            checkpoints.pause(self.name, f"events of {parked} SKUs are parked: allocation parked list")

    def _attempt(self, connection: Connection, rows: Sequence[StoredEvent]) -> BaseException | None:
        """Deliver these events to the handlers; on failure, undo the delivery and return the error."""
        try:
            with connection.begin_nested():
                self._deliver(connection, rows)
        except BaseException as error:
            if is_passing(error):
                raise
            return error
        return None

    def _serves(self, checkpoint: Checkpoint) -> bool:  # noqa: ARG002
        """Whether this follower may move this checkpoint."""
        return True

    @abstractmethod
    def _read(self, journal: PostgreSQLJournal, after: int, until: int) -> tuple[int, Sequence[StoredEvent]]:
        """Read events after `after`, up to `until` at most; return the position reached, and the events."""

    @abstractmethod
    def _deliver(self, connection: Connection, rows: Sequence[StoredEvent]) -> None:
        """Deliver these events to the handlers. Raises what they raise."""


class ProjectionFollower(Follower):
    """Keeps one read model up to date: consecutive events with the same handler reach it together."""

    checkpoints = checkpoints.projections
    pace_s = 0.04

    def __init__(
        self,
        projection: Projection,
        routes: Routes,
        database: Database,
        *,
        max_parked: int = DEFAULT_MAX_PARKED,
    ) -> None:
        super().__init__(projection.name, routes, database, max_parked=max_parked)
        self.projection = projection

    def read(self, journal: PostgreSQLJournal, after: int, until: int) -> Sequence[StoredEvent]:
        """The stored events for this read model after position `after`, up to `until`."""
        return journal.read_rows(self._routes, after=after, until=until)

    def register(self) -> None:
        """Create the checkpoint, and the table, if this read model is new.

        If the journal already has events, the read model gets version 0, so that it is rebuilt like one whose
        version has changed.
        """
        with self._database.working() as connection, connection.begin():
            Rebuilds(connection).hold_requests(self.name)
            is_new = not shadow_tables.exists(connection, self.name)
            if is_new:
                self.projection.table.create(connection)
            to_be_rebuilt = is_new and PostgreSQLJournal(connection).last_position() > 0
            Checkpoints(connection, self.checkpoints).register(
                self.name, from_now=False, version=0 if to_be_rebuilt else self.projection.version
            )

    def _go_through(
        self, connection: Connection, journal: PostgreSQLJournal, position: int, ahead: Ahead, failures: int
    ) -> tuple[int, int]:
        parts = None if ahead.kinds is None else stretches(ahead.kinds, self._routes)
        if ahead.end is None or ahead.kinds is None or parts is None or ahead.parked or failures:
            return super()._go_through(connection, journal, position, ahead, failures)
        for handler, events in parts:
            handler.over(events, connection)
        journal.raise_if_archived(position)
        return ahead.end, sum(kind.events for kind in ahead.kinds)

    def _serves(self, checkpoint: Checkpoint) -> bool:
        """Whether the table in use has this program's version, not an older or newer one."""
        return checkpoint.version == self.projection.version

    def _read(self, journal: PostgreSQLJournal, after: int, until: int) -> tuple[int, Sequence[StoredEvent]]:
        return until, self.read(journal, after, until)

    def _deliver(self, connection: Connection, rows: Sequence[StoredEvent]) -> None:
        events = (row.event() for row in rows)
        for handler, run in groupby(events, key=lambda event: self._routes[type(event)]):
            handler(list(run), connection)
