"""Which lot is meant, and which comes first: in the shipped fake and in PostgreSQL alike."""

from datetime import date

import pytest
from tests.contract.conftest import NewUow

from allocation.adapters.write_model.unit_of_work import JournalledUnitOfWork
from allocation.domain.errors import RéférenceAmbiguë
from allocation.domain.model import LigneDeCommande, Lot, Produit

DEMAIN = date(2027, 1, 2)


def recevoir(new_uow: NewUow, sku: str, *lots: Lot) -> None:
    """Each lot in a transaction of its own."""
    for lot in lots:
        with new_uow() as uow:
            produit = uow.produits.get(sku)
            if produit is None:
                produit = Produit(sku)
                uow.produits.add(produit)
            produit.ajouter_lot(lot)
            uow.commit()


def recevoir_partout(new_uow: NewUow, référence: str, *skus: str) -> None:
    for sku in skus:
        recevoir(new_uow, sku, Lot(référence, sku, 10))


def allouer(new_uow: NewUow, *lignes: LigneDeCommande) -> list[str | None]:
    """The references of the lots, from one transaction."""
    obtenus = []
    with new_uow() as uow:
        for ligne in lignes:
            produit = uow.produits.get(ligne.sku, ligne)
            assert produit is not None
            obtenus.append(produit.allouer(ligne))
        uow.commit()
    return obtenus


def sku_du_lot(uow: JournalledUnitOfWork, référence: str, sku: str | None = None) -> str | None:
    produit = uow.produits.get_par_réf_lot(référence, sku)
    return None if produit is None else produit.sku


def test_une_référence_sert_à_un_lot_de_chaque_produit(new_uow: NewUow) -> None:
    recevoir_partout(new_uow, "1", "LAMPE", "TABLE")
    allouer(new_uow, LigneDeCommande("c-1", "LAMPE", 10))

    with new_uow() as uow:
        produits = [uow.produits.get_par_réf_lot("1", sku) for sku in ("LAMPE", "TABLE")]

    assert [(p.sku, lot.quantité_disponible) for p in produits if p for lot in p.lots] == [
        ("LAMPE", 0),
        ("TABLE", 10),
    ]


def test_une_référence_que_plusieurs_sku_portent_ne_suffit_pas(new_uow: NewUow) -> None:
    recevoir_partout(new_uow, "1", "TABLE", "CHAISE", "LAMPE")

    with new_uow() as uow, pytest.raises(RéférenceAmbiguë) as refus:
        uow.produits.get_par_réf_lot("1")

    assert (refus.value.réf_lot, refus.value.skus) == ("1", ("CHAISE", "LAMPE", "TABLE"))


def test_de_très_nombreux_sku_le_refus_ne_nomme_que_les_premiers(new_uow: NewUow) -> None:
    skus = [f"SKU-{n:03}" for n in range(RéférenceAmbiguë.SKUS_MAX + 5)]
    with new_uow() as uow:
        for sku in reversed(skus):
            produit = Produit(sku)
            uow.produits.add(produit)
            produit.ajouter_lot(Lot("1", sku, 10))
        uow.commit()

    with new_uow() as uow, pytest.raises(RéférenceAmbiguë) as refus:
        uow.produits.get_par_réf_lot("1")

    assert refus.value.skus == tuple(skus[: RéférenceAmbiguë.SKUS_MAX])


def test_une_référence_qu_un_seul_sku_porte_suffit(new_uow: NewUow) -> None:
    recevoir_partout(new_uow, "1", "LAMPE")
    recevoir_partout(new_uow, "2", "TABLE")

    with new_uow() as uow:
        assert [sku_du_lot(uow, référence) for référence in ("1", "2", "3")] == ["LAMPE", "TABLE", None]


def test_un_lot_d_un_autre_sku_n_est_pas_celui_qui_est_demandé(new_uow: NewUow) -> None:
    recevoir_partout(new_uow, "1", "LAMPE")
    recevoir_partout(new_uow, "2", "TABLE")

    with new_uow() as uow:
        assert sku_du_lot(uow, "1", "TABLE") is None
        assert sku_du_lot(uow, "1", "CHAISE") is None


def test_ce_que_la_transaction_vient_de_recevoir_compte_parmi_les_lots(new_uow: NewUow) -> None:
    recevoir_partout(new_uow, "1", "LAMPE")

    with new_uow() as uow:
        produit = Produit("TABLE")
        uow.produits.add(produit)
        produit.ajouter_lot(Lot("1", "TABLE", 10))
        produit.ajouter_lot(Lot("2", "TABLE", 10))
        assert sku_du_lot(uow, "2") == "TABLE"
        with pytest.raises(RéférenceAmbiguë):
            uow.produits.get_par_réf_lot("1")


def test_réduire_un_lot_ne_touche_pas_celui_d_un_autre_sku(new_uow: NewUow) -> None:
    recevoir_partout(new_uow, "1", "LAMPE", "TABLE")
    for n in range(1, 6):
        allouer(new_uow, LigneDeCommande(f"c-{n}", "LAMPE", 2), LigneDeCommande(f"c-{n}", "TABLE", 2))

    with new_uow() as uow:
        produit = uow.produits.get_par_réf_lot("1", "TABLE")
        assert produit is not None
        rang = uow.produits.load_surplus(produit, "1", 6, limit=10)
        retirées = produit.modifier_quantité_lot("1", 6, depuis_rang=rang)
        uow.commit()

    assert [(ligne.id_commande, ligne.sku) for ligne in retirées] == [("c-4", "TABLE"), ("c-5", "TABLE")]
    with new_uow() as uow:
        lots = [uow.produits.get_par_réf_lot("1", sku) for sku in ("LAMPE", "TABLE")]
    assert [(lot.quantité, lot.quantité_allouée) for p in lots if p for lot in p.lots] == [(10, 10), (6, 6)]


def test_le_premier_reçu_sert_d_abord_quelle_que_soit_sa_référence(new_uow: NewUow) -> None:
    recevoir(
        new_uow,
        "LAMPE",
        Lot("lot-10", "LAMPE", 1, DEMAIN),
        Lot("z", "LAMPE", 1),
        Lot("lot-9", "LAMPE", 1, DEMAIN),
        Lot("a", "LAMPE", 1),
    )

    lignes = [LigneDeCommande(f"c-{n}", "LAMPE", 1) for n in range(4)]
    assert allouer(new_uow, *lignes) == ["z", "a", "lot-10", "lot-9"]


def test_ce_qui_est_reçu_après_des_allocations_vient_après(new_uow: NewUow) -> None:
    recevoir(new_uow, "LAMPE", Lot("z", "LAMPE", 3))
    allouer(new_uow, LigneDeCommande("c-1", "LAMPE", 1))
    recevoir(new_uow, "LAMPE", Lot("a", "LAMPE", 3))

    assert allouer(new_uow, LigneDeCommande("c-2", "LAMPE", 1)) == ["z"]


def test_parmi_beaucoup_de_lots_l_ordre_est_celui_de_la_réception(new_uow: NewUow) -> None:
    """More than are loaded at once, and received against the order of their references."""
    références = [f"lot-{n:02}" for n in range(30)]
    with new_uow() as uow:
        produit = Produit("LAMPE")
        uow.produits.add(produit)
        for référence in reversed(références):
            produit.ajouter_lot(Lot(référence, "LAMPE", 1))
        uow.commit()

    lignes = [LigneDeCommande(f"c-{n}", "LAMPE", 1) for n in range(30)]
    assert allouer(new_uow, *lignes) == références[::-1]
