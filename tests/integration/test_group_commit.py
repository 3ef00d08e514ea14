"""Group commit on the real database: a lost connection is answered truthfully, whenever it is lost."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from tests.wire import Wire

from allocation.adapters.postgresql.database import Database, ValueRefused
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.adapters.write_model.repository import Waiting
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot
from allocation.domain.errors import LigneModifiée, SkuInconnu
from allocation.domain.events import Alloué
from allocation.domain.model import LigneDeCommande
from allocation.projections import projector
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus, Results

Sql = Callable[..., list[dict[str, Any]]]
Bus = MessageBus[PostgreSQLUnitOfWork]


@pytest.fixture
def wired(wired_database: Database) -> Bus:
    """A bus whose connections go through the wire."""
    return bootstrap(wired_database, inline=False)


@pytest.fixture
def quiet_bus(database: Database) -> Bus:
    return bootstrap(database, inline=False)


def test_une_réponse_de_commit_perdue_ne_perd_ni_ne_répète_rien(wire: Wire, wired: Bus, sql: Sql) -> None:
    """The commit has happened, and nobody heard of it: PostgreSQL is asked what became of the transaction."""
    wired.handle(CréerLot("lot-1", "LAMPE", 10))

    wire.cut_the_answer_to_the_next_commit()
    results = wired.handle(Allouer("c-1", "LAMPE", 4))

    assert wire.cuts == 1
    assert results == ["lot-1"]
    assert results.events == (Alloué("c-1", "LAMPE", 4, "lot-1"),)
    assert results.position == 2
    assert sql("SELECT type FROM journal ORDER BY position") == [{"type": "LotCréé"}, {"type": "Alloué"}]
    assert wired.handle(Allouer("c-2", "LAMPE", 1)) == ["lot-1"]


def test_une_connexion_coupée_avant_le_commit_se_retente(
    quiet_bus: Bus, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet_bus.handle(CréerLot("lot-1", "LAMPE", 10))

    with cut_once(monkeypatch, sql, before="_commit"):
        results = quiet_bus.handle(Allouer("c-1", "LAMPE", 4))

    assert results == ["lot-1"]
    assert sql("SELECT quantité_allouée FROM lots") == [{"quantité_allouée": 4}]
    assert sql("SELECT count(*) AS events FROM journal") == [{"events": 2}]


def test_une_connexion_coupée_pendant_le_commit_qui_échoue_se_retente(
    quiet_bus: Bus, sql: Sql, end_the_first_commit: Callable[[], None]
) -> None:
    """The server ends the connection while it commits: the transaction is undone, and tried again."""
    quiet_bus.handle(CréerLot("lot-1", "LAMPE", 10))
    end_the_first_commit()

    results = quiet_bus.handle(Allouer("c-1", "LAMPE", 4))

    assert results.events == (Alloué("c-1", "LAMPE", 4, "lot-1"),)
    assert sql("SELECT last_value FROM attempts") == [{"last_value": 2}]
    assert sql("SELECT quantité_allouée FROM lots") == [{"quantité_allouée": 4}]


def test_une_connexion_coupée_après_le_commit_ne_gêne_que_son_propre_retour(quiet_bus: Bus, sql: Sql) -> None:
    quiet_bus.handle(CréerLot("lot-1", "LAMPE", 10))
    end_other_connections(sql)

    assert quiet_bus.handle(Allouer("c-1", "LAMPE", 4)) == ["lot-1"]


def test_un_groupe_répond_à_chacun_selon_son_cas(quiet_bus: Bus) -> None:
    """Allocated, repeated, out of stock, refused: each gets its own answer from one transaction."""
    quiet_bus.handle(CréerLot("lot-1", "LAMPE", 10))
    commands = [
        Allouer("c-1", "LAMPE", 4),
        Allouer("c-1", "LAMPE", 4),
        Allouer("c-1", "LAMPE", 5),
        Allouer("c-2", "CHAISE", 1),
        Allouer("c-3", "LAMPE", 7),
        Allouer("c-4", "LAMPE", 6),
    ]

    outcomes = outcomes_of(quiet_bus, commands)

    results = [outcome for outcome in outcomes if isinstance(outcome, Results)]
    assert results == [["lot-1"], ["lot-1"], [None], ["lot-1"]]
    assert [each.position for each in results] == [2, None, 3, 4]
    assert [type(outcome) for outcome in outcomes[2:4]] == [LigneModifiée, SkuInconnu]


def test_un_lot_se_corrige_dans_le_même_groupe_que_ses_dernières_lignes(
    quiet_bus: Bus, database: Database, sql: Sql
) -> None:
    """The newest lines are those that this very transaction has allocated a moment before."""
    quiet_bus.handle(CréerLot("lot-1", "LAMPE", 10))
    quiet_bus.handle(Allouer("c-1", "LAMPE", 4))
    commands = [Allouer("c-2", "LAMPE", 3), ModifierQuantitéLot("lot-1", 5), Allouer("c-3", "LAMPE", 1)]

    _, corrected, _ = results_of(quiet_bus, commands)

    assert corrected == [[LigneDeCommande("c-2", "LAMPE", 3)]]
    assert sql("SELECT quantité, quantité_allouée FROM lots") == [{"quantité": 5, "quantité_allouée": 5}]
    followers = projection_followers(database)
    projector.register(followers)
    assert list(verify(database, followers)) == []


@pytest.mark.parametrize("state", ["22001", "23514", "54000"])
def test_ce_que_la_base_refuse_d_une_commande_ne_coûte_rien_aux_autres(
    quiet_bus: Bus, sql: Sql, state: str
) -> None:
    quiet_bus.handle(CréerLot("lot-1", "LAMPE", 100))
    sql(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'too much' USING ERRCODE = '{state}';
        END $$
        """
    )
    sql(
        "CREATE TRIGGER refuses BEFORE INSERT ON order_lines FOR EACH ROW"
        " WHEN (NEW.id_commande = 'c-7') EXECUTE FUNCTION refuse()"
    )

    answers = [quiet_bus.submit(Allouer(f"c-{n}", "LAMPE", 1)) for n in range(20)]

    with pytest.raises(ValueRefused, match="too much"):
        answers.pop(7).result()
    assert [answer.result() for answer in answers] == [["lot-1"]] * 19


def outcomes_of(bus: Bus, commands: Sequence[Command]) -> Sequence[object]:
    """What has come of commands that share one transaction."""
    return bus._transact([bus._task(command) for command in commands], math.inf, Waiting.BRIEFLY)


def results_of(bus: Bus, commands: list[Command]) -> list[Results]:
    outcomes = outcomes_of(bus, commands)
    results = [outcome for outcome in outcomes if isinstance(outcome, Results)]
    assert len(results) == len(outcomes)
    return results


@contextmanager
def cut_once(monkeypatch: pytest.MonkeyPatch, sql: Sql, before: str) -> Iterator[None]:
    """All connections end just before the unit of work's next call of this method."""
    method = getattr(PostgreSQLUnitOfWork, before)
    left = [1]

    def cutting(self: PostgreSQLUnitOfWork, *args: Any) -> Any:
        if left:
            left.pop()
            end_other_connections(sql)
        return method(self, *args)

    monkeypatch.setattr(PostgreSQLUnitOfWork, before, cutting)
    yield
    assert not left


def end_other_connections(sql: Sql) -> None:
    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
