"""Operations on parked events: showing, retrying and discarding them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from allocation.adapters.journal.archive import JournalArchive
from allocation.adapters.journal.checkpoints import Checkpoints, ParkedEvents, parked_by_sku
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.rows import StoredEvent
from allocation.adapters.postgresql.database import Database
from allocation.adapters.read_models import shadow_tables
from allocation.adapters.read_models.rebuilds import Rebuilds
from allocation.adapters.read_models.shadow_tables import BUILDING, PREVIOUS
from allocation.domain.errors import AllocationError
from allocation.projections.follower import Follower, ProjectionFollower
from allocation.projections.outside import OutsideFollower
from allocation.projections.standby_tables import SUFFIXES, StandbyTable

_SCHEMAS: Mapping[str, str] = {suffix: schema for schema, suffix in SUFFIXES.items()}


class UnknownReader(AllocationError, LookupError):
    """No reader of the journal has this name."""

    def __init__(self, reader: str, known: Iterable[str]) -> None:
        super().__init__(
            f"no reader of the journal is called {reader}; there are: {', '.join(sorted(known))}"
        )
        self.reader = reader


@dataclass(frozen=True)
class ParkedSku:
    """The parked events of a SKU and reader: how many, from which position on, why, and since when."""

    lecteur: str
    sku: str
    events: int
    position: int
    erreur: str
    parqué_le: datetime


class ParkedReaders:
    """The parked events of all readers of the journal. A table not in use counts as a separate reader."""

    def __init__(self, database: Database, followers: Sequence[Follower]) -> None:
        self._database = database
        self._followers = {each.name: each for each in followers}

    def summary(self) -> list[ParkedSku]:
        """Every SKU with parked events, by reader."""
        with self._database.working() as connection:
            return [ParkedSku(*row) for row in parked_by_sku(connection)]

    def check(self, reader: str) -> None:
        """Raises UnknownReader unless it is the name of a reader."""
        self._named(reader)

    def events(self, reader: str, sku: str) -> list[StoredEvent]:
        """The parked events of a SKU, oldest first, as they are stored. Raises UnknownReader."""
        self.check(reader)
        with self._database.working() as connection:
            positions = ParkedEvents(connection, reader).positions(sku)
            return PostgreSQLJournal(connection).read_rows_at(positions)

    def retry(self, reader: str, sku: str) -> BaseException | None:
        """Apply the SKU's parked events with the reader's handlers; return what was raised, None on success.

        Either all of them take effect and are no longer parked, or none does. Raises LookupError if there is
        no such reader.
        """
        follower, schema = self._named(reader)
        if isinstance(follower, OutsideFollower):
            error = follower.retry(sku)
            with self._database.working() as connection, connection.begin():
                self._resume_if_possible(connection, follower)
            return error
        with self._database.working() as connection, connection.begin():
            self._hold(connection, follower, schema)
            if schema is not None and not shadow_tables.exists(connection, follower.name, schema):
                return LookupError(f"{reader} has no table any more: its events can only be given up")
            if schema is not None and isinstance(follower, ProjectionFollower):
                error = StandbyTable(connection, follower, schema, JournalArchive()).retry_parked(sku)
            else:
                error = follower.retry_parked(connection, sku, reader)
            self._resume_if_possible(connection, follower)
        return error

    def discard(self, reader: str, sku: str) -> int:
        """Drop the SKU's parked events, so that the reader goes on without them; return their number."""
        follower, schema = self._named(reader)
        with self._database.working() as connection, connection.begin():
            self._hold(connection, follower, schema)
            discarded = ParkedEvents(connection, reader).remove(sku)
            self._resume_if_possible(connection, follower)
        return discarded

    def _named(self, reader: str) -> tuple[Follower, str | None]:
        """The reader, and the schema of its table unless that is the one in use. Raises UnknownReader."""
        name, _, suffix = reader.partition(".")
        if name not in self._followers or (suffix and suffix not in _SCHEMAS):
            raise UnknownReader(reader, self._followers)
        return self._followers[name], _SCHEMAS.get(suffix)

    @staticmethod
    def _hold(connection: Connection, follower: Follower, schema: str | None) -> None:
        """Make everybody else who applies events for the same reader wait."""
        if schema == PREVIOUS:
            Rebuilds(connection).hold_requests(follower.name)
        if schema == BUILDING:
            Rebuilds(connection).take(follower.name, wait=True)
        else:
            Checkpoints(connection, follower.checkpoints).take(follower.name, wait=True)

    @staticmethod
    def _resume_if_possible(connection: Connection, follower: Follower) -> None:
        checkpoints = Checkpoints(connection, follower.checkpoints)
        checkpoint = checkpoints.look_at(follower.name)
        still_parked = len(ParkedEvents(connection, follower.name).skus())
        if checkpoint is not None and checkpoint.en_pause and still_parked < follower.max_parked:
            checkpoints.resume(follower.name)
