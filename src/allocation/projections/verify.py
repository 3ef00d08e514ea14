"""Comparing what should be equal: within the journal, the write model with it, and read models with both.

The database makes the comparisons and streams the differences: of the journal and the write model at one
snapshot, of each read model at another. So traffic goes on meanwhile, and the program needs the same memory
whatever their number.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from allocation.adapters.journal.archive import JournalArchive, JournalWithArchive
from allocation.adapters.journal.checkpoints import Checkpoints
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.ledger import balances_of_lines, balances_of_lots
from allocation.adapters.journal.snapshots import WHOLE_JOURNAL, load_snapshot
from allocation.adapters.postgresql.database import Database
from allocation.adapters.read_models.shadow_tables import kept_serving, put_first, serving
from allocation.domain.ledger import Compartiment
from allocation.projections.comparison import ALL_SKUS
from allocation.projections.follower import MAX_TRIES, ProjectionFollower

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Two queries over the same columns that should give the same rows."""

    name: str
    columns: tuple[str, ...]
    expected: str
    actual: str


@dataclass(frozen=True)
class Difference:
    """A row that is missing from what was compared, or one too many in it."""

    comparison: str
    missing: bool
    row: dict[str, Any]


# The journal is read once for all comparisons.
_BALANCES = (
    f"CREATE TEMP TABLE lot_balances ON COMMIT DROP AS {balances_of_lots(WHOLE_JOURNAL)}",
    f"CREATE TEMP TABLE line_balances ON COMMIT DROP AS {balances_of_lines(WHOLE_JOURNAL)}",
)
_HELD = "(SELECT * FROM line_balances WHERE alloué <> 0) AS held"
_IN_STOCK = [each for each in Compartiment if each != Compartiment.HORS_STOCK]

JOURNAL = (
    Comparison(
        name="conservation: a lot's compartments against what came in less what went out, none below zero",
        columns=("sku", "réf_lot", "quantité", *_IN_STOCK),
        expected=f"""
            SELECT sku, réf_lot, - hors_stock AS quantité,
                   {", ".join(f"greatest({each}, 0) AS {each}" for each in _IN_STOCK)}
            FROM lot_balances
        """,
        actual=f"SELECT *, {' + '.join(_IN_STOCK)} AS quantité FROM lot_balances",
    ),
    Comparison(
        name="conservation: all units of a line on one lot, or none",
        columns=("sku", "id_commande", "ligne", "quantité", "lots"),
        expected=f"""
            SELECT DISTINCT sku, id_commande, ligne, quantité, 1 AS lots FROM {_HELD}
        """,
        actual=f"""
            SELECT sku, id_commande, ligne, sum(alloué)::bigint AS quantité, count(*) AS lots FROM {_HELD}
            GROUP BY sku, id_commande, ligne
        """,
    ),
)

WRITE_MODEL = (
    Comparison(
        name="lots: quantité_allouée against the allocated lines",
        columns=("sku", "référence", "quantité_allouée"),
        expected="""
            SELECT lots.sku, lots.référence, coalesce(sum(order_lines.quantité), 0) AS quantité_allouée
            FROM lots
            LEFT JOIN allocations ON allocations.sku = lots.sku AND allocations.réf_lot = lots.référence
            LEFT JOIN order_lines ON order_lines.sku = allocations.sku AND order_lines.rang = allocations.rang
            GROUP BY lots.sku, lots.référence
        """,
        actual="SELECT sku, référence, quantité_allouée FROM lots",
    ),
    Comparison(
        name="allocations against the journal",
        columns=("id_commande", "sku", "réf_lot", "quantité", "ligne"),
        expected=f"SELECT id_commande, sku, réf_lot, alloué AS quantité, ligne FROM {_HELD}",
        actual="""
            SELECT id_commande, sku, réf_lot, quantité, ligne
            FROM allocations JOIN order_lines USING (sku, rang)
        """,
    ),
    Comparison(
        name="lots against the journal",
        columns=("référence", "sku", "libre", "alloué"),
        expected="SELECT réf_lot AS référence, sku, libre, alloué FROM lot_balances",
        actual="""
            SELECT référence, sku, quantité - quantité_allouée AS libre, quantité_allouée AS alloué FROM lots
        """,
    ),
)


def verify(
    database: Database, followers: Sequence[ProjectionFollower], *, only_read_models: bool = False
) -> Iterator[Difference]:
    """Every difference there is. Nothing is changed.

    A read model that has no `truth` in the write model is compared with a fold over the journal. One whose
    table has another version than this program's is left out, with a warning. Raises ArchiveUnreadable.
    """
    if not only_read_models:
        with _snapshot(database) as connection:
            yield from _of_the_ledger(connection)
    for follower in followers:
        yield from _of_read_model(database, follower)


