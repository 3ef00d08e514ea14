"""The reader of the journal for a subscription: its handlers have effects outside of the database."""

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import Connection

from allocation.adapters.journal import checkpoints
from allocation.adapters.journal.checkpoints import Checkpoints
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.rows import StoredEvent
from allocation.adapters.postgresql.database import Database
from allocation.projections.delivery import Routes, Subscription
from allocation.projections.follower import DEFAULT_MAX_PARKED, Follower


class SubscriptionFollower(Follower):
    """Has effects outside: no more of them in a transaction than may be repeated when it fails."""

    checkpoints = checkpoints.subscriptions

    def __init__(
        self,
        subscription: Subscription,
        routes: Routes,
        database: Database,
        *,
        max_parked: int = DEFAULT_MAX_PARKED,
    ) -> None:
        super().__init__(subscription.name, routes, database, max_parked=max_parked)
        self._batch = subscription.batch

    def register(self) -> None:
        """Create the checkpoint, if this subscription is new: at the journal's present end."""
        with self._database.working() as connection, connection.begin():
            Checkpoints(connection, self.checkpoints).register(self.name, from_now=True)

    def _read(self, journal: PostgreSQLJournal, after: int, until: int) -> tuple[int, Sequence[StoredEvent]]:
        batch = journal.read_rows(self._routes, after=after, until=until, limit=self._batch)
        return (until if len(batch) < self._batch else batch[-1].position), batch

    def _deliver(self, connection: Connection, rows: Sequence[StoredEvent]) -> None:
        self._hand_out(rows, connection)

    def _hand_out(self, rows: Sequence[StoredEvent], place: Connection | Database) -> None:
        """Let the handlers have these events, and what they are given beside them. Raises what they raise."""
        batch = (row.recorded() for row in rows)
        for handler, run in groupby(batch, key=lambda recorded: self._routes[type(recorded.event)]):
            handler(list(run), place)
