"""The journal as a ledger: what each event moves stands in its row, and is read from old archives alike."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.ledger import COLUMNS
from allocation.adapters.journal.serialization import as_json
from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.events import (
    Alloué,
    Désalloué,
    Event,
    LotCréé,
    QuantitéLotModifiée,
    RuptureDeStock,
)
from allocation.projections.follower import ProjectionFollower
from allocation.service_layer.bootstrap import bootstrap, projection_followers

Sql = Callable[..., list[dict[str, Any]]]

# Of every type that version 0.2.0 writes.
ÉCRITURES: list[tuple[Event, tuple[object, ...]]] = [
    (LotCréé("lot-1", "LAMPE", 10, date(2027, 1, 31)), ("lot-1", None, None, 10, "hors_stock", "libre")),
    (QuantitéLotModifiée("lot-1", "LAMPE", 12, 10), ("lot-1", None, None, 2, "hors_stock", "libre")),
    (QuantitéLotModifiée("lot-1", "LAMPE", 0, 12), ("lot-1", None, None, 12, "libre", "hors_stock")),
    (Alloué("c-1", "LAMPE", 3, "lot-1", "2"), ("lot-1", "c-1", "2", 3, "libre", "alloué")),
    (Désalloué("c-1", "LAMPE", 3, "lot-1"), ("lot-1", "c-1", "1", 3, "alloué", "libre")),
    (RuptureDeStock("c-1", "LAMPE", 99, 10), (None, "c-1", "1", 99, None, None)),
]
# A line of an archive that version 0.2.0 has written, completed when it is read.
ARCHIVED_BY_0_2_0 = f"""
    SELECT {", ".join(f"completed.{column}" for column in COLUMNS)}
    FROM json_build_object('type', CAST(:type AS text), 'data', CAST(:data AS json)) AS line,
         json_populate_record(NULL::journal, line) AS event, journal_completed(event) AS completed
"""


@pytest.mark.parametrize(("event", "columns"), ÉCRITURES)
def test_un_événement_est_une_écriture_la_même_dans_une_archive_qui_ne_la_dit_pas(
    database: Database, sql: Sql, event: Event, columns: tuple[object, ...]
) -> None:
    with database.working() as connection, connection.begin():
        PostgreSQLJournal(connection).append([event])

    [appended] = sql(f"SELECT {', '.join(COLUMNS)} FROM journal")
    [archived] = sql(ARCHIVED_BY_0_2_0, type=type(event).__name__, data=as_json(vars(event)))
    assert tuple(appended.values()) == columns
    assert tuple(archived.values()) == columns


def test_un_événement_que_personne_ne_connaît_n_a_pas_d_écriture(sql: Sql) -> None:
    [row] = sql(ARCHIVED_BY_0_2_0, type="Inventé", data='{"quantité": 3, "réf_lot": "lot-1"}')

    assert set(row.values()) == {None}


def test_une_vue_faite_d_une_traite_est_celle_faite_événement_par_événement(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = bootstrap(database, inline=False)
    late.handle(CréerLot("lot-1", "LAMPE", 40))
    late.handle(CréerLot("lot-2", "LAMPE", 30, date(2027, 1, 31)))
    for n in range(10):
        late.handle(Allouer(f"c-{n}", "LAMPE", 4))
    late.handle(ModifierQuantitéLot("lot-1", 25))
    late.handle(Allouer("c-10", "LAMPE", 1000))
    late.handle(ModifierQuantitéLot("lot-2", 50))
    for follower in projection_followers(database):
        assert made(database, follower, failures=0) == made(database, follower, failures=1)

    def must_not_be_read(*_: object, **__: object) -> None:
        raise AssertionError("events were read")

    monkeypatch.setattr(PostgreSQLJournal, "read_rows", must_not_be_read)
    for follower in projection_followers(database):
        if follower.name != "allocations_view":  # whose two handlers take turns here
            assert made(database, follower, failures=0)


def made(database: Database, follower: ProjectionFollower, *, failures: int) -> list[Any]:
    """The read model as made from the whole journal; nothing of it is kept."""
    columns = ", ".join(follower.projection.columns)
    with database.working() as connection, connection.begin() as transaction:
        connection.exec_driver_sql(f"TRUNCATE {follower.name}")
        follower.follow(connection, PostgreSQLJournal(connection), 0, failures=failures)
        rows = connection.exec_driver_sql(f"SELECT {columns} FROM {follower.name} ORDER BY 1, 2").all()
        transaction.rollback()
    return list(rows)
