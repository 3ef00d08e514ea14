"""Clocks that go wrong, and are put right: instants in the journal only grow, and lead to one state each.

An event that is dated into the future is what a clock that was fast leaves behind, or one that is set back.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from allocation.adapters.database import Database
from allocation.adapters.journal_archiving import JournalArchiver
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.service_layer.messagebus import MessageBus
from allocation.service_layer.unit_of_work import PostgreSQLUnitOfWork
from allocation.views import history

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

UNE_HEURE = timedelta(hours=1)


@pytest.fixture
def reculée(bus: Bus, sql: Sql) -> Bus:
    """The clock is set back by an hour between two events."""
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    sql("UPDATE journal SET survenu_le = survenu_le + interval '1 hour'")
    bus.handle(Allouer("c-1", "LAMPE", 4))
    return bus


def instants(sql: Sql) -> list[datetime]:
    return [row["survenu_le"] for row in sql("SELECT survenu_le FROM journal ORDER BY position")]


def test_une_horloge_reculée_ne_fait_reculer_aucun_instant(reculée: Bus, sql: Sql) -> None:
    reculée.handle(Allouer("c-2", "LAMPE", 1))

    first, second, third = instants(sql)

    assert datetime.now(UTC) < first < second < third < first + timedelta(seconds=1)


def test_l_horloge_rattrapée_date_de_nouveau_elle_même(bus: Bus, sql: Sql) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    sql("UPDATE journal SET survenu_le = survenu_le - interval '1 hour'")

    before = datetime.now(UTC)
    bus.handle(Allouer("c-1", "LAMPE", 4))

    assert before <= instants(sql)[-1] <= datetime.now(UTC)


def test_ce_qui_devient_visible_ensemble_a_le_même_instant(bus: Bus, sql: Sql) -> None:
    """Nobody has ever seen the middle of a correction: no instant leads there."""
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(CréerLot("lot-2", "LAMPE", 10))
    bus.handle(Allouer("c-1", "LAMPE", 4))
    bus.handle(ModifierQuantitéLot("lot-1", 3))

    first, second, third, *correction = instants(sql)

    assert first < second < third < correction[0]
    assert len(correction) == 3
    assert len(set(correction)) == 1


def test_après_un_recul_chaque_instant_montre_l_état_qui_fut(
    reculée: Bus, database: Database, sql: Sql
) -> None:
    received, allocated = instants(sql)
    reculée.handle(ModifierQuantitéLot("lot-1", 7))

    def stock(at: datetime) -> tuple[int, int] | None:
        row = history.stock_at("LAMPE", at, database)
        return None if row is None else (row["en_stock"], row["alloué"])

    assert stock(received - timedelta(microseconds=1)) is None
    assert stock(received) == (10, 0)
    assert stock(allocated) == (10, 4)
    assert stock(instants(sql)[-1]) == (7, 4)


def test_après_un_recul_l_archive_ne_prend_rien_de_plus_jeune(
    reculée: Bus, database: Database, tmp_path: Path, sql: Sql
) -> None:
    """By the clock, both events lie in the future: nothing is older than now."""
    reculée.handle(Allouer("c-2", "LAMPE", 1))
    _, allocated, _ = instants(sql)
    archiver = JournalArchiver(database, tmp_path)

    assert archiver.archive(datetime.now(UTC), lambda done, total: None).events == 0
    assert archiver.archive(allocated, lambda done, total: None).position == 1
    assert len(instants(sql)) == 2
