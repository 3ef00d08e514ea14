"""From an instant of the past to the journal position that belongs to it for good."""

from dataclasses import dataclass
from datetime import datetime

from allocation.adapters.journal.instants import POSITION_AT
from allocation.adapters.journal.journal import APPEND_LOCK
from allocation.adapters.postgresql.installation import advisory_lock
from allocation.adapters.postgresql.read_servers import ReadServer, ReadServers
from allocation.domain.errors import AllocationError

_LOOK = f"""
    WITH place AS MATERIALIZED (SELECT {POSITION_AT} AS position)
    SELECT place.position, last.survenu_le AS last, next.survenu_le AS next, clock_timestamp() AS now
    FROM place LEFT JOIN journal AS last ON last.position = place.position
    LEFT JOIN journal AS next
         ON next.position = (SELECT min(position) FROM journal WHERE position > place.position)
"""  # noqa: S608 - our own text
# Granted once every writer that has read the clock has committed its events; later writers read a later time.
_AWAIT_APPENDERS = f"SELECT {advisory_lock(APPEND_LOCK, shared=True)}"


class InstantFutur(AllocationError):
    """The instant is in the future, so its state is not known yet. → 422"""

    def __init__(self, instant: datetime, horloge: datetime) -> None:
        super().__init__(
            f"{instant.isoformat()} est à venir : l'horloge de la base en est à {horloge.isoformat()}"
        )
        self.instant = instant
        self.horloge = horloge


class JournalEnAvance(AllocationError):
    """The clock was set back, and the newest events are dated later: the state then can't be told. → 409"""

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
    """The last position up to an instant, the times of its event and the next, and the present time."""

    position: int
    last: datetime | None
    next: datetime | None
    now: datetime

    @property
    def is_last(self) -> bool:
        """Whether it is the last position of the journal."""
        return self.next is None

    @property
    def latest(self) -> datetime:
        """The latest instant that an event can have by now."""
        return self.now if self.last is None else max(self.now, self.last)

    @property
    def is_undated(self) -> bool:
        """Whether the clock was set back to between its event and the next, which has already happened."""
        return self.next is not None and self.next > self.now >= (self.last or self.now)


async def settled_position(reads: ReadServers, instant: datetime, wait_s: float) -> int:
    """The journal's position at `instant`, once no further event can have that instant or an earlier one.

    If the instant is in the future, waits for it, at most `wait_s` seconds. Raises InstantFutur,
    JournalEnAvance, TooManyWaiting or StorageUnavailable.
    """
    place = await _look(reads.primary, instant)
    if place.is_last and instant > place.latest:
        to_come = (instant - place.now).total_seconds()
        if to_come > wait_s:
            raise InstantFutur(instant, place.now)
        with reads.waiting.taken():
            await reads.primary.pause(to_come)
    if place.is_last and instant != place.last:
        await reads.primary.fetch(_AWAIT_APPENDERS, {})
        place = await _look(reads.primary, instant)
    if place.next is not None and place.is_undated:
        raise JournalEnAvance(instant, place.now, place.next)
    return place.position


async def _look(server: ReadServer, instant: datetime) -> _Place:
    [row] = await server.fetch(_LOOK, {"at": instant})
    return _Place(**row)
