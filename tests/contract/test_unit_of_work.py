"""What every unit of work and repository must do: the shipped fake and PostgreSQL alike."""

from copy import deepcopy
from datetime import date
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.conftest import NewUow

from allocation.adapters.postgresql.database import VersionConflict
from allocation.adapters.write_model.unit_of_work import JournalledUnitOfWork
from allocation.domain.errors import LotInconnu
from allocation.domain.events import Alloué, LotCréé, RuptureDeStock
from allocation.domain.model import LigneDeCommande, Lot, Produit

DEMAIN = date(2027, 1, 2)


def ligne(id_commande: str, quantité: int = 2, numéro: str = "1") -> LigneDeCommande:
    return LigneDeCommande(id_commande, "LAMPE", quantité, numéro)


def recevoir(new_uow: NewUow, *lots: Lot) -> None:
    with new_uow() as uow:
        produit = Produit("LAMPE")
        uow.produits.add(produit)
        for lot in lots:
            produit.ajouter_lot(lot)
        uow.commit()


def allouer(new_uow: NewUow, *lignes: LigneDeCommande) -> list[str | None]:
    with new_uow() as uow:
        lots = [lu(uow, ligne).allouer(ligne) for ligne in lignes]
        uow.commit()
    return lots


def lu(uow: JournalledUnitOfWork, *lignes: LigneDeCommande) -> Produit:
    produit = uow.produits.get("LAMPE", *lignes)
    assert produit is not None
    return produit


def lu_par_lot(uow: JournalledUnitOfWork, réf_lot: str) -> tuple[Produit, Lot]:
    produit = uow.produits.get_par_réf_lot(réf_lot)
    assert produit is not None
    lot = produit.lot(réf_lot)
    assert lot is not None
    return produit, lot


def test_ce_qui_est_validé_se_relit(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10, DEMAIN))
    allouer(new_uow, ligne("c-1"))

    with new_uow() as uow:
        produit = lu(uow, ligne("c-1"))
        _, lot = lu_par_lot(uow, "lot-1")

    assert (lot.référence, lot.sku, lot.quantité, lot.eta) == ("lot-1", "LAMPE", 10, DEMAIN)
    assert (lot.quantité_allouée, lot.quantité_initiale) == (2, 10)
    assert (produit.version, produit.dernier_rang) == (2, 1)
    placement = produit.placements["c-1", "1"]
    assert (placement.ligne, placement.rang, placement.réf_lot) == (ligne("c-1"), 1, "lot-1")


def test_un_produit_inconnu_n_est_rien(new_uow: NewUow) -> None:
    with new_uow() as uow:
        assert uow.produits.get("LAMPE") is None
        assert uow.produits.get_par_réf_lot("lot-1") is None


def test_sortir_sans_valider_défait_tout(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10))

    with new_uow() as uow:
        lu(uow, ligne("c-1")).allouer(ligne("c-1"))

    with new_uow() as uow:
        assert lu(uow, ligne("c-1")).placements == {}
        _, lot = lu_par_lot(uow, "lot-1")
        assert lot.quantité_allouée == 0


def test_une_exception_défait_tout(new_uow: NewUow) -> None:
    def échouer() -> None:
        with new_uow() as uow:
            uow.produits.add(Produit("LAMPE"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        échouer()

    with new_uow() as uow:
        assert uow.produits.get("LAMPE") is None


def test_le_même_produit_demandé_deux_fois_est_le_même_objet(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10))

    with new_uow() as uow:
        assert lu(uow) is lu(uow, ligne("c-1"))
        assert uow.produits.get_par_réf_lot("lot-1") is lu(uow)


def test_les_événements_sont_rendus_avec_leur_position_après_la_validation(new_uow: NewUow) -> None:
    with new_uow() as uow:
        produit = Produit("LAMPE")
        uow.produits.add(produit)
        produit.ajouter_lot(Lot("lot-1", "LAMPE", 10))
        assert uow.collect_new_events() == [LotCréé("lot-1", "LAMPE", 10)]
        produit.allouer(ligne("c-1"))
        uow.commit()

    assert uow.events == [LotCréé("lot-1", "LAMPE", 10), Alloué("c-1", "LAMPE", 2, "lot-1")]
    assert uow.position == 2


def test_une_unité_de_travail_sert_plusieurs_fois(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10))
    uow = new_uow()

    for numéro in range(2):
        with uow:
            lu(uow, ligne(f"c-{numéro}")).allouer(ligne(f"c-{numéro}"))
            uow.commit()
        assert len(uow.events) == 1

    with uow:
        _, lot = lu_par_lot(uow, "lot-1")
        assert lot.quantité_allouée == 4


def test_valider_deux_fois_n_écrit_pas_deux_fois(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10))

    with new_uow() as uow:
        lu(uow, ligne("c-1")).allouer(ligne("c-1"))
        uow.commit()
        uow.commit()

    assert uow.events == [Alloué("c-1", "LAMPE", 2, "lot-1")]
    assert uow.position == 2


