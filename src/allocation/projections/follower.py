"""One reader of the journal: takes its checkpoint, a batch behind it, carries it out, and moves on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, ClassVar, TypeAlias

from sqlalchemy import Connection, Table

from allocation.adapters import checkpoints
from allocation.adapters.checkpoints import Checkpoints
from allocation.adapters.database import Database
from allocation.adapters.journal import RecordedEvent, SqlAlchemyJournal
from allocation.domain.events import Event
from allocation.projections.delivery import Projection, Subscription

Batch: TypeAlias = Sequence[RecordedEvent[Event]]
Routes: TypeAlias = Mapping[type[Event], Callable[..., Any]]

BATCH = 1000


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
        batch = self._cut(SqlAlchemyJournal(connection).read(position, BATCH))
        if not batch:
            return position
        self._carry_out([recorded for recorded in batch if type(recorded.event) in self._routes], connection)
        return batch[-1].position

    def note_failure(self, reason: str) -> None:
        """Say beside the checkpoint why this reader has stopped."""
        with self._database.working() as connection, connection.begin():
            Checkpoints(connection, self.checkpoints).note_failure(self.name, reason)

    @abstractmethod
    def _cut(self, batch: Batch) -> Batch:
        """As much of the batch as may go into one transaction."""

    @abstractmethod
    def _carry_out(self, batch: Batch, connection: Connection) -> None:
        """Call the handlers; all events of the batch have one."""


class ProjectionFollower(Follower):
    """Keeps one read model: neighbouring events with the same handler reach it together."""

    checkpoints = checkpoints.projections
    starts_now = False

    def __init__(self, projection: Projection, routes: Routes, database: Database) -> None:
        super().__init__(projection.name, routes, database)
        self.projection = projection

    def _cut(self, batch: Batch) -> Batch:
        return batch

    def _carry_out(self, batch: Batch, connection: Connection) -> None:
        for handler, run in groupby(batch, key=lambda recorded: self._routes[type(recorded.event)]):
            handler([recorded.event for recorded in run], connection)


class SubscriptionFollower(Follower):
    """Has effects outside: no more of them in a transaction than may be repeated when it fails."""

    checkpoints = checkpoints.subscriptions
    starts_now = True

    def __init__(self, subscription: Subscription, routes: Routes, database: Database) -> None:
        super().__init__(subscription.name, routes, database)
        self._batch = subscription.batch

    def _cut(self, batch: Batch) -> Batch:
        handled = (n for n, recorded in enumerate(batch, start=1) if type(recorded.event) in self._routes)
        return batch[: next(islice(handled, self._batch - 1, None), len(batch))]

    def _carry_out(self, batch: Batch, connection: Connection) -> None:
        for handler, run in groupby(batch, key=lambda recorded: self._routes[type(recorded.event)]):
            handler(list(run), connection)
