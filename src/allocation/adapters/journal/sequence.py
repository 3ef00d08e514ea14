"""The sequence of the journal's positions, which can lag its table after a restore or on a logical replica.

An event at a position that the readers have passed would never reach them.
"""

import logging

import psycopg
from sqlalchemy import Connection, text

from allocation.adapters.journal.journal import APPEND_LOCK
from allocation.adapters.postgresql.installation import advisory_lock

logger = logging.getLogger(__name__)

_LOCK = text(f"SELECT {advisory_lock(APPEND_LOCK)}")
_STATE = text("""
    SELECT sequence, coalesce(pg_sequence_last_value(sequence), 0) AS handed_out, who, position
    FROM (SELECT pg_get_serial_sequence('journal', 'position')::regclass AS sequence) AS of_journal,
    (
        SELECT 'the journal' AS who, max(position) AS position FROM journal
        UNION ALL
        SELECT 'the archive', max(dernière_position) FROM journal_archives
        UNION ALL
        SELECT 'projection ' || name, position FROM projections
        UNION ALL
        SELECT 'subscription ' || name, position FROM subscriptions
        UNION ALL
        SELECT 'rebuild of ' || name, position FROM rebuilds WHERE phase NOT IN ('done', 'failed')
    ) AS reached
    WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1
""")
_SET = text("SELECT setval(CAST(:sequence AS regclass), :position)")


def shows_lag(error: psycopg.Error) -> bool:
    """Whether an append failed because the sequence gave a position that was already used or passed."""
    return (
        isinstance(error, psycopg.errors.CardinalityViolation) or error.diag.constraint_name == "journal_pkey"
    )


def mend_sequence(connection: Connection) -> bool:
    """Within a transaction, set the sequence to the highest position that anybody has reached.

    Returns whether that was needed; if so, a warning is logged.
    """
    connection.execute(_LOCK)
    row = connection.execute(_STATE).mappings().first()
    if row is None or row["handed_out"] >= row["position"]:
        return False
    connection.execute(_SET, {"sequence": row["sequence"], "position": row["position"]})
    logger.warning(
        "the sequence of the journal stood at %s, where %s has reached %s: it was set to that",
        row["handed_out"],
        row["who"],
        row["position"],
    )
    return True