def test_un_lot_épuisé_se_retrouve_par_sa_référence(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 4), Lot("lot-2", "LAMPE", 4))
    allouer(new_uow, ligne("c-1"), ligne("c-2"))

    with new_uow() as uow:
        _, premier = lu_par_lot(uow, "lot-1")
        _, second = lu_par_lot(uow, "lot-2")

    assert (premier.quantité_disponible, second.quantité_disponible) == (0, 4)


def test_les_lignes_les_plus_récentes_sont_là_pour_qui_réduit_un_lot(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10), Lot("lot-2", "LAMPE", 10, DEMAIN))
    allouer(new_uow, *(ligne(f"c-{n}") for n in range(1, 8)))

    with new_uow() as uow:
        produit, _ = lu_par_lot(uow, "lot-1")
        rang = uow.produits.load_surplus(produit, "lot-1", 5, limit=10)
        retirées = produit.modifier_quantité_lot("lot-1", 5, depuis_rang=rang)
        uow.commit()

    assert [ligne.id_commande for ligne in retirées] == ["c-3", "c-4", "c-5"]
    with new_uow() as uow:
        lignes = [ligne(f"c-{n}") for n in range(1, 8)]
        placements = lu(uow, *lignes).placements
    assert [placements[ligne.clé].réf_lot for ligne in lignes] == [
        "lot-1",
        "lot-1",
        None,
        None,
        None,
        "lot-2",
        "lot-2",
    ]


def test_une_ligne_peut_changer_de_lot(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10), Lot("lot-2", "LAMPE", 10, DEMAIN))
    allouer(new_uow, ligne("c-1", 10))

    with new_uow() as uow:
        produit, _ = lu_par_lot(uow, "lot-1")
        assert uow.produits.load_surplus(produit, "lot-1", 9, limit=10) == 1
        produit.modifier_quantité_lot("lot-1", 9)
        assert lu(uow, ligne("c-1", 10)).allouer(ligne("c-1", 10)) == "lot-2"
        uow.commit()

    with new_uow() as uow:
        assert lu(uow, ligne("c-1", 10)).placements["c-1", "1"].réf_lot == "lot-2"


def test_un_produit_n_est_créé_qu_une_fois(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10))

    with pytest.raises(VersionConflict):
        recevoir(new_uow, Lot("lot-2", "LAMPE", 10))


def test_un_lot_qui_ne_tient_plus_rien_se_garde_et_se_relit(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10))

    with new_uow() as uow:
        produit, _ = lu_par_lot(uow, "lot-1")
        produit.modifier_quantité_lot("lot-1", 0)
        uow.commit()

    with new_uow() as uow:
        _, lot = lu_par_lot(uow, "lot-1")
    assert (lot.quantité, lot.quantité_initiale) == (0, 10)


def test_un_refus_se_relit_avec_la_ligne_qu_il_concerne(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 1))
    assert allouer(new_uow, ligne("c-1", 2), ligne("c-2", 3)) == [None, None]

    with new_uow() as uow:
        produit = lu(uow, ligne("c-2", 3))
        plan = produit.planifier(ligne("c-2", 3))
        assert (plan.acquis, plan.réf_lot, plan.quantité_disponible) == (True, None, 1)


def test_un_refus_est_oublié_quand_le_stock_a_grandi(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 1))
    allouer(new_uow, ligne("c-1", 4))
    with new_uow() as uow:
        produit, _ = lu_par_lot(uow, "lot-1")
        produit.modifier_quantité_lot("lot-1", 3)
        uow.commit()

    for événements in (1, 0):
        with new_uow() as uow:
            assert lu(uow, ligne("c-1", 4)).allouer(ligne("c-1", 4)) is None
            assert len(uow.collect_new_events()) == événements
            uow.commit()


def test_les_lignes_de_trop_viennent_par_les_plus_anciennes(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10))
    allouer(new_uow, *(ligne(f"c-{n}") for n in range(1, 6)))

    with new_uow() as uow:
        produit, _ = lu_par_lot(uow, "lot-1")
        assert uow.produits.load_surplus(produit, "lot-1", 10, limit=2) is None
        rang = uow.produits.load_surplus(produit, "lot-1", 3, limit=2)
        retirées = produit.modifier_quantité_lot("lot-1", 3, depuis_rang=rang, au_plus=1)
        uow.commit()

    assert rang == 2
    assert retirées == [ligne("c-2")]
    with new_uow() as uow:
        assert uow.produits.get_par_réf_lot("lot-1") is not None
        assert uow.produits.load_surplus(produit, "lot-1", 3, depuis_rang=rang, limit=9) == rang


def test_une_ligne_que_personne_n_a_demandée_n_est_pas_là_et_ne_s_écrit_pas_deux_fois(
    new_uow: NewUow,
) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10))
    allouer(new_uow, ligne("c-1"))

    with new_uow() as uow:
        produit = lu(uow, ligne("c-2"))
        assert produit.placements == {}
        assert produit.allouer(ligne("c-1")) == "lot-1"
        with pytest.raises(VersionConflict):
            uow.commit()


