"""From an instant of the past to the place in the journal that it leads to for good."""

import time
from dataclasses import dataclass
from datetime import datetime

from allocation.adapters.journal.instants import POSITION_AT
from allocation.adapters.journal.journal import APPEND_LOCK
from allocation.adapters.postgresql.installation import advisory_lock
from allocation.adapters.postgresql.read_servers import ReadServer, ReadServers

_LOOK = f"""
    WITH place AS MATERIALIZED (SELECT {POSITION_AT} AS position)
    SELECT place.position, last.survenu_le AS last, next.survenu_le AS next, clock_timestamp() AS now
    FROM place LEFT JOIN journal AS last ON last.position = place.position
    LEFT JOIN journal AS next
         ON next.position = (SELECT min(position) FROM journal WHERE position > place.position)
"""  # noqa: S608 - our own text
# Granted when whoever has taken the time for his events has shown them; who comes later takes a later time.
_AWAIT_APPENDERS = f"SELECT {advisory_lock(APPEND_LOCK, shared=True)}"


class InstantFutur(Exception):
    """What will be at that instant is not known yet. → 422"""

    def __init__(self, instant: datetime, horloge: datetime) -> None:
        super().__init__(
            f"{instant.isoformat()} est à venir : l'horloge de la base en est à {horloge.isoformat()}"
        )
        self.instant = instant
        self.horloge = horloge


class JournalEnAvance(Exception):
    """The clock was put back: the newest events are dated later, and it can't be told what was when. → 409"""

    def __init__(self, instant: datetime, horloge: datetime, suivant: datetime) -> None:
        super().__init__(
            f"L'horloge de la base, qui en est à {horloge.isoformat()}, a été reculée : ce qui suit est daté "
            f"de {suivant.isoformat()} ou de plus tard, et jusque là ce qui fut à {instant.isoformat()} ne "
            "se dit pas ; l'état présent se lit sans instant"
        )
        self.instant = instant
        self.horloge = horloge
        self.suivant = suivant


@dataclass(frozen=True)
class _Place:
    """The last position up to an instant, when its event and the next one happened, and what time it is."""

    position: int
    last: datetime | None
    next: datetime | None
    now: datetime

    @property
    def is_last(self) -> bool:
        """Whether no event comes after it yet."""
        return self.next is None

    @property
    def latest(self) -> datetime:
        """The latest instant that any event can have had by now."""
        return self.now if self.last is None else max(self.now, self.last)

    @property
    def is_undated(self) -> bool:
        """Whether the clock has come back to between its event and the next, which has happened already."""
        return self.next is not None and self.next > self.now >= (self.last or self.now)


def settled_position(reads: ReadServers, instant: datetime, wait_s: float) -> int:
    """Where the journal stood at `instant`: no event can come any more that has this instant, or one before.

    An instant that is to come is waited for, `wait_s` seconds at most. Raises InstantFutur, JournalEnAvance,
    TooManyWaiting or StorageUnavailable.
    """
    place = _look(reads.primary, instant)
    if place.is_last and instant > place.latest:
        to_come = (instant - place.now).total_seconds()
        if to_come > wait_s:
            raise InstantFutur(instant, place.now)
        with reads.waiting.taken():
            time.sleep(to_come)
    if place.is_last and instant != place.last:
        reads.primary.fetch(_AWAIT_APPENDERS, {})
        place = _look(reads.primary, instant)
    if place.next is not None and place.is_undated:
        raise JournalEnAvance(instant, place.now, place.next)
    return place.position


def _look(server: ReadServer, instant: datetime) -> _Place:
    [row] = server.fetch(_LOOK, {"at": instant})
    return _Place(**row)
