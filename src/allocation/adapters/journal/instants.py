"""From an instant to a place in the journal: what had happened by then is what stands up to that position."""

from datetime import datetime

from sqlalchemy import Connection

# The position of the last event up to the instant %(at)s: found by halving, as both only grow. It is the one
# before the journal's first when there is none.
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
    """The position of the last event up to this instant; the one before the first if there is none."""
    query = f"SELECT {POSITION_AT}"
    position: int = connection.exec_driver_sql(query, {"at": instant}).scalar_one()
    return position