def test_un_lot_épuisé_que_personne_n_a_demandé_n_est_pas_là_et_ne_s_écrit_pas_deux_fois(
    new_uow: NewUow,
) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 2))
    allouer(new_uow, ligne("c-1"))

    with new_uow() as uow:
        produit = lu(uow, ligne("c-2"))
        assert produit.lots == []
        with pytest.raises(LotInconnu):
            produit.modifier_quantité_lot("lot-1", 5)
        produit.ajouter_lot(Lot("lot-1", "LAMPE", 2))
        with pytest.raises(VersionConflict):
            uow.commit()


def test_un_refus_que_personne_n_a_demandé_n_est_pas_là(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 1))
    allouer(new_uow, ligne("c-1", 4))

    with new_uow() as uow:
        assert lu(uow, ligne("c-2", 4)).ruptures == {}
        assert lu(uow, ligne("c-1", 4)).ruptures.keys() == {("c-1", "1")}


def test_les_lignes_d_un_lot_que_personne_n_a_demandées_ne_peuvent_pas_le_quitter(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 10))
    allouer(new_uow, ligne("c-1"), ligne("c-2"))

    with new_uow() as uow:
        produit, _ = lu_par_lot(uow, "lot-1")
        with pytest.raises(LookupError):
            produit.modifier_quantité_lot("lot-1", 1)


def test_les_lignes_d_un_lot_ne_se_demandent_pas_avant_lui(new_uow: NewUow) -> None:
    recevoir(new_uow, Lot("lot-1", "LAMPE", 2))
    allouer(new_uow, ligne("c-1"))

    with new_uow() as uow:
        produit = lu(uow)
        with pytest.raises(LookupError):
            uow.produits.load_surplus(produit, "lot-1", 1, limit=10)


MANY = 100


def test_parmi_beaucoup_de_lots_ouverts_chaque_ligne_a_le_premier_qui_lui_suffit(new_uow: NewUow) -> None:
    """Small lots come first in the order of allocation, and the one that is large enough comes long after."""
    lots = [Lot(f"petit-{n:03}", "LAMPE", 1 + n % 3) for n in range(MANY)]
    recevoir(new_uow, *lots, Lot("grand", "LAMPE", 10, DEMAIN), Lot("plus-grand", "LAMPE", 11, DEMAIN))

    assert allouer(new_uow, ligne("c-1", 3), ligne("c-2", 10), ligne("c-3", 10), ligne("c-4", 1)) == [
        "petit-002",
        "grand",
        "plus-grand",
        "petit-000",
    ]


def test_parmi_beaucoup_de_lots_ouverts_un_refus_dit_ce_qu_a_le_mieux_fourni(new_uow: NewUow) -> None:
    recevoir(
        new_uow,
        *(Lot(f"petit-{n:03}", "LAMPE", 1) for n in range(MANY)),
        Lot("z-six", "LAMPE", 6, DEMAIN),
        Lot("z-sept", "LAMPE", 7, DEMAIN),
    )

    with new_uow() as uow:
        for quantité, attendu in ((8, 7), (7, None), (8, 6), (6, None), (8, 1)):
            demande = ligne(f"c-{quantité}-{attendu}", quantité)
            lu(uow, demande).allouer(demande)
            ruptures = [e for e in uow.collect_new_events() if isinstance(e, RuptureDeStock)]
            assert [rupture.quantité_disponible for rupture in ruptures] == [attendu] * (attendu is not None)


def test_beaucoup_de_lots_s_épuisent_l_un_après_l_autre_dans_une_transaction(new_uow: NewUow) -> None:
    recevoir(new_uow, *(Lot(f"lot-{n:03}", "LAMPE", 1) for n in range(MANY)))

    lignes = [ligne(f"c-{n}", 1) for n in range(MANY + 1)]
    with new_uow() as uow:
        obtenus = [lu(uow, each).allouer(each) for each in lignes]
        uow.commit()

    assert obtenus == [*(f"lot-{n:03}" for n in range(MANY)), None]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lots=st.lists(st.tuples(st.integers(1, 6), st.sampled_from([None, DEMAIN])), min_size=20, max_size=40),
    demandes=st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=25), min_size=1, max_size=3),
)
def test_chargé_en_partie_un_produit_décide_comme_chargé_en_entier(
    new_uow: NewUow, lots: list[tuple[int, date | None]], demandes: list[list[int]]
) -> None:
    """Whatever lots there are, and whatever was taken of them before in the same transaction or another."""
    sku = str(uuid4())
    entier = Produit(sku)
    for n, (quantité, eta) in enumerate(lots):
        entier.ajouter_lot(Lot(f"{sku}-{n:02}", sku, quantité, eta))
    with new_uow() as uow:
        uow.produits.add(deepcopy(entier))
        uow.commit()

    for étape, quantités in enumerate(demandes):
        entier.events.clear()
        with new_uow() as uow:
            for n, quantité in enumerate(quantités):
                demande = LigneDeCommande(f"c-{étape}-{n}", sku, quantité)
                produit = uow.produits.get(sku, demande)
                assert produit is not None
                assert produit.allouer(demande) == entier.allouer(demande)
            uow.commit()
        assert uow.events == entier.events
