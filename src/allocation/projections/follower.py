"""One reader of the journal: takes its checkpoint, a batch behind it, carries it out, and moves on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, ClassVar, TypeAlias

from sqlalchemy import Connection, Table

from allocation.adapters import checkpoints
from allocation.adapters.checkpoints import Checkpoints
from allocation.adapters.database import Database
from allocation.adapters.journal import SqlAlchemyJournal
from allocation.domain.events import Event
from allocation.projections.delivery import Projection, Subscription

Routes: TypeAlias = Mapping[type[Event], Callable[..., Any]]

BATCH = 5000


class Follower(ABC):
    """What projections and subscriptions have in common. `routes` says which handler gets which events."""

    checkpoints: ClassVar[Table]
    starts_now: ClassVar[bool]

    def __init__(self, name: str, routes: Routes, database: Database) -> None:
        self.name = name
        self._routes = routes
        self._database = database

    def register(self) -> None:
        """Create the checkpoint, if this reader is new."""
        with self._database.working() as connection, connection.begin():
            Checkpoints(connection, self.checkpoints).register(self.name, from_now=self.starts_now)

    def advance(self, *, wait: bool) -> int | None:
        """Carry out one batch, if there is one; the position reached.

        While another reader holds the checkpoint, its end is awaited or, without `wait`, None is returned.
        """
        with self._database.following() as connection, connection.begin():
            checkpoints = Checkpoints(connection, self.checkpoints)
            position = checkpoints.take(self.name, wait=wait)
            if position is None:
                return None
            reached = self.follow(connection, position)
            if reached > position:
                checkpoints.move(self.name, reached)
            return reached

    def follow(self, connection: Connection, position: int) -> int:
        """Carry out one batch behind `position`; the position that is reached."""
        journal = SqlAlchemyJournal(connection)
        end = journal.end_of_batch(position, BATCH)
        return position if end is None else self._carry_out(connection, journal, position, end)

    def note_failure(self, reason: str) -> None:
        """Say beside the checkpoint why this reader has stopped."""
        with self._database.working() as connection, connection.begin():
            Checkpoints(connection, self.checkpoints).note_failure(self.name, reason)

    @abstractmethod
    def _carry_out(self, connection: Connection, journal: SqlAlchemyJournal, after: int, until: int) -> int:
        """Let the handlers have the events behind `after`, up to `until`; the position that is reached."""


class ProjectionFollower(Follower):
    """Keeps one read model: neighbouring events with the same handler reach it together."""

    checkpoints = checkpoints.projections
    starts_now = False

    def __init__(self, projection: Projection, routes: Routes, database: Database) -> None:
        super().__init__(projection.name, routes, database)
        self.projection = projection

    def _carry_out(self, connection: Connection, journal: SqlAlchemyJournal, after: int, until: int) -> int:
        events = journal.read_events(self._routes, after=after, until=until)
        for handler, run in groupby(events, key=lambda event: self._routes[type(event)]):
            handler(list(run), connection)
        return until


class SubscriptionFollower(Follower):
    """Has effects outside: no more of them in a transaction than may be repeated when it fails."""

    checkpoints = checkpoints.subscriptions
    starts_now = True

    def __init__(self, subscription: Subscription, routes: Routes, database: Database) -> None:
        super().__init__(subscription.name, routes, database)
        self._batch = subscription.batch

    def _carry_out(self, connection: Connection, journal: SqlAlchemyJournal, after: int, until: int) -> int:
        batch = journal.read_of_types(self._routes, after=after, until=until, limit=self._batch)
        for handler, run in groupby(batch, key=lambda recorded: self._routes[type(recorded.event)]):
            handler(list(run), connection)
        return until if len(batch) < self._batch else batch[-1].position
