"""Plans: what allocating a line would do, and why, before anything is done."""

from copy import deepcopy

import pytest

from allocation.domain.errors import LigneModifiée
from allocation.domain.events import Alloué, RuptureDeStock
from allocation.domain.model import LigneDeCommande, Lot, Produit
from allocation.domain.plans import Affectation, Raison


def produit_avec(**disponibles: int) -> Produit:
    """A product of lots of ten units, of which so many are left."""
    lots = [Lot(réf, "LAMPE", 10, quantité_allouée=10 - reste) for réf, reste in disponibles.items()]
    return Produit("LAMPE", lots, version=3)


def ligne(quantité: int, id_commande: str = "c-1") -> LigneDeCommande:
    return LigneDeCommande(id_commande, "LAMPE", quantité)


def test_un_plan_dit_combien_d_unités_de_quel_lot_serviraient_la_ligne() -> None:
    plan = produit_avec(a=10).planifier(ligne(4))

    assert plan.affectations == (Affectation("a", 4),)
    assert (plan.réf_lot, plan.manque, plan.refus) == ("a", 0, None)


def test_un_plan_dit_pourquoi_chaque_lot_d_avant_est_écarté() -> None:
    plan = produit_avec(a=0, b=3, c=10, d=1).planifier(ligne(4))

    assert plan.réf_lot == "c"
    assert plan.écartés == {"a": Raison.ÉPUISÉ, "b": Raison.INSUFFISANT}


def test_un_plan_dit_ce_qui_manque_et_pourquoi_aucun_lot_ne_sert() -> None:
    plan = produit_avec(a=0, b=3).planifier(ligne(4))

    assert (plan.affectations, plan.manque) == ((), 4)
    assert plan.écartés == {"a": Raison.ÉPUISÉ, "b": Raison.INSUFFISANT}
    assert plan.refus is not None
    assert (plan.refus.quantité_demandée, plan.refus.quantité_disponible) == (4, 3)


def test_aucun_lot_ne_sert_la_ligne_d_un_autre_sku() -> None:
    plan = produit_avec(a=10).planifier(LigneDeCommande("c-1", "TABLE", 1))

    assert (plan.réf_lot, plan.écartés) == (None, {"a": Raison.AUTRE_SKU})


@pytest.mark.parametrize("quantité", [4, 11])
def test_planifier_ne_change_rien(quantité: int) -> None:
    produit = produit_avec(a=3, b=10)
    avant = deepcopy(produit)

    produit.planifier(ligne(quantité))

    assert (produit.version, produit.events, produit.placements, produit.ruptures) == (3, [], {}, {})
    assert [lot.quantité_allouée for lot in produit.lots] == [lot.quantité_allouée for lot in avant.lots]


def test_appliquer_un_plan_fait_ce_qu_il_dit_et_l_annonce() -> None:
    produit = produit_avec(a=3, b=10)

    produit.appliquer(produit.planifier(ligne(4)))

    assert [lot.quantité_disponible for lot in produit.lots] == [3, 6]
    assert produit.events == [Alloué("c-1", "LAMPE", 4, "b")]


def test_appliquer_un_plan_qui_manque_n_annonce_que_la_rupture() -> None:
    produit = produit_avec(a=3)

    produit.appliquer(produit.planifier(ligne(4)))

    assert (produit.version, produit.placements) == (3, {})
    assert produit.events == [RuptureDeStock("c-1", "LAMPE", 4, quantité_disponible=3)]


def test_le_plan_d_une_ligne_placée_est_acquis_et_l_appliquer_ne_fait_rien() -> None:
    produit = produit_avec(a=10)
    produit.allouer(ligne(4))
    produit.events.clear()

    plan = produit.planifier(ligne(4))
    produit.appliquer(plan)

    assert (plan.acquis, plan.réf_lot, plan.manque) == (True, "a", 0)
    assert (produit.events, produit.lots[0].quantité_allouée) == ([], 4)


def test_une_ligne_connue_avec_une_autre_quantité_ne_se_planifie_pas() -> None:
    produit = produit_avec(a=10)
    produit.allouer(ligne(4))

    with pytest.raises(LigneModifiée):
        produit.planifier(ligne(5))


def test_un_plan_ne_s_applique_plus_quand_le_produit_a_changé() -> None:
    """Else two plans that were made at once would both take the last units."""
    produit = produit_avec(a=4)
    premier, second = produit.planifier(ligne(4)), produit.planifier(ligne(4, "c-2"))
    produit.appliquer(premier)

    with pytest.raises(ValueError, match="has changed since its version 3"):
        produit.appliquer(second)

    assert produit.lots[0].quantité_disponible == 0
