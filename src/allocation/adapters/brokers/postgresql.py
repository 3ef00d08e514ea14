"""PostgreSQL's own NOTIFY as a broker: nothing to install, heard by whoever listens at that moment."""

import json

from sqlalchemy import Connection, func, select

from allocation.adapters.journal import RecordedEvent
from allocation.adapters.serialization import to_json
from allocation.domain.events import Event


def publish(connection: Connection, channel: str, recorded: RecordedEvent[Event]) -> None:
    """Send the event, with its id and position, to who listens on `channel` when the transaction commits."""
    message = json.dumps(
        {
            "id": str(recorded.id),
            "position": recorded.position,
            "type": type(recorded.event).__name__,
            "version": recorded.event.version,
            "data": json.loads(to_json(recorded.event)),
        },
        ensure_ascii=False,
    )
    connection.execute(select(func.pg_notify(channel, message)))
