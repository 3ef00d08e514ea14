"""Events as rows of the journal, whose fields are only read when they are needed."""

import functools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from allocation.adapters.journal.serialization import EventFields, UnknownEvent, from_fields, from_json
from allocation.domain.events import Event

logger = logging.getLogger(__name__)

E_co = TypeVar("E_co", bound=Event, covariant=True)


class Cause(NamedTuple):
    """What an event follows from: the type of the command, and an ID that all its events share."""

    commande: str | None
    id: UUID | None


NO_CAUSE = Cause(None, None)


@dataclass(frozen=True)
class RecordedEvent(Generic[E_co]):
    """An event with its position in the journal, its ID, when it was recorded, and its cause."""

    position: int
    id: UUID
    survenu_le: datetime
    event: E_co
    cause: Cause = NO_CAUSE


class EventKind(NamedTuple):
    """The number of events of one type and version in a range, and their first and last position."""

    type: str
    version: int
    events: int
    first: int
    last: int


class Ahead(NamedTuple):
    """What comes next for a reader: up to which position (None if nothing comes), and which SKUs are parked.

    `kinds` are the kinds of the events that it reads; None if they are not known, as in an archive.
    """

    end: int | None
    parked: frozenset[str]
    kinds: Sequence[EventKind] | None


class StoredEvent(NamedTuple):
    """An event as it is stored, whether in the table or in a file of the archive; `recorded` parses it."""

    position: int
    sku: str
    id: UUID
    survenu_le: datetime
    commande: str | None
    cause: UUID | None
    type: str
    version: int
    data: str | EventFields

    def event(self) -> Event:
        """The event alone. Raises UnknownEvent, or ValueError if its fields are damaged."""
        if isinstance(self.data, str):
            return from_json(self.type, self.version, self.data)
        return from_fields(self.type, self.version, self.data)

    def recorded(self) -> RecordedEvent[Event]:
        """The event with its position. Raises as `event`."""
        cause = Cause(self.commande, self.cause)
        return RecordedEvent(self.position, self.id, self.survenu_le, self.event(), cause)


def readable(rows: Iterable[StoredEvent]) -> list[RecordedEvent[Event]]:
    """The events, without those that only a newer program knows; each kind of these is logged once."""
    found: list[RecordedEvent[Event]] = []
    for row in rows:
        try:
            found.append(row.recorded())
        except UnknownEvent as unknown:
            _warn_once(str(unknown))
    return found


@functools.cache
def _warn_once(reason: str) -> None:
    logger.warning("events of a newer program are skipped: %s", reason)
