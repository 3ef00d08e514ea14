"""The use cases through the bus, on the fakes: what a command gives, and what follows from it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from allocation.adapters.postgresql.database import VersionConflict
from allocation.adapters.write_model.repository import Needs
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot
from allocation.domain.errors import (
    LigneModifiée,
    LotExistant,
    LotInconnu,
    RéférenceAmbiguë,
    SkuInconnu,
    StockInsuffisant,
)
from allocation.domain.events import (
    Alloué,
    Désalloué,
    QuantitéLotModifiée,
    RuptureDeStock,
)
from allocation.domain.model import LigneDeCommande
from allocation.service_layer import handlers
from allocation.service_layer.attempts import MAX_ATTEMPTS
from allocation.service_layer.bootstrap import COMMAND_HANDLERS, EVENT_HANDLERS
from allocation.service_layer.handlers import réallouer
from allocation.service_layer.messagebus import MessageBus, Results
from allocation.service_layer.results import Outcome
from allocation.service_layer.unit_of_work import AbstractUnitOfWork
from allocation.testing import FakeStore, FakeUnitOfWork, in_memory_bus

DEMAIN = date(2027, 1, 2)

Handler = Callable[[Any, AbstractUnitOfWork], Any]


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def positions() -> list[int]:
    """What the bus has announced after its commits."""
    return []


@pytest.fixture
def bus(store: FakeStore, positions: list[int]) -> MessageBus[FakeUnitOfWork]:
    return in_memory_bus(store, after_commit=positions.append)


def test_la_réaction_est_déclarée_dans_la_table_de_routage() -> None:
    assert réallouer in EVENT_HANDLERS[Désalloué]


def test_recevoir_un_lot_le_rend_disponible(bus: MessageBus[FakeUnitOfWork], store: FakeStore) -> None:
    assert bus.handle(CréerLot("lot-1", "LAMPE", 20, DEMAIN)) == ["lot-1"]

    [lot] = store.produits["LAMPE"].lots
    assert (lot.référence, lot.quantité, lot.eta) == ("lot-1", 20, DEMAIN)


def test_une_référence_ne_sert_qu_une_fois_par_sku(bus: MessageBus[FakeUnitOfWork], store: FakeStore) -> None:
    for sku in ("LAMPE", "TABLE"):
        bus.handle(CréerLot("lot-1", sku, 20))

    with pytest.raises(LotExistant) as refus:
        bus.handle(CréerLot("lot-1", "TABLE", 21))

    assert refus.value.sku == "TABLE"
    assert [lot.sku for produit in store.produits.values() for lot in produit.lots] == ["LAMPE", "TABLE"]


def test_une_correction_dit_le_sku_quand_plusieurs_ont_un_lot_de_cette_référence(
    bus: MessageBus[FakeUnitOfWork], store: FakeStore
) -> None:
    for sku in ("LAMPE", "TABLE"):
        bus.handle(CréerLot("lot-1", sku, 20))

    with pytest.raises(RéférenceAmbiguë) as refus:
        bus.handle(ModifierQuantitéLot("lot-1", 5))
    bus.handle(ModifierQuantitéLot("lot-1", 5, "TABLE"))
    with pytest.raises(LotInconnu):
        bus.handle(ModifierQuantitéLot("lot-1", 5, "CHAISE"))

    assert refus.value.skus == ("LAMPE", "TABLE")
    assert [lot.quantité for produit in store.produits.values() for lot in produit.lots] == [20, 5]


def test_allouer_donne_le_lot_et_l_événement(bus: MessageBus[FakeUnitOfWork]) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 20))

    results = bus.handle(Allouer("c-1", "LAMPE", 3))

    assert results == ["lot-1"]
    assert results.events == (Alloué("c-1", "LAMPE", 3, "lot-1"),)
    assert results.position == 2


def test_répéter_une_commande_donne_la_même_réponse_et_aucun_événement(
    bus: MessageBus[FakeUnitOfWork], positions: list[int]
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 20))
    bus.handle(Allouer("c-1", "LAMPE", 3))

    again = (bus.handle(CréerLot("lot-1", "LAMPE", 20)), bus.handle(Allouer("c-1", "LAMPE", 3)))

    assert again == (["lot-1"], ["lot-1"])
    assert [(results.events, results.position) for results in again] == [((), 1), ((), 2)]
    assert positions == [1, 2, 1, 2]


def test_un_sku_inconnu_est_refusé_et_rien_n_est_écrit(
    bus: MessageBus[FakeUnitOfWork], store: FakeStore
) -> None:
    with pytest.raises(SkuInconnu) as refus:
        bus.handle(Allouer("c-1", "LAMPE", 3))

    assert refus.value.sku == "LAMPE"
    assert (store.produits, store.journal.last_position()) == ({}, 0)


def test_une_rupture_est_inscrite_au_journal_bien_que_rien_ne_change(
    bus: MessageBus[FakeUnitOfWork], store: FakeStore
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 2))

    results = bus.handle(Allouer("c-1", "LAMPE", 3))

    assert (results, results.position) == ([None], 2)
    [_, rupture] = store.journal.read(after=0, limit=10)
    assert rupture.event == RuptureDeStock("c-1", "LAMPE", 3, quantité_disponible=2)


def test_une_rupture_est_un_refus_qui_porte_ses_faits(bus: MessageBus[FakeUnitOfWork]) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 2))

    results = bus.handle(Allouer("c-1", "LAMPE", 3, "2"))

    with pytest.raises(StockInsuffisant) as refus:
        results.raise_for_refusal()
    assert vars(refus.value) == {
        "id_commande": "c-1",
        "sku": "LAMPE",
        "ligne": "2",
        "quantité_demandée": 3,
        "quantité_disponible": 2,
    }


def test_appelé_sans_bus_le_gestionnaire_refuse_la_rupture_après_l_avoir_inscrite(store: FakeStore) -> None:
    uow = FakeUnitOfWork(store)
    handlers.ajouter_lot(CréerLot("lot-1", "LAMPE", 2), uow)

    with pytest.raises(StockInsuffisant):
        handlers.allouer(Allouer("c-1", "LAMPE", 3), uow)

    [_, rupture] = store.journal.read(after=0, limit=10)
    assert rupture.event == RuptureDeStock("c-1", "LAMPE", 3, quantité_disponible=2)


def test_l_issue_dit_ce_qu_une_commande_a_fait(bus: MessageBus[FakeUnitOfWork]) -> None:
    commands = [
        CréerLot("lot-1", "LAMPE", 5),
        Allouer("c-1", "LAMPE", 3),
        Allouer("c-2", "LAMPE", 3),
        ModifierQuantitéLot("lot-1", 4),
    ]

    issues = [[bus.handle(command).outcome for command in commands] for _ in range(2)]

    assert issues == [
        [Outcome.DONE, Outcome.DONE, Outcome.REFUSED, Outcome.DONE],
        [Outcome.REPEATED, Outcome.REPEATED, Outcome.REFUSED, Outcome.REPEATED],
    ]
    assert bus.handle(commands[0]).raise_for_refusal() == ["lot-1"]


def test_réduire_un_lot_réalloue_ses_lignes_dans_la_même_transaction(
    bus: MessageBus[FakeUnitOfWork], store: FakeStore, positions: list[int]
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(CréerLot("lot-2", "LAMPE", 5, DEMAIN))
    bus.handle(Allouer("c-1", "LAMPE", 5))
    bus.handle(Allouer("c-2", "LAMPE", 5))
    positions.clear()

    [retirées] = bus.handle(ModifierQuantitéLot("lot-1", 5))

    assert [ligne.id_commande for ligne in retirées] == ["c-2"]
    assert [recorded.event for recorded in store.journal.read(after=4, limit=10)] == [
        Désalloué("c-2", "LAMPE", 5, "lot-1"),
        QuantitéLotModifiée("lot-1", "LAMPE", 5, quantité_précédente=10),
        Alloué("c-2", "LAMPE", 5, "lot-2"),
    ]
    assert positions == [7]


def test_le_plus_ancien_client_est_replacé_le_premier(bus: MessageBus[FakeUnitOfWork]) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(Allouer("ancienne", "LAMPE", 5))
    bus.handle(Allouer("récente", "LAMPE", 5))
    bus.handle(CréerLot("lot-2", "LAMPE", 5, DEMAIN))

    results = bus.handle(ModifierQuantitéLot("lot-1", 1))

    assert results.réallocations == [
        (LigneDeCommande("ancienne", "LAMPE", 5), "lot-2"),
        (LigneDeCommande("récente", "LAMPE", 5), None),
    ]
    assert [event for event in results.events if isinstance(event, Alloué)] == [
        Alloué("ancienne", "LAMPE", 5, "lot-2")
    ]
    assert [event for event in results.events if isinstance(event, RuptureDeStock)] == [
        RuptureDeStock("récente", "LAMPE", 5, quantité_disponible=1)
    ]


def test_une_ligne_restée_sans_lot_est_allouée_quand_le_stock_revient(
    bus: MessageBus[FakeUnitOfWork],
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(Allouer("c-1", "LAMPE", 10))
    bus.handle(ModifierQuantitéLot("lot-1", 9))
    bus.handle(CréerLot("lot-2", "LAMPE", 10))

    with pytest.raises(LigneModifiée):
        bus.handle(Allouer("c-1", "LAMPE", 9))
    assert bus.handle(Allouer("c-1", "LAMPE", 10)) == ["lot-2"]


def test_un_lot_à_zéro_rend_toutes_ses_lignes(bus: MessageBus[FakeUnitOfWork], store: FakeStore) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(Allouer("c-1", "LAMPE", 4))
    bus.handle(Allouer("c-2", "LAMPE", 6))
    bus.handle(CréerLot("lot-2", "LAMPE", 5, DEMAIN))

    results = bus.handle(ModifierQuantitéLot("lot-1", 0))

    assert [type(event) for event in results.events] == [
        Désalloué,
        Désalloué,
        QuantitéLotModifiée,
        Alloué,
        RuptureDeStock,
    ]
    [lot, _] = store.produits["LAMPE"].lots
    assert (lot.quantité, lot.quantité_allouée) == (0, 0)


@pytest.mark.parametrize("envoyer", [lambda bus, c: bus.handle(c), lambda bus, c: bus.submit(c).result()])
def test_une_grande_correction_se_fait_par_étapes_et_répond_une_fois(
    bus: MessageBus[FakeUnitOfWork],
    store: FakeStore,
    monkeypatch: pytest.MonkeyPatch,
    envoyer: Callable[[MessageBus[FakeUnitOfWork], ModifierQuantitéLot], Results],
) -> None:
    monkeypatch.setattr(handlers, "LIGNES_PAR_ÉTAPE", 2)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    for n in range(1, 6):
        bus.handle(Allouer(f"c-{n}", "LAMPE", 1))
    bus.handle(CréerLot("lot-2", "LAMPE", 3, DEMAIN))
    before = store.journal.last_position()

    results = envoyer(bus, ModifierQuantitéLot("lot-1", 0))

    recorded = store.journal.read(after=before, limit=100)
    assert [ligne.id_commande for ligne in results[0]] == ["c-1", "c-2", "c-3", "c-4", "c-5"]
    assert results[0] == [ligne for ligne, _ in results.réallocations]
    assert results.events == tuple(each.event for each in recorded)
    assert results.position == recorded[-1].position
    assert [each.event.quantité for each in recorded if isinstance(each.event, QuantitéLotModifiée)] == [
        3,
        1,
        0,
    ]
    assert len({each.cause.id for each in recorded}) == 3
    assert {each.cause.commande for each in recorded} == {"ModifierQuantitéLot"}
    # The oldest customers are the first to get what there is elsewhere.
    assert [e.id_commande for e in results.events if isinstance(e, Alloué)] == ["c-1", "c-2", "c-3"]


def test_une_correction_interrompue_laisse_un_lot_sain_et_répétée_se_termine(
    bus: MessageBus[FakeUnitOfWork], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "LIGNES_PAR_ÉTAPE", 2)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    for n in range(1, 6):
        bus.handle(Allouer(f"c-{n}", "LAMPE", 1))
    bus.submit(ModifierQuantitéLot("lot-1", 1))  # its caller dies before it asks for the rest
    assert bus.handle(Allouer("c-9", "LAMPE", 1)) == [None]

    [lot] = store.produits["LAMPE"].lots
    assert (lot.quantité, lot.quantité_allouée) == (3, 3)

    [retirées] = bus.handle(ModifierQuantitéLot("lot-1", 1))

    assert [ligne.id_commande for ligne in retirées] == ["c-4", "c-5"]
    [lot] = store.produits["LAMPE"].lots
    assert (lot.quantité, lot.quantité_allouée) == (1, 1)


def test_qui_change_le_lot_entre_deux_étapes_n_empêche_pas_la_fin(
    bus: MessageBus[FakeUnitOfWork], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "LIGNES_PAR_ÉTAPE", 2)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(CréerLot("lot-2", "LAMPE", 10, DEMAIN))
    for n in range(1, 6):
        bus.handle(Allouer(f"c-{n}", "LAMPE", 2))
    first = bus.submit(ModifierQuantitéLot("lot-1", 1))
    bus.handle(ModifierQuantitéLot("lot-1", 20))
    bus.handle(ModifierQuantitéLot("lot-2", 1))

    first.result()

    [lot] = [lot for lot in store.produits["LAMPE"].lots if lot.référence == "lot-1"]
    assert (lot.quantité, lot.quantité_allouée) == (1, 0)


def test_une_référence_devenue_ambiguë_entre_deux_étapes_n_empêche_pas_la_fin(
    bus: MessageBus[FakeUnitOfWork], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "LIGNES_PAR_ÉTAPE", 2)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    for n in range(1, 6):
        bus.handle(Allouer(f"c-{n}", "LAMPE", 1))
    first = bus.submit(ModifierQuantitéLot("lot-1", 1))
    bus.handle(CréerLot("lot-1", "TABLE", 10))

    first.result()

    assert [lot.quantité for produit in store.produits.values() for lot in produit.lots] == [1, 10]


def test_une_demande_refusée_et_répétée_n_inscrit_rien_de_plus(
    bus: MessageBus[FakeUnitOfWork], store: FakeStore
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 2))
    first = bus.handle(Allouer("c-1", "LAMPE", 3))
    bus.handle(Allouer("c-2", "LAMPE", 1))

    again = bus.handle(Allouer("c-1", "LAMPE", 3))

    assert (again, again.events) == ([None], ())
    assert vars(again.refusal) == vars(first.refusal)
    assert again.position == first.position
    assert store.journal.last_position() == 3


def test_un_lot_inconnu_ne_peut_pas_être_corrigé(bus: MessageBus[FakeUnitOfWork]) -> None:
    with pytest.raises(LotInconnu):
        bus.handle(ModifierQuantitéLot("lot-1", 5))


def test_un_événement_déclenche_ses_réactions_et_n_a_pas_de_résultat(
    bus: MessageBus[FakeUnitOfWork],
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))

    results = bus.handle(Désalloué("c-1", "LAMPE", 4, "lot-0"))

    assert results == []
    assert results.events == (Alloué("c-1", "LAMPE", 4, "lot-1"),)


def test_chaque_unité_de_travail_du_bus_est_nouvelle(bus: MessageBus[FakeUnitOfWork]) -> None:
    assert bus.uow is not bus.uow


def test_un_conflit_est_tenté_de_nouveau_dans_une_transaction_neuve(
    store: FakeStore, bus: MessageBus[FakeUnitOfWork]
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    attempts = _handler_disturbed(store, times=2)

    results = _bus_with(store, Allouer, attempts).handle(Allouer("c-1", "LAMPE", 4))

    assert results == ["lot-1"]
    assert store.produits["LAMPE"].lots[0].quantité_allouée == 6


def test_ce_qu_une_commande_demande_se_calcule_une_fois_même_quand_elle_est_tentée_de_nouveau(
    store: FakeStore, bus: MessageBus[FakeUnitOfWork]
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    asked: list[Command] = []

    def needs(command: Allouer) -> Needs:
        asked.append(command)
        return COMMAND_HANDLERS[Allouer].needs(command)

    counted = replace(COMMAND_HANDLERS[Allouer], handler=_handler_disturbed(store, times=2), needs=needs)
    results = in_memory_bus(store, command_handlers={Allouer: counted}).handle(Allouer("c-1", "LAMPE", 4))

    assert results == ["lot-1"]
    assert asked == [Allouer("c-1", "LAMPE", 4)]


def test_un_conflit_qui_dure_est_rendu_à_l_appelant(
    store: FakeStore, bus: MessageBus[FakeUnitOfWork]
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 100))
    attempts = _handler_disturbed(store, times=MAX_ATTEMPTS)

    with pytest.raises(VersionConflict):
        _bus_with(store, Allouer, attempts).handle(Allouer("c-1", "LAMPE", 4))

    assert store.produits["LAMPE"].lots[0].quantité_allouée == MAX_ATTEMPTS


def test_un_gestionnaire_qui_ne_valide_pas_n_a_rien_fait(store: FakeStore) -> None:
    def hésiter(command: CréerLot, uow: AbstractUnitOfWork) -> str:
        with uow:
            produit = uow.produits.get(command.sku)
            assert produit is None
            COMMAND_HANDLERS[CréerLot](command, uow)
            uow.rollback()
        return "rien"

    results = _bus_with(store, CréerLot, hésiter).handle(CréerLot("lot-1", "LAMPE", 10))

    assert results == ["rien"]
    assert (results.events, store.produits) == ((), {})


def test_une_erreur_dans_une_réaction_défait_sa_cause(
    store: FakeStore, bus: MessageBus[FakeUnitOfWork]
) -> None:
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(Allouer("c-1", "LAMPE", 10))

    def échouer(event: Désalloué, uow: AbstractUnitOfWork) -> None:
        raise ZeroDivisionError

    fragile = in_memory_bus(store, reactions={Désalloué: [échouer]})
    with pytest.raises(ZeroDivisionError):
        fragile.handle(ModifierQuantitéLot("lot-1", 5))

    assert store.produits["LAMPE"].lots[0].quantité == 10
    assert store.journal.last_position() == 2


def test_les_résultats_sont_une_liste_comme_dans_le_chapitre() -> None:
    results = Results()
    results.append("lot-1")

    assert results.pop(0) == "lot-1"


def _handler_disturbed(store: FakeStore, times: int) -> Handler:
    """`allouer`, except that another writer commits first, the first `times` times that it runs."""
    disturbances = [f"autre-{n}" for n in range(times)]

    def disturbed(command: Allouer, uow: AbstractUnitOfWork) -> str | None:
        réf_lot: str | None = COMMAND_HANDLERS[Allouer](command, uow)
        if disturbances:
            other = FakeUnitOfWork(store)
            with other:
                COMMAND_HANDLERS[Allouer](Allouer(disturbances.pop(), command.sku, 1), other)
        return réf_lot

    return disturbed


def _bus_with(store: FakeStore, command: type[Command], handler: Handler) -> MessageBus[FakeUnitOfWork]:
    """A bus on which another handler carries out this command."""
    return in_memory_bus(
        store, command_handlers={command: replace(COMMAND_HANDLERS[command], handler=handler)}
    )
