"""Comparing what should be equal: counters with rows, the write model with the journal, views with both.

Every comparison is made by the database, in one snapshot, and streamed: traffic goes on, memory is constant.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from allocation.adapters.checkpoints import Checkpoints
from allocation.adapters.database import Database
from allocation.adapters.journal_archive import load_snapshot
from allocation.projections.allocations_view import ALLOCATIONS_VIEW
from allocation.projections.delivery import Projection
from allocation.projections.follower import ProjectionFollower


@dataclass(frozen=True)
class Comparison:
    """Two queries over the same columns that should give the same rows."""

    name: str
    columns: tuple[str, ...]
    expected: str
    actual: str


@dataclass(frozen=True)
class Difference:
    """A row that is missing, or one too many."""

    comparison: str
    missing: bool
    row: dict[str, Any]


# What is archived is told by the newest snapshot. Its events may also cover some that are still in the table;
# of each lot and each line, the last event is the same all the same.
_JOURNAL = "(SELECT * FROM journal UNION ALL SELECT * FROM journal_snapshot) AS journal"

WRITE_MODEL = (
    Comparison(
        name="lots: quantité_allouée against the allocated lines",
        columns=("référence", "quantité_allouée"),
        expected="""
            SELECT lots.référence, coalesce(sum(order_lines.quantité), 0) AS quantité_allouée
            FROM lots
            LEFT JOIN allocations ON allocations.sku = lots.sku AND allocations.réf_lot = lots.référence
            LEFT JOIN order_lines ON order_lines.sku = allocations.sku AND order_lines.rang = allocations.rang
            GROUP BY lots.sku, lots.référence
        """,
        actual="SELECT référence, quantité_allouée FROM lots",
    ),
    Comparison(
        name="allocations against the journal",
        columns=ALLOCATIONS_VIEW.columns,
        expected=f"""
            SELECT id_commande, sku, réf_lot, quantité, ligne
            FROM (
                SELECT DISTINCT ON (sku, data ->> 'id_commande', data ->> 'ligne')
                       type, sku, data ->> 'id_commande' AS id_commande, data ->> 'ligne' AS ligne,
                       data ->> 'réf_lot' AS réf_lot, (data ->> 'quantité')::int AS quantité
                FROM {_JOURNAL} WHERE type IN ('Alloué', 'Désalloué')
                ORDER BY sku, data ->> 'id_commande', data ->> 'ligne', position DESC
            ) AS last_event
            WHERE type = 'Alloué'
        """,  # noqa: S608 - our own text
        actual=ALLOCATIONS_VIEW.truth,
    ),
    Comparison(
        name="lots against the journal",
        columns=("référence", "sku", "quantité"),
        expected=f"""
            SELECT DISTINCT ON (data ->> 'réf_lot')
                   data ->> 'réf_lot' AS référence, sku, (data ->> 'quantité')::int AS quantité
            FROM {_JOURNAL} WHERE type IN ('LotCréé', 'QuantitéLotModifiée')
            ORDER BY data ->> 'réf_lot', position DESC
        """,  # noqa: S608 - our own text
        actual="SELECT référence, sku, quantité FROM lots",
    ),
)


def verify(database: Database, followers: Sequence[ProjectionFollower]) -> Iterator[Difference]:
    """Every difference there is, at one snapshot. Nothing is changed. Raises ArchiveUnreadable."""
    with database.working() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin() as transaction:
            load_snapshot(connection)
            for comparison in WRITE_MODEL:
                yield from _differences(connection, comparison)
            for follower in followers:
                _bring_copy_up_to_date(connection, follower)
                yield from _differences(connection, _against_truth(follower.projection))
            transaction.rollback()


def _bring_copy_up_to_date(connection: Connection, follower: ProjectionFollower) -> None:
    """Hide the read model behind a temporary copy, to which its own handlers apply what it still lacks.

    The copy has the name of the original, and PostgreSQL looks for temporary tables first.
    """
    name, columns = follower.projection.name, ", ".join(follower.projection.columns)
    original = f'"{connection.scalar(text("SELECT current_schema()"))}".{name}'
    connection.execute(text(f"CREATE TEMP TABLE {name} (LIKE {original} INCLUDING ALL) ON COMMIT DROP"))
    connection.execute(text(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {original}"))  # noqa: S608
    # Statements that this connection has prepared before still mean the original.
    connection.execute(text("DISCARD PLANS"))
    position = Checkpoints(connection, follower.checkpoints).position(name)
    while (reached := follower.follow(connection, position)) > position:
        position = reached


def _against_truth(projection: Projection) -> Comparison:
    columns = ", ".join(projection.columns)
    actual = f"SELECT {columns} FROM {projection.name}"  # noqa: S608 - our own names
    return Comparison(projection.name, projection.columns, expected=projection.truth, actual=actual)


def _differences(connection: Connection, comparison: Comparison) -> Iterator[Difference]:
    columns = ", ".join(comparison.columns)
    query = text(
        f"""
        WITH expected AS (SELECT {columns} FROM ({comparison.expected}) AS e),
             actual AS (SELECT {columns} FROM ({comparison.actual}) AS a)
        SELECT true AS missing, * FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM actual) AS m
        UNION ALL
        SELECT false AS missing, * FROM (SELECT * FROM actual EXCEPT ALL SELECT * FROM expected) AS u
        """  # noqa: S608 - our own names
    )
    for row in connection.execute(query, execution_options={"stream_results": True}).mappings():
        facts = {name: row[name] for name in comparison.columns}
        yield Difference(comparison.name, row["missing"], facts)
