"""Writers at the same time: interleaved by hand where the moment matters, in crowds where it does not."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from tests.waiting import PATIENCE_S, wait_until_blocked

from allocation.adapters.configuration import Settings
from allocation.adapters.postgresql.database import (
    Database,
    Locked,
    StorageUnavailable,
    VersionConflict,
    write_errors_translated,
)
from allocation.adapters.postgresql.messages import Rows, Statement
from allocation.adapters.write_model import postgresql_repository
from allocation.adapters.write_model.postgresql_repository import PostgreSQLRepository
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.errors import LotExistant, RéférenceAmbiguë, SkuInconnu
from allocation.domain.events import QuantitéLotModifiée
from allocation.domain.model import LigneDeCommande, Produit
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def bus(database: Database) -> Bus:
    return bootstrap(database, inline=False)


def chargé(uow: PostgreSQLUnitOfWork, *lignes: LigneDeCommande) -> Produit:
    produit = uow.produits.get("LAMPE", *lignes)
    assert produit is not None
    return produit


def test_le_second_écrivain_attend_le_premier_et_voit_ce_qu_il_a_fait(database: Database, bus: Bus) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    seen: list[int] = []

    def second_writer() -> None:
        with PostgreSQLUnitOfWork(database) as uow:
            seen.append(chargé(uow).lots[0].quantité_disponible)

    with PostgreSQLUnitOfWork(database) as first:
        ligne = LigneDeCommande("c-1", "LAMPE", 4)
        chargé(first, ligne).allouer(ligne)
        second = Thread(target=second_writer)
        second.start()
        wait_until_blocked(database)
        first.commit()
    second.join()

    assert seen == [6]


def test_un_écrivain_qui_contourne_le_verrou_est_découvert_par_la_version(
    database: Database, bus: Bus
) -> None:
    """The lock makes conflicts rare; the version finds those that it did not prevent."""
    bus.handle(CréerLot("lot-1", "LAMPE", 10))

    with PostgreSQLUnitOfWork(database) as uow:
        ligne = LigneDeCommande("c-1", "LAMPE", 4)
        chargé(uow, ligne).allouer(ligne)
        uow.produits._snapshots["LAMPE"].version = 0  # as if it had been loaded before
        with pytest.raises(VersionConflict):
            uow.commit()


def test_la_base_elle_même_refuse_de_survendre(database: Database, bus: Bus, sql: Sql) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))

    with pytest.raises(IntegrityError, match="lots_libre"):
        sql("UPDATE lots SET quantité_allouée = 11")
    with pytest.raises(IntegrityError, match="lots_alloué"):
        sql("UPDATE lots SET quantité_allouée = -1")


def test_cent_unités_pour_quatre_cents_acheteurs(database: Database, bus: Bus) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 100))

    with ThreadPoolExecutor(32) as buyers:
        answers = list(buyers.map(lambda n: bus.handle(Allouer(f"c-{n}", "LAMPE", 1))[0], range(400)))

    assert Counter(answers) == {"lot-1": 100, None: 300}
    assert list(verify(database, ())) == []


def test_la_même_ligne_demandée_par_trente_clients_n_est_allouée_qu_une_fois(
    database: Database, bus: Bus, sql: Sql
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 100))

    with ThreadPoolExecutor(30) as clients:
        results = list(clients.map(lambda _: bus.handle(Allouer("c-1", "LAMPE", 5)), range(30)))

    assert [each[0] for each in results] == ["lot-1"] * 30
    assert sum(len(each.events) for each in results) == 1
    assert sql("SELECT quantité_allouée FROM lots") == [{"quantité_allouée": 5}]


def test_le_même_lot_reçu_par_vingt_processus_n_existe_qu_une_fois(bus: Bus, sql: Sql) -> None:
    with ThreadPoolExecutor(20) as clients:
        results = list(clients.map(lambda _: bus.handle(CréerLot("lot-1", "LAMPE", 5)), range(20)))

    assert sum(len(each.events) for each in results) == 1
    assert sql("SELECT count(*) AS n FROM lots") == [{"n": 1}]


def test_une_référence_que_dix_sku_demandent_sert_à_chacun(bus: Bus, sql: Sql) -> None:
    skus = [f"SKU-{n}" for n in range(10)]
    with ThreadPoolExecutor(10) as clients:
        results = list(clients.map(lambda sku: bus.handle(CréerLot("lot-1", sku, 5)), skus))

    assert [len(each.events) for each in results] == [1] * 10
    assert [row["sku"] for row in sql("SELECT sku FROM lots WHERE référence = 'lot-1' ORDER BY sku")] == skus


def test_un_lot_que_deux_demandes_décrivent_autrement_va_à_l_une(bus: Bus) -> None:
    def receive(quantité: int) -> str:
        try:
            bus.handle(CréerLot("lot-1", "LAMPE", quantité))
        except LotExistant:
            return "refusé"
        return "reçu"

    with ThreadPoolExecutor(10) as clients:
        answers = list(clients.map(receive, range(1, 11)))

    assert Counter(answers) == {"reçu": 1, "refusé": 9}


def test_une_foule_qui_fait_de_tout_ne_laisse_aucune_différence(database: Database, bus: Bus) -> None:
    """Eight writers allocate and correct lots of five SKUs: no deadlock, no drift, views equal to truth."""
    skus = [f"SKU-{n}" for n in range(5)]
    for sku in skus:
        for n in range(3):
            bus.handle(CréerLot(f"lot-{n}", sku, 60))
    followers = projection_followers(database)
    for follower in followers:
        follower.register()

    def work(writer: int) -> None:
        chance = random.Random(writer)
        for step in range(40):
            sku = chance.choice(skus)
            if chance.random() < 0.15:
                lot = f"lot-{chance.randrange(3)}"
                bus.handle(ModifierQuantitéLot(lot, chance.randint(1, 80), sku))
            else:
                bus.handle(Allouer(f"c-{writer}-{step}", sku, chance.randint(1, 9)))

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(work, range(8)))

    assert list(verify(database, followers)) == []


def test_trop_d_attente_sur_un_produit_est_une_indisponibilité_pas_une_erreur(
    database: Database, bus: Bus
) -> None:
    """A writer that hangs with the lock must not make the others wait for ever."""
    bus.handle(CréerLot("lot-1", "LAMPE", 10))

    with PostgreSQLUnitOfWork(database) as hanging, database.writing() as impatient:
        chargé(hanging)
        impatient.execute("BEGIN; SET LOCAL lock_timeout = '10ms'")
        with pytest.raises(StorageUnavailable), write_errors_translated():
            impatient.execute("SELECT 1 FROM produits FOR NO KEY UPDATE")


def test_un_lot_créé_entre_la_recherche_de_son_sku_et_le_verrou_se_corrige(
    database: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`PATCH` beside the `POST` of the same lot: the one is before the other, whatever falls in between."""
    other = bootstrap(database, inline=False)

    with between_search_and_lock(monkeypatch, lambda: other.handle(CréerLot("lot-1", "LAMPE", 10))):
        results = bus.handle(ModifierQuantitéLot("lot-1", 8))

    assert results.events == (QuantitéLotModifiée("lot-1", "LAMPE", 8, 10),)


