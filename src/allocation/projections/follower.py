"""One reader of the journal: takes its checkpoint, the batch after it, carries it out, and moves on.

What a handler can't apply is tried again; at the third failure, the guilty event is looked for and parked,
together with every later event of its SKU, and the others go on.
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

    It pauses once events of `max_parked` SKUs are parked: then something else is wrong than an event.
    """

    checkpoints: ClassVar[Table]

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
        """Carry out one batch, if there is one; the position reached.

        While another reader holds the checkpoint, its end is awaited or, without `wait`, None is returned.
        Afterwards, `has_backlog` says whether the batch was a full one, and `rest_s` for how many seconds
        nothing is to be done. Raises what a handler raises, twice for the same batch at most, and whatever
        else goes wrong.
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
        """Carry out one batch after `position`; the position that is reached, and the number of events.

        Raises what a handler raises or, after two `failures`, parks what it fails on.
        """
        ahead = journal.ahead(position, BATCH, self._routes, self.name)
        self._may_have_parked = bool(ahead.parked) or failures + 1 >= MAX_TRIES
        reached, applied = self._go_through(connection, journal, position, ahead, failures)
        self.has_backlog = ahead.end is not None and (reached < ahead.end or ahead.end >= position + BATCH)
        return reached, applied

    def _go_through(
        self, connection: Connection, journal: PostgreSQLJournal, position: int, ahead: Ahead, failures: int
    ) -> tuple[int, int]:
        """Let the handlers have what is ahead; the position that is reached, and the number of events."""
        if ahead.end is None or ahead.kinds == []:
            return ahead.end or position, 0
        reached, rows = self._read(journal, position, ahead.end)
        if ahead.parked or failures:
            self.apply(connection, rows, self.name, failures=failures)
        else:
            self._deliver(connection, rows)
        return reached, len(rows)

    def apply(
        self, connection: Connection, rows: Sequence[StoredEvent], lecteur: str, *, failures: int
    ) -> None:
        """Let the handlers have these events, save those of SKUs of which `lecteur` has parked some.

        Raises what a handler raises or, after two failures, parks what it fails on.
        """
        parked = ParkedEvents(connection, lecteur)
        due = split_off_parked(rows, parked)
        if failures + 1 >= MAX_TRIES:
            Search(parked, partial(self._attempt, connection)).deliver(due)
        elif due:
            self._deliver(connection, due)

    def retry_parked(self, connection: Connection, sku: str, lecteur: str) -> BaseException | None:
        """Let the handlers have the SKU's parked events; why they still can't have them, None if they did."""
        parked = ParkedEvents(connection, lecteur)
        rows = PostgreSQLJournal(connection).read_rows_at(parked.positions(sku))
        error = self._attempt(connection, rows)
        if error is None:
            parked.remove(sku)
        else:
            parked.note(sku, f"{type(error).__name__}: {error}")
        return error

    def note_failures(self, error: BaseException, failures: int) -> None:
        """Say beside the checkpoint why this reader does not go on, unless another one has it."""
        with self._database.following() as connection, connection.begin():
            checkpoints = Checkpoints(connection, self.checkpoints)
            if checkpoints.take(self.name, wait=False) is not None:
                checkpoints.note_failures(self.name, f"{type(error).__name__}: {error}", failures)

    def promise(self, seconds: float) -> None:
        """Say that this reader will have come back before so many seconds are over, unless another has it."""
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
        """Let the handlers have these events; what they raise, after all is undone, None if all went well."""
        try:
            with connection.begin_nested():
                self._deliver(connection, rows)
        except BaseException as error:
            if is_passing(error):
                raise
            return error
        return None

    def _serves(self, checkpoint: Checkpoint) -> bool:  # noqa: ARG002
        """Whether it is for this reader to move this checkpoint."""
        return True

    @abstractmethod
    def _read(self, journal: PostgreSQLJournal, after: int, until: int) -> tuple[int, Sequence[StoredEvent]]:
        """Up to where events after `after` were read, `until` at most, and these events, as stored."""

    @abstractmethod
    def _deliver(self, connection: Connection, rows: Sequence[StoredEvent]) -> None:
        """Let the handlers have these events. Raises what they raise."""


class ProjectionFollower(Follower):
    """Keeps one read model: neighbouring events with the same handler reach it together."""

    checkpoints = checkpoints.projections

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
        """The events for this read model after `after`, up to `until`, as stored."""
        return journal.read_rows(self._routes, after=after, until=until)

    def register(self) -> None:
        """Create the checkpoint, and the table, if this read model is new.

        Where there is a journal already, it has version 0, and is rebuilt as any other that has changed.
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
        """Not before the rebuild of a changed projection has taken over, and not after a newer one has."""
        return checkpoint.version == self.projection.version

    def _read(self, journal: PostgreSQLJournal, after: int, until: int) -> tuple[int, Sequence[StoredEvent]]:
        return until, self.read(journal, after, until)

    def _deliver(self, connection: Connection, rows: Sequence[StoredEvent]) -> None:
        events = (row.event() for row in rows)
        for handler, run in groupby(events, key=lambda event: self._routes[type(event)]):
            handler(list(run), connection)
