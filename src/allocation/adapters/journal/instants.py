"""From an instant to a position in the journal, up to which everything had happened by then."""

from datetime import datetime

from sqlalchemy import Connection

# The position of the last event up to the instant %(at)s, found by bisection, as both only grow. If there is
# no such event, it is the position before the journal's first.
POSITION_AT = """
    (
        WITH RECURSIVE search (low, high) AS (
            SELECT coalesce(min(position), 1) - 1, coalesce(max(position), 0) FROM journal
            UNION ALL
            SELECT CASE WHEN probe.survenu_le <= %(at)s THEN probe.position ELSE low END,
                   CASE WHEN probe.survenu_le <= %(at)s THEN high ELSE (low + high) / 2 END
            FROM search LEFT JOIN LATERAL (
                SELECT position, survenu_le FROM journal
                WHERE position > (low + high) / 2 ORDER BY position LIMIT 1
            ) AS probe ON true
            WHERE low < high
        )
        SELECT max(low) FROM search
    )
"""


def position_at(connection: Connection, instant: datetime) -> int:
    """The position of the last event up to this instant or, without one, that before the first event."""
    query = f"SELECT {POSITION_AT}"
    position: int = connection.exec_driver_sql(query, {"at": instant}).scalar_one()
    return position
