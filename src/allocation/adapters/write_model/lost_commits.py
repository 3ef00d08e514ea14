"""What became of a commit whose answer was lost, asked of whichever server is the primary now.

A transaction's number says nothing of that: after a crash, PostgreSQL gives it to another. What a transaction
has written is there, or is not; and it can be waited for, as it holds a lock of its own until it has ended.
"""

import secrets
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from allocation.adapters.postgresql.database import Database, OutcomeUnknown, StorageUnavailable
from allocation.adapters.postgresql.messages import Rows, Statement

TIMEOUT_S = 10
POLL_S = 0.1

_TRACE = "SELECT pg_advisory_xact_lock(%s), coalesce((SELECT max(position) FROM journal), 0)"
_STATE = text("SELECT pg_is_in_recovery(), pg_try_advisory_xact_lock(:lock)")
_POSITION = text("SELECT position FROM journal WHERE position > :journal_end AND id = :event_id")


@dataclass(frozen=True, slots=True)
class Trace:
    """What a transaction is found by: a lock that is its own, and where the journal ended when it began."""

    lock: int
    journal_end: int


def leave_trace() -> tuple[int, Statement]:
    """A lock that nobody else has, and the statement that takes it, as a transaction's first."""
    lock = secrets.randbits(63)
    return lock, (_TRACE, (lock,))


def trace_of(lock: int, rows: Rows) -> Trace:
    """The trace, from the rows of the statement that has left it."""
    [(_, journal_end)] = rows
    return Trace(lock, journal_end)


def position_if_committed(database: Database, trace: Trace, event_id: UUID) -> int | None:
    """The position of an event of a transaction whose connection was lost; None if it was not committed.

    The end of the transaction is awaited. Raises OutcomeUnknown if it can't be found out in time.
    """
    patiently = Retrying(
        retry=retry_if_exception_type(StorageUnavailable),
        wait=wait_fixed(POLL_S),
        stop=stop_after_delay(TIMEOUT_S),
        reraise=True,
    )
    try:
        return patiently(_position, database, trace, event_id)
    except StorageUnavailable as away:
        raise OutcomeUnknown(f"whether the commit has happened is not known: {away}") from away


def _position(database: Database, trace: Trace, event_id: UUID) -> int | None:
    with database.following() as connection:
        with connection.begin():
            standby, over = connection.execute(_STATE, {"lock": trace.lock}).one()
        if standby:
            connection.invalidate()
            raise StorageUnavailable("a standby does not know what its primary has committed")
        if not over:
            raise StorageUnavailable("the transaction has not ended yet")
        # From here on, by a snapshot that was taken after its end.
        with connection.begin():
            wanted = {"journal_end": trace.journal_end, "event_id": event_id}
            position: int | None = connection.scalar(_POSITION, wanted)
    return position
