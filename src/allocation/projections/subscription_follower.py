"""Following the journal for a subscription, whose handlers have effects outside of the database."""

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
    """Delivers in one transaction no more events than may be delivered again if it fails."""

    checkpoints = checkpoints.subscriptions
    # Nobody waits for it with a token.
    pace_s = 0.1

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
        """Create the checkpoint at the present end of the journal, if this subscription is new."""
        with self._database.working() as connection, connection.begin():
            Checkpoints(connection, self.checkpoints).register(self.name, from_now=True)

    def _read(self, journal: PostgreSQLJournal, after: int, until: int) -> tuple[int, Sequence[StoredEvent]]:
        batch = journal.read_rows(self._routes, after=after, until=until, limit=self._batch)
        return (until if len(batch) < self._batch else batch[-1].position), batch

    def _deliver(self, connection: Connection, rows: Sequence[StoredEvent]) -> None:
        self._hand_out(rows, connection)

    def _hand_out(self, rows: Sequence[StoredEvent], place: Connection | Database) -> None:
        """Call the handlers with these events and the `place` where they work. Raises what they raise."""
        batch = (row.recorded() for row in rows)
        for handler, run in groupby(batch, key=lambda recorded: self._routes[type(recorded.event)]):
            handler(list(run), place)
