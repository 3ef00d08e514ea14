"""Snapshots: a few events that stand for all events up to a position."""

from collections.abc import Iterator

from sqlalchemy import Connection

from allocation.adapters.journal.archive import SNAPSHOT, registered
from allocation.adapters.journal.ledger import entering, literal, moves, of_types
from allocation.adapters.postgresql.raw_copy import copy_in, copy_out
from allocation.domain.events import Alloué, LotCréé
from allocation.domain.ledger import Compartiment

# The write model as it was: its present state less what has moved since. These events are numbered below the
# position, as each stands for at least one event.
_STATE_AT = f"""
    WITH since AS MATERIALIZED (
        SELECT * FROM journal WHERE position > %(position)s AND de IS NOT NULL
    ), lots_then AS (
        SELECT référence AS réf_lot, sku, (quantité + coalesce(gone, 0))::int AS quantité, eta
        FROM lots LEFT JOIN (
            SELECT sku, réf_lot AS référence, sum({entering(Compartiment.HORS_STOCK)}) AS gone
            FROM since GROUP BY sku, réf_lot
        ) AS moved USING (sku, référence)
        WHERE (sku, référence) NOT IN (SELECT sku, réf_lot FROM since WHERE {of_types(LotCréé)})
    ), lines_then AS (
        SELECT id_commande, sku, sum(units)::int AS quantité, réf_lot, ligne
        FROM (
            SELECT id_commande, sku, ligne, réf_lot, quantité AS units
            FROM allocations JOIN order_lines USING (sku, rang)
            UNION ALL
            SELECT id_commande, sku, ligne, réf_lot, - {entering(Compartiment.ALLOUÉ)}
            FROM since WHERE {moves(Compartiment.ALLOUÉ)}
        ) AS now_and_since
        GROUP BY id_commande, sku, ligne, réf_lot HAVING sum(units) > 0
    ), facts AS (
        SELECT 1 AS part, {literal(LotCréé)} AS type, {LotCréé.version} AS version, sku, réf_lot AS key,
               row_to_json(lots_then) AS data
        FROM lots_then
        UNION ALL
        SELECT 2, {literal(Alloué)}, {Alloué.version}, sku, jsonb_build_array(id_commande, ligne)::text,
               row_to_json(lines_then)
        FROM lines_then
    ), numbered AS (
        SELECT row_number() OVER (ORDER BY part, sku, key COLLATE "C") AS position, type, version, sku, data
        FROM facts
    ), event AS (
        SELECT position, md5(%(position)s || ':' || position)::uuid AS id, survenu_le, type, version, sku,
               NULL AS commande, NULL AS cause, data
        FROM numbered, (SELECT survenu_le FROM journal WHERE position = %(position)s) AS instant
    )
    SELECT row_to_json(completed)
    FROM event, json_populate_record(NULL::journal, row_to_json(event)) AS bare,
         journal_completed(bare) AS completed
    ORDER BY completed.position
"""  # noqa: S608 - our own text
_TABLES = (
    "CREATE TEMP TABLE journal_snapshot (LIKE journal) ON COMMIT DROP",
    "CREATE TEMP TABLE snapshot_lines (line text) ON COMMIT DROP",
)
# Versions up to 0.2.0 have written lines without the columns of the ledger.
_FILL = """
    INSERT INTO journal_snapshot
    SELECT completed.*
    FROM snapshot_lines, json_populate_record(NULL::journal, line::json) AS event,
         journal_completed(event) AS completed
"""

# After `load_snapshot`: rows that add up to everything. A snapshot may cover events that are still in the
# table.
WHOLE_JOURNAL = """(
    SELECT * FROM journal_snapshot
    UNION ALL
    SELECT * FROM journal WHERE position > (SELECT coalesce(max(position), 0) FROM journal_snapshots)
) AS journal"""


def state_at(connection: Connection, position: int) -> Iterator[bytes]:
    """The lines of a snapshot at this position, calculated back from the write model."""
    return copy_out(connection, _STATE_AT, {"position": position})


def load_snapshot(connection: Connection) -> None:
    """Fill a temporary table with the newest snapshot, so that this transaction can read WHOLE_JOURNAL.

    The table is empty if nothing is archived. Raises ArchiveUnreadable.
    """
    for statement in _TABLES:
        connection.exec_driver_sql(statement)
    file = registered(connection, SNAPSHOT, 0)
    if file is not None:
        copy_in(connection, "snapshot_lines", file.lines())
        connection.exec_driver_sql(_FILL)


def has_snapshot(connection: Connection) -> bool:
    """Whether there is a snapshot."""
    return registered(connection, SNAPSHOT, 0) is not None
