"""An allocation costs the same on a SKU with ten lines and with a hundred thousand."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import Engine

from allocation.adapters.database import Database
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot
from allocation.service_layer.bootstrap import bootstrap
from allocation.service_layer.messagebus import MessageBus
from allocation.service_layer.unit_of_work import SqlAlchemyUnitOfWork

Sql = Callable[..., list[dict[str, Any]]]

FEW, MANY = 10, 100_000

_TOUCHED = text(
    """
    SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
                    + n_tup_ins + n_tup_upd + n_tup_del AS rows
    FROM pg_stat_xact_user_tables ORDER BY relname
    """
)


class Cost:
    """What one transaction did: its statements, and the rows of each table that it read or wrote."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.rows: Counter[str] = Counter()


@contextmanager
def cost_of_the_next_commit() -> Iterator[Cost]:
    cost = Cost()

    def note_statement(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement != str(_TOUCHED):
            cost.statements.append(statement)

    # The view counts what this connection did since it last reported: the difference is the transaction's.
    def note_start(connection: Connection) -> None:
        cost.rows.subtract(_rows(connection))

    def note_end(connection: Connection) -> None:
        cost.rows.update(_rows(connection))
        cost.rows = +cost.rows

    listeners: dict[str, Callable[..., Any]] = {
        "before_cursor_execute": note_statement,
        "begin": note_start,
        "commit": note_end,
    }
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    yield cost
    for name, listener in listeners.items():
        event.remove(Engine, name, listener)


def _rows(connection: Connection) -> dict[str, int]:
    return {row.relname: row.rows for row in connection.execute(_TOUCHED)}


@pytest.fixture
def bus(database: Database, sql: Sql) -> MessageBus[SqlAlchemyUnitOfWork]:
    """A bus on one SKU with few lines and one with many, and fresh statistics that know the difference."""
    bus = bootstrap(database, inline=False)
    for sku, lines in (("PEU", FEW), ("BEAUCOUP", MANY)):
        bus.handle(CréerLot(f"lot-{sku}", sku, 1_000_000))
        bus.handle(CréerLot(f"reste-{sku}", sku, 1_000_000))
        _fill(sql, sku, lines)
    sql("ANALYZE")
    return bus


def _fill(sql: Sql, sku: str, lines: int) -> None:
    names = {"sku": sku, "lines": lines, "lot": f"lot-{sku}"}
    sql(
        "INSERT INTO order_lines (sku, id_commande, ligne, quantité, rang)"
        " SELECT :sku, 'c-' || n, '1', 1, n FROM generate_series(1, :lines) AS n",
        **names,
    )
    sql(
        "INSERT INTO allocations (sku, rang, réf_lot)"
        " SELECT :sku, n, :lot FROM generate_series(1, :lines) AS n",
        **names,
    )
    sql("UPDATE lots SET quantité_allouée = :lines WHERE référence = :lot", **names)
    sql("UPDATE produits SET dernier_rang = :lines, version = :lines WHERE sku = :sku", **names)


@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("a new line", lambda sku: Allouer("nouvelle", sku, 1)),
        ("a known line", lambda sku: Allouer("c-5", sku, 1)),
        ("a line that nothing can take", lambda sku: Allouer("nouvelle", sku, 1_000_000_000)),
        ("a lot that grows", lambda sku: ModifierQuantitéLot(f"lot-{sku}", 1_000_001)),
    ],
)
def test_le_coût_ne_dépend_pas_du_nombre_de_lignes(
    bus: MessageBus[SqlAlchemyUnitOfWork], what: str, command: Callable[[str], Command]
) -> None:
    costs = []
    for sku in ("PEU", "BEAUCOUP"):
        with cost_of_the_next_commit() as cost:
            bus.handle(command(sku))
        costs.append(cost)

    few, many = costs
    assert few.statements == many.statements
    assert few.rows == many.rows
    assert 0 < few.rows.total() < 20, what


def test_réduire_un_lot_ne_lit_que_les_lignes_qu_il_faut_retirer(
    bus: MessageBus[SqlAlchemyUnitOfWork],
) -> None:
    costs = []
    for sku, lines in (("PEU", FEW), ("BEAUCOUP", MANY)):
        with cost_of_the_next_commit() as cost:
            [removed] = bus.handle(ModifierQuantitéLot(f"lot-{sku}", lines - 3))
        assert len(removed) == 3
        costs.append(cost)

    few, many = costs
    assert few.statements == many.statements
    assert few.rows == many.rows
