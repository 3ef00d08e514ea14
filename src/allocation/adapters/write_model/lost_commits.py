"""Finding out what became of a commit whose answer was lost, from whichever server is the primary now.

The transaction's number would not help: after a crash, PostgreSQL may give it to another one. Instead, each
transaction holds a lock of its own. Once that lock is free, the transaction has ended, and an event that it
wrote is in the journal if it was committed, and only then.
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
    """What identifies a transaction: a lock of its own, and the end of the journal when it began."""

    lock: int
    journal_end: int


def leave_trace() -> tuple[int, Statement]:
    """A lock that nobody else uses, and the statement that takes it, to be the transaction's first."""
    lock = secrets.randbits(63)
    return lock, (_TRACE, (lock,))


def trace_of(lock: int, rows: Rows) -> Trace:
    """The trace, from the rows that the statement of `leave_trace` returned."""
    [(_, journal_end)] = rows
    return Trace(lock, journal_end)


def position_if_committed(database: Database, trace: Trace, event_id: UUID) -> int | None:
    """The position of an event of a transaction whose connection was lost; None if it was not committed.

    Waits for the end of the transaction. Raises OutcomeUnknown if that can't be found out in time.
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
        raise OutcomeUnknown(f"it is not known whether the commit succeeded: {away}") from away


def _position(database: Database, trace: Trace, event_id: UUID) -> int | None:
    with database.following() as connection:
        with connection.begin():
            standby, over = connection.execute(_STATE, {"lock": trace.lock}).one()
        if standby:
            connection.invalidate()
            raise StorageUnavailable("a standby does not know what its primary has committed")
        if not over:
            raise StorageUnavailable("the transaction has not ended yet")
        # In a new transaction, so that its snapshot is later than the end of the lost one.
        with connection.begin():
            wanted = {"journal_end": trace.journal_end, "event_id": event_id}
            position: int | None = connection.scalar(_POSITION, wanted)
    return position