def test_une_référence_devenue_ambiguë_entre_la_recherche_et_le_verrou_est_refusée(
    database: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = bootstrap(database, inline=False)
    other.handle(CréerLot("lot-1", "LAMPE", 10))

    with (
        between_search_and_lock(monkeypatch, lambda: other.handle(CréerLot("lot-1", "TABLE", 10))),
        pytest.raises(RéférenceAmbiguë),
    ):
        bus.handle(ModifierQuantitéLot("lot-1", 8))


def test_un_lot_créé_deux_fois_au_même_instant_ne_l_est_qu_une(
    database: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = bootstrap(database, inline=False)

    with between_search_and_lock(monkeypatch, lambda: other.handle(CréerLot("lot-1", "LAMPE", 10))):
        assert bus.handle(CréerLot("lot-1", "LAMPE", 10)).events == ()


def test_un_produit_créé_entre_son_verrou_et_la_lecture_de_ses_lots_n_est_pas_une_erreur(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(Allouer("c-1", "LAMPE", 1))
    seen = postgresql_repository._LOCK_PRODUITS

    monkeypatch.setattr(postgresql_repository, "_LOCK_PRODUITS", seen.replace("WHERE", "WHERE false AND"))
    with pytest.raises(SkuInconnu):
        bus.handle(Allouer("c-1", "LAMPE", 1))
    not_yet = between_search_and_lock(monkeypatch, lambda: None)
    again = between_search_and_lock(
        monkeypatch, lambda: monkeypatch.setattr(postgresql_repository, "_LOCK_PRODUITS", seen)
    )
    with again, not_yet:
        assert bus.handle(CréerLot("lot-1", "LAMPE", 10)).events == ()


@contextmanager
def between_search_and_lock(
    monkeypatch: pytest.MonkeyPatch, something: Callable[[], object]
) -> Iterator[None]:
    """The next time that products are to be locked, `something` happens first."""
    ask = PostgreSQLRepository._ask
    left = [something]

    def after_something(self: PostgreSQLRepository, *statements: Statement) -> list[Rows]:
        if left:
            left.pop()()
        return ask(self, *statements)

    monkeypatch.setattr(PostgreSQLRepository, "_ask", after_something)
    yield
    assert not left


HOLDERS = {
    "its product": "SELECT FROM produits WHERE sku = 'LAMPE' FOR UPDATE",
    "its lot": "SELECT FROM lots WHERE sku = 'LAMPE' FOR UPDATE",
    "a new product": "INSERT INTO produits (sku, version, dernier_rang) VALUES ('NEUF', 1, 0)",
}
BLOCKED = {
    "its product": Allouer("bloquée", "LAMPE", 1),
    "its lot": Allouer("bloquée", "LAMPE", 1),
    "a new product": CréerLot("lot-neuf", "NEUF", 1),
}


@pytest.mark.parametrize("what", HOLDERS)
def test_un_verrou_ne_retient_que_les_commandes_qui_en_ont_besoin(
    bus: Bus, database: Database, what: str
) -> None:
    """As long as somebody holds it, others go on; when it is let go, so does whoever has waited."""
    skus = [f"SKU-{n}" for n in range(10)]
    for sku in ("LAMPE", *skus):
        bus.handle(CréerLot(f"lot-{sku}", sku, 1000))

    with ThreadPoolExecutor(12) as clients, database.working() as holder:
        with holder.begin():
            holder.exec_driver_sql(HOLDERS[what])
            blocked = clients.submit(bus.handle, BLOCKED[what])
            wait_until_blocked(database)
            others = [
                clients.submit(bus.handle, Allouer(f"c-{n}", skus[n % len(skus)], 1)) for n in range(200)
            ]
            answers = [other.result(PATIENCE_S) for other in others]
            assert not blocked.done()
        results = blocked.result(PATIENCE_S)

    assert answers == [[f"lot-{skus[n % len(skus)]}"] for n in range(200)]
    assert len(results.events) == 1 or what == "a new product"


def test_plus_de_verrous_que_de_connexions_ne_retiennent_pas_les_autres_articles(
    database_url: str, database: Database
) -> None:
    """Whoever waits for a lock has a connection; one is always left for those who wait for nothing."""
    locked = [f"PRIS-{n}" for n in range(5)]
    with Database(database_url, pool_size=2) as few:
        bus = bootstrap(few, settings=Settings(pool_size=2), inline=False)
        for sku in ("LAMPE", *locked):
            bus.handle(CréerLot(f"lot-{sku}", sku, 1000))

        with ThreadPoolExecutor(6) as clients, database.working() as holder, holder.begin():
            holder.exec_driver_sql("SELECT FROM produits WHERE sku <> 'LAMPE' FOR UPDATE")
            first = clients.submit(bus.handle, Allouer("c-1", locked[0], 1))
            wait_until_blocked(database)
            blocked = [first, *(clients.submit(bus.handle, Allouer("c-1", sku, 1)) for sku in locked[1:])]
            answers = [bus.handle(Allouer(f"c-{n}", "LAMPE", 1)) for n in range(10)]
            assert not first.done()
            for each in blocked:
                with pytest.raises(Locked):
                    each.result(PATIENCE_S)

    assert answers == [["lot-LAMPE"]] * 10


def test_un_verrou_qui_reste_est_le_refus_de_la_seule_commande_qui_l_attend(
    bus: Bus, database: Database, sql: Sql
) -> None:
    for sku in ("LAMPE", "TABLE"):
        bus.handle(CréerLot(f"lot-{sku}", sku, 10))

    with ThreadPoolExecutor() as clients, database.working() as holder, holder.begin():
        holder.exec_driver_sql(HOLDERS["its product"])
        blocked = [clients.submit(bus.handle, Allouer(f"c-{n}", "LAMPE", 1)) for n in range(3)]
        assert bus.handle(Allouer("c-1", "TABLE", 1)) == ["lot-TABLE"]
        for each in blocked:
            with pytest.raises(Locked):
                each.result(PATIENCE_S)

    assert sql("SELECT sku FROM order_lines") == [{"sku": "TABLE"}]
    assert bus.handle(Allouer("c-1", "LAMPE", 1)) == ["lot-LAMPE"]
