"""PostgreSQL's NOTIFY as a broker: nothing to install, but only those who listen at that moment hear it."""

from collections.abc import Sequence

from sqlalchemy import Connection

from allocation.adapters.journal.rows import RecordedEvent
from allocation.adapters.journal.serialization import as_json
from allocation.adapters.postgresql.installation import channel
from allocation.domain.events import Event

_NOTIFY = (
    f"SELECT pg_notify({channel('%s')}, message) "  # noqa: S608 - our own expression
    "FROM json_array_elements_text(%s) AS message"
)


def publish(connection: Connection, channel: str, batch: Sequence[RecordedEvent[Event]]) -> None:
    """Send the events, with ID and position, to listeners on `channel`, when the transaction commits."""
    messages = as_json([_message(recorded) for recorded in batch])
    connection.exec_driver_sql(_NOTIFY, (channel, messages))


def _message(recorded: RecordedEvent[Event]) -> str:
    return as_json(
        {
            "id": str(recorded.id),
            "position": recorded.position,
            "type": type(recorded.event).__name__,
            "version": recorded.event.version,
            "data": vars(recorded.event),
        }
    )
