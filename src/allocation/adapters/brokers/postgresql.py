"""PostgreSQL's own NOTIFY as a broker: nothing to install, heard by whoever listens at that moment."""

from sqlalchemy import Connection, func, select

from allocation.adapters.journal import RecordedEvent
from allocation.adapters.serialization import as_json
from allocation.domain.events import Event


def publish(connection: Connection, channel: str, recorded: RecordedEvent[Event]) -> None:
    """Send the event, with its id and position, to who listens on `channel` when the transaction commits."""
    message = as_json(
        {
            "id": str(recorded.id),
            "position": recorded.position,
            "type": type(recorded.event).__name__,
            "version": recorded.event.version,
            "data": vars(recorded.event),
        }
    )
    connection.execute(select(func.pg_notify(channel, message)))