@contextmanager
def _snapshot(database: Database) -> Iterator[Connection]:
    with database.working() as connection:
        # Only temporary tables are written to, which PostgreSQL counts as writing.
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=False)
        with connection.begin() as transaction:
            yield connection
            transaction.rollback()


def _of_the_ledger(connection: Connection) -> Iterator[Difference]:
    load_snapshot(connection)
    for statement in _BALANCES:
        connection.exec_driver_sql(statement)
    for comparison in (*JOURNAL, *WRITE_MODEL):
        yield from _differences(connection, comparison)


def _of_read_model(database: Database, follower: ProjectionFollower) -> Iterator[Difference]:
    """Compare the read model at a snapshot that sees the table that serves, or leave it out."""
    while True:
        with _snapshot(database) as connection:
            checkpoint = Checkpoints(connection, follower.checkpoints).look_at(follower.name)
            if checkpoint is None or checkpoint.version != follower.projection.version:
                logger.warning(
                    "%s is not compared: it is not this program's version that serves", follower.name
                )
                return
            if kept_serving(connection, follower.name):
                yield from _of_table(connection, follower, checkpoint.position)
                return


def _of_table(connection: Connection, follower: ProjectionFollower, position: int) -> Iterator[Difference]:
    """Compare the table that serves, which has come to this position."""
    projection = follower.projection
    columns = ", ".join(projection.columns)
    expected = projection.truth or f"SELECT {columns} FROM {_folded(connection, follower)}"
    with _copy(connection, follower, filled=True):
        _follow(connection, follower, PostgreSQLJournal(connection), position)
        actual = f"SELECT {columns} FROM {follower.name}"
        yield from _differences(
            connection, Comparison(follower.name, projection.columns, expected=expected, actual=actual)
        )


def _folded(connection: Connection, follower: ProjectionFollower) -> str:
    """The name of a new temporary table with what the read model's handlers make of the whole journal."""
    name = f"pg_temp.folded_{follower.name}"
    with _copy(connection, follower, filled=False):
        _follow(connection, follower, JournalWithArchive(connection, JournalArchive()), 0)
        connection.execute(text(f"CREATE TEMP TABLE {name} ON COMMIT DROP AS TABLE pg_temp.{follower.name}"))
    return name


@contextmanager
def _copy(connection: Connection, follower: ProjectionFollower, *, filled: bool) -> Iterator[None]:
    """Hide the read model behind a temporary table, from its handlers too, while the context is open.

    The temporary table has the name of the original, and PostgreSQL looks for it first.
    """
    columns = ", ".join(follower.projection.columns)
    original = serving(connection, follower.name)
    copy = f"pg_temp.{follower.name}"
    connection.execute(text(f"CREATE TEMP TABLE {copy} (LIKE {original} INCLUDING ALL) ON COMMIT DROP"))
    if filled:
        connection.execute(text(f"INSERT INTO {copy} ({columns}) SELECT {columns} FROM {original}"))
    # Statements that this connection prepared earlier would still use the original.
    connection.execute(text("DISCARD PLANS"))
    with put_first(connection, "pg_temp"):
        yield
    connection.execute(text(f"DROP TABLE {copy}"))


def _follow(
    connection: Connection, follower: ProjectionFollower, journal: PostgreSQLJournal, position: int
) -> None:
    """Let the follower go on to the end of the journal.

    Events that fail are parked, as they would be in operation, and their rows show as missing.
    """
    reached = position - 1
    while reached != position:
        reached, position = position, follower.follow(connection, journal, position, failures=MAX_TRIES)[0]


def _differences(connection: Connection, comparison: Comparison) -> Iterator[Difference]:
    columns = ", ".join(comparison.columns)
    query = text(
        f"""
        WITH expected AS (SELECT {columns} FROM ({comparison.expected}) AS e),
             actual AS (SELECT {columns} FROM ({comparison.actual}) AS a)
        SELECT true AS missing, * FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM actual) AS m
        UNION ALL
        SELECT false AS missing, * FROM (SELECT * FROM actual EXCEPT ALL SELECT * FROM expected) AS u
        """
    )
    everything = {name: value for name, value in ALL_SKUS.items() if f":{name}" in query.text}
    rows = connection.execute(query, everything, execution_options={"stream_results": True})
    for row in rows.mappings():
        facts = {name: row[name] for name in comparison.columns}
        yield Difference(comparison.name, row["missing"], facts)
