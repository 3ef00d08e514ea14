"""An allocation costs the same on a SKU with ten lines and with a hundred thousand."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.messages import Messages, Rows, Statement
from allocation.adapters.write_model.open_lots import FIRST_LOTS
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.adapters.write_model.repository import Waiting
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot
from allocation.service_layer import handlers
from allocation.service_layer.bootstrap import bootstrap
from allocation.service_layer.messagebus import MessageBus

Sql = Callable[..., list[dict[str, Any]]]

FEW, MANY = 10, 100_000

_TOUCHED = """
    SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
                    + n_tup_ins + n_tup_upd + n_tup_del AS rows
    FROM pg_stat_user_tables
"""


@dataclass
class Cost:
    """What commands did: the statements of each message, and the rows of each table read or written."""

    statements: list[list[str]] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)


@pytest.fixture
def cost_of(
    bus: MessageBus[PostgreSQLUnitOfWork], database: Database, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Cost]:
    """What handling commands costs, each in a transaction of its own or all in one."""
    statements: list[list[str]] = []
    send = Messages.send

    def noted(self: Messages, *message: Statement) -> list[Rows]:
        statements.append([statement for statement, _ in message])
        return send(self, *message)

    def rows() -> Counter[str]:
        # What the connection for writing and that of `sql` have counted so far becomes visible.
        with database.writing() as connection:
            connection.execute("SELECT pg_stat_force_next_flush()")
        sql("SELECT pg_stat_force_next_flush()")
        return Counter({row["relname"]: row["rows"] for row in sql(_TOUCHED)})

    def cost(*commands: Command) -> Cost:
        before = rows()
        with monkeypatch.context() as patch:
            patch.setattr(Messages, "send", noted)
            statements.clear()
            bus._transact([bus._task(each) for each in commands], math.inf, Waiting.BRIEFLY)
            done = list(statements)
        return Cost(done, rows() - before)

    return cost


@pytest.fixture
def bus(database: Database, sql: Sql) -> MessageBus[PostgreSQLUnitOfWork]:
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
    cost_of: Callable[..., Cost], what: str, command: Callable[[str], Command]
) -> None:
    few, many = cost_of(command("PEU")), cost_of(command("BEAUCOUP"))

    assert few == many
    assert 0 < few.rows.total() < 20, what


def test_réduire_un_lot_ne_lit_que_les_lignes_qu_il_faut_retirer(cost_of: Callable[..., Cost]) -> None:
    # With its first use, a statement is planned, for which the planner reads a few rows itself.
    for lot, held in (("lot-PEU", FEW), ("lot-BEAUCOUP", MANY)):
        cost_of(ModifierQuantitéLot(lot, held - 1))

    few = cost_of(ModifierQuantitéLot("lot-PEU", FEW - 4))
    many = cost_of(ModifierQuantitéLot("lot-BEAUCOUP", MANY - 4))

    assert few == many


def test_un_groupe_de_toute_taille_fait_autant_d_instructions(cost_of: Callable[..., Cost]) -> None:
    def lines(count: int) -> list[Allouer]:
        return [Allouer(f"groupe-{count}-{n}", ("PEU", "BEAUCOUP")[n % 2], 1) for n in range(count)]

    small, large = cost_of(*lines(2)), cost_of(*lines(200))

    assert small.statements == large.statements
    assert large.rows.total() < 100 * small.rows.total()


OPEN_LOTS = 10_000


def _open_lots(sql: Sql, sku: str, lots: int) -> None:
    """As many lots of 100 units and, after them in the order, a large one."""
    sql("INSERT INTO produits (sku, version, dernier_rang) VALUES (:sku, 1, 0)", sku=sku)
    sql(
        "INSERT INTO lots (sku, référence, quantité_initiale, quantité, quantité_allouée, eta, rang)"
        " SELECT :sku, :sku || '-' || n, 100, 100, 0, NULL::date, n FROM generate_series(1, :lots) AS n"
        " UNION ALL SELECT :sku, :sku || '-grand', 500, 500, 0, DATE '2027-01-31', :lots + 1",
        sku=sku,
        lots=lots,
    )


@pytest.mark.parametrize("analysed", [True, False])
@pytest.mark.parametrize(
    ("quantité", "most"), [pytest.param(1, 40, id="served"), pytest.param(501, 40, id="refused")]
)
def test_le_coût_ne_dépend_pas_du_nombre_de_lots_ouverts(
    database: Database,
    cost_of: Callable[..., Cost],
    sql: Sql,
    quantité: int,
    most: int,
    *,
    analysed: bool,
) -> None:
    for sku, lots in (("CINQ", 5), ("DIX", 10), ("DIX-MILLE", OPEN_LOTS)):
        _open_lots(sql, sku, lots)
    if analysed:
        sql("ANALYZE")

    # With its first use, a statement is planned, for which the planner reads a few rows itself.
    cost_of(Allouer("première", "CINQ", quantité))
    few, many = (cost_of(Allouer("nouvelle", sku, quantité)) for sku in ("DIX", "DIX-MILLE"))

    assert few == many
    assert 0 < many.rows.total() < most


SHARING = 5_000


@pytest.mark.parametrize("analysed", [True, False])
def test_le_coût_ne_dépend_pas_du_nombre_de_sku_qui_partagent_une_référence(
    cost_of: Callable[..., Cost], sql: Sql, *, analysed: bool
) -> None:
    """However many lots are called so, and lines are on them."""
    for prefix, référence, skus in (("SEUL", "2", 1), ("PARTAGÉ", "1", SHARING)):
        names = {"prefix": prefix, "skus": skus, "lot": référence}
        of_each = "FROM generate_series(1, :skus) AS n"
        sql(f"INSERT INTO produits SELECT :prefix || n, 3, 2, 1 {of_each}", **names)
        sql(f"INSERT INTO lots SELECT :prefix || n, :lot, 9, 9, 4, NULL, 1 {of_each}", **names)
        lines = f"{of_each}, generate_series(1, 2) AS rang"
        sql(f"INSERT INTO order_lines SELECT :prefix || n, 'c-' || n, rang, 2, rang {lines}", **names)
        sql(f"INSERT INTO allocations SELECT :prefix || n, rang, :lot {lines}", **names)
    if analysed:
        sql("ANALYZE")

    def commands(sku: str, référence: str) -> list[Command]:
        return [
            Allouer("nouvelle", sku, 1),
            CréerLot(référence, sku, 9),
            ModifierQuantitéLot(référence, 2, sku),
        ]

    # With its first use, a statement is planned, for which the planner reads a few rows itself.
    cost_of(*commands("PARTAGÉ1", "1"))
    few, many = cost_of(*commands("SEUL1", "2")), cost_of(*commands("PARTAGÉ77", "1"))

    assert few == many
    assert 0 < many.rows.total() < 60


def test_un_lot_loin_dans_l_ordre_se_trouve_sans_charger_les_autres(
    bus: MessageBus[PostgreSQLUnitOfWork], cost_of: Callable[..., Cost], sql: Sql
) -> None:
    _open_lots(sql, "DIX-MILLE", OPEN_LOTS)
    sql("ANALYZE")

    cost = cost_of(Allouer("nouvelle", "DIX-MILLE", 500))

    assert len(cost.statements) < 20
    assert bus.handle(Allouer("nouvelle", "DIX-MILLE", 500)) == ["DIX-MILLE-grand"]


def test_une_étape_de_correction_ne_lit_que_les_lignes_qu_elle_retire(
    cost_of: Callable[..., Cost], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "LIGNES_PAR_ÉTAPE", 3)

    few = cost_of(ModifierQuantitéLot("lot-PEU", 0, depuis_rang=5))
    many = cost_of(ModifierQuantitéLot("lot-BEAUCOUP", 0, depuis_rang=5))

    assert few == many
    assert many.rows.total() < 100


_ONE_LOT_EACH = (
    "INSERT INTO produits (sku, version, dernier_rang)"
    " SELECT 'S-' || n, 1, 0 FROM generate_series(1, 150) AS n",
    "INSERT INTO lots (sku, référence, quantité_initiale, quantité, quantité_allouée, rang)"
    " SELECT 'S-' || n, repeat('l', 100) || n, 10, 10, 0, 1 FROM generate_series(1, 150) AS n",
    "ANALYZE",
)


def test_les_premiers_lots_se_lisent_dans_leur_ordre_même_où_chaque_article_n_en_avait_qu_un(
    database: Database, sql: Sql
) -> None:
    """One row costs nothing to sort: the planner would read all lots of an article that has thousands."""
    for statement in _ONE_LOT_EACH:
        sql(statement)

    with database.writing() as connection:
        rows = connection.execute(f"EXPLAIN {FIRST_LOTS}", (["S-1"],)).fetchall()

    plan = "\n".join(line for (line,) in rows)
    assert "Index Scan" in plan
    assert "Sort" not in plan, plan
