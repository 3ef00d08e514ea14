"""A sequence that is behind its table is noticed, at the start and at an append, and set right."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import views

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

LOGGER = "allocation.adapters.journal.sequence"


@pytest.fixture
def shop(bus: Bus) -> Bus:
    """Ten events."""
    bus.handle(CréerLot("lot-1", "LAMPE", 100))
    for n in range(9):
        bus.handle(Allouer(f"c-{n}", "LAMPE", 1))
    return bus


@pytest.fixture
def behind(shop: Bus, sql: Sql) -> Bus:
    """As a logical replica that takes over, or a dump of the data alone, leaves it."""
    sql("ALTER SEQUENCE journal_position_seq RESTART WITH 3")
    return shop


def test_un_événement_ne_prend_jamais_une_position_déjà_passée(
    behind: Bus, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        results = behind.handle(Allouer("nouvelle", "LAMPE", 1))

    assert results == ["lot-1"]
    assert results.position is not None
    assert results.position > 10
    assert len(views.allocations("nouvelle", database)) == 1
    assert "the journal has reached 10" in caplog.text
    assert list(verify(database, projection_followers(database))) == []


def test_pas_même_une_dont_l_événement_a_quitté_la_table(behind: Bus, database: Database, sql: Sql) -> None:
    """No key is violated there: the position is free, but every reader has passed it."""
    sql("DELETE FROM journal WHERE position < 10")

    results = behind.handle(Allouer("nouvelle", "LAMPE", 1))

    assert results.position == 11
    assert len(views.allocations("nouvelle", database)) == 1


def test_des_écrivains_à_la_fois_s_en_remettent_tous(behind: Bus, database: Database, sql: Sql) -> None:
    other = bootstrap(database, inline=False)

    with ThreadPoolExecutor(8) as clients:
        lots = list(
            clients.map(lambda n: (behind, other)[n % 2].handle(Allouer(f"d-{n}", "LAMPE", 1))[0], range(24))
        )

    assert lots == ["lot-1"] * 24
    positions = [row["position"] for row in sql("SELECT position FROM journal ORDER BY position")]
    assert len(positions) == 34
    assert positions[10] > 10


def test_elle_est_remise_au_démarrage(
    behind: Bus, database: Database, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        migrate(database)

    assert sql("SELECT last_value FROM journal_position_seq") == [{"last_value": 10}]
    assert "stood at 0, where the journal has reached 10" in caplog.text


def test_elle_passe_aussi_un_lecteur_plus_avancé_que_le_journal(
    shop: Bus, database: Database, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    """A journal that was restored without its read models: what is written next must still reach them."""
    sql("UPDATE projections SET position = 57 WHERE name = 'stock_view'")

    with caplog.at_level(logging.WARNING, LOGGER):
        migrate(database)

    assert "projection stock_view has reached 57" in caplog.text
    results = shop.handle(Allouer("nouvelle", "LAMPE", 1))
    assert results.position == 58


def test_une_séquence_qui_suit_n_est_pas_touchée(
    shop: Bus, database: Database, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        migrate(database)

    assert sql("SELECT last_value FROM journal_position_seq") == [{"last_value": 10}]
    assert caplog.text == ""
