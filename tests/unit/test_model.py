"""The rules of the aggregate, on plain objects."""

from collections.abc import Callable
from datetime import date

import pytest

from allocation.domain.errors import LigneModifiée, LotExistant, LotInconnu, ValeurInvalide
from allocation.domain.events import (
    Alloué,
    Désalloué,
    LotCréé,
    QuantitéLotModifiée,
    RuptureDeStock,
)
from allocation.domain.model import LigneDeCommande, Lot, Produit

DEMAIN = date(2027, 1, 2)
PLUS_TARD = date(2027, 6, 1)


def produit_avec(*lots: Lot) -> Produit:
    produit = Produit("LAMPE")
    for lot in lots:
        produit.ajouter_lot(lot)
    produit.events.clear()
    return produit


def ligne(id_commande: str, quantité: int, numéro: str = "1") -> LigneDeCommande:
    return LigneDeCommande(id_commande, "LAMPE", quantité, numéro)


def lot_de(produit: Produit, référence: str) -> Lot:
    return next(lot for lot in produit.lots if lot.référence == référence)


def test_allouer_réduit_ce_qui_est_disponible_et_le_dit() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 20))

    assert produit.allouer(ligne("c-1", 3)) == "lot-1"

    assert lot_de(produit, "lot-1").quantité_disponible == 17
    assert produit.events == [Alloué("c-1", "LAMPE", 3, "lot-1", "1")]


def test_une_ligne_peut_prendre_tout_ce_qui_reste() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 20))

    assert produit.allouer(ligne("c-1", 20)) == "lot-1"


def test_le_stock_en_entrepôt_passe_avant_le_stock_en_transit() -> None:
    produit = produit_avec(Lot("a-en-transit", "LAMPE", 20, DEMAIN), Lot("z-en-entrepôt", "LAMPE", 20))

    assert produit.allouer(ligne("c-1", 1)) == "z-en-entrepôt"


def test_la_première_arrivée_passe_avant_la_suivante() -> None:
    produit = produit_avec(Lot("a-tard", "LAMPE", 20, PLUS_TARD), Lot("z-tôt", "LAMPE", 20, DEMAIN))

    assert produit.allouer(ligne("c-1", 1)) == "z-tôt"


@pytest.mark.parametrize("eta", [None, DEMAIN])
def test_à_égalité_le_premier_reçu_passe_d_abord(eta: date | None) -> None:
    produit = produit_avec(Lot("lot-10", "LAMPE", 1, eta), Lot("lot-9", "LAMPE", 1, eta))
    produit.allouer(ligne("c-0", 1))
    produit.ajouter_lot(Lot("a", "LAMPE", 1, eta))

    assert [produit.allouer(ligne(f"c-{n}", 1)) for n in (1, 2)] == ["lot-9", "a"]


def test_un_lot_trop_petit_laisse_la_place_au_suivant() -> None:
    produit = produit_avec(Lot("a", "LAMPE", 2), Lot("b", "LAMPE", 20, DEMAIN))

    assert produit.allouer(ligne("c-1", 3)) == "b"


def test_la_politique_peut_être_remplacée() -> None:
    produit = produit_avec(Lot("a", "LAMPE", 20), Lot("b", "LAMPE", 20))
    produit.politique = lambda lots: sorted(lots, key=lambda lot: lot.référence, reverse=True)

    assert produit.allouer(ligne("c-1", 1)) == "b"


def test_sans_lot_assez_grand_la_ligne_n_a_pas_de_lot_et_la_rupture_est_notée() -> None:
    produit = produit_avec(Lot("a", "LAMPE", 6), Lot("b", "LAMPE", 5))

    assert produit.allouer(ligne("c-1", 7)) is None

    assert produit.events == [RuptureDeStock("c-1", "LAMPE", 7, quantité_disponible=6, ligne="1")]
    assert produit.placements == {}


def test_la_même_ligne_encore_ne_change_rien_et_donne_le_même_lot() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 20))
    produit.allouer(ligne("c-1", 3))
    produit.events.clear()
    version = produit.version

    assert produit.allouer(ligne("c-1", 3)) == "lot-1"

    assert (produit.events, produit.version) == ([], version)
    assert lot_de(produit, "lot-1").quantité_allouée == 3


def test_deux_lignes_du_même_sku_dans_une_commande_sont_deux_lignes() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 20))

    produit.allouer(ligne("c-1", 3, "1"))
    produit.allouer(ligne("c-1", 3, "2"))

    assert lot_de(produit, "lot-1").quantité_allouée == 6


def test_la_même_ligne_avec_une_autre_quantité_est_refusée() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 20))
    produit.allouer(ligne("c-1", 3))
    produit.events.clear()

    with pytest.raises(LigneModifiée) as refus:
        produit.allouer(ligne("c-1", 4))

    assert (refus.value.quantité_connue, refus.value.quantité_demandée) == (3, 4)
    assert produit.events == []
    assert lot_de(produit, "lot-1").quantité_allouée == 3


def test_un_nouveau_lot_est_annoncé() -> None:
    produit = Produit("LAMPE")

    produit.ajouter_lot(Lot("lot-1", "LAMPE", 20, DEMAIN))

    assert produit.events == [LotCréé("lot-1", "LAMPE", 20, DEMAIN)]


def test_le_même_lot_encore_ne_change_rien_même_après_une_correction() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 20))
    produit.modifier_quantité_lot("lot-1", 15)
    produit.events.clear()

    produit.ajouter_lot(Lot("lot-1", "LAMPE", 20))

    assert produit.events == []
    assert [lot.quantité for lot in produit.lots] == [15]


@pytest.mark.parametrize(
    "autre", [Lot("lot-1", "LAMPE", 21), Lot("lot-1", "LAMPE", 20, DEMAIN), Lot("lot-1", "TABLE", 20)]
)
def test_un_autre_lot_sous_la_même_référence_est_refusé(autre: Lot) -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 20))

    with pytest.raises(LotExistant) as refus:
        produit.ajouter_lot(autre)

    assert (refus.value.réf_lot, refus.value.sku) == ("lot-1", "LAMPE")
    assert len(produit.lots) == 1


def test_un_lot_d_un_autre_sku_n_entre_pas_dans_le_produit() -> None:
    with pytest.raises(ValeurInvalide):
        Produit("LAMPE").ajouter_lot(Lot("lot-1", "TABLE", 20))


def test_un_lot_qui_grandit_garde_ses_lignes() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 5))
    produit.allouer(ligne("c-1", 5))
    produit.events.clear()

    assert produit.modifier_quantité_lot("lot-1", 8) == []

    assert lot_de(produit, "lot-1").quantité_disponible == 3
    assert produit.events == [QuantitéLotModifiée("lot-1", "LAMPE", 8, quantité_précédente=5)]


def test_un_lot_qui_rétrécit_rend_ses_lignes_les_plus_récentes() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 10, DEMAIN))
    for numéro in range(1, 6):
        produit.allouer(ligne(f"c-{numéro}", 2))
    produit.events.clear()

    retirées = produit.modifier_quantité_lot("lot-1", 7)

    assert retirées == [ligne("c-4", 2), ligne("c-5", 2)]
    assert lot_de(produit, "lot-1").quantité_allouée == 6
    assert produit.events == [
        Désalloué("c-4", "LAMPE", 2, "lot-1", "1"),
        Désalloué("c-5", "LAMPE", 2, "lot-1", "1"),
        QuantitéLotModifiée("lot-1", "LAMPE", 7, quantité_précédente=10, eta=DEMAIN),
    ]


def test_une_ligne_garde_son_ancienneté_quand_elle_change_de_lot() -> None:
    produit = produit_avec(Lot("a", "LAMPE", 2), Lot("b", "LAMPE", 4, DEMAIN))
    produit.allouer(ligne("ancienne", 2))
    produit.allouer(ligne("récente", 2))
    produit.modifier_quantité_lot("a", 1)
    assert produit.allouer(ligne("ancienne", 2)) == "b"

    assert produit.modifier_quantité_lot("b", 2) == [ligne("récente", 2)]


def test_une_ligne_sans_lot_peut_être_allouée_de_nouveau_avec_la_même_quantité_seulement() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 5))
    produit.allouer(ligne("c-1", 5))
    produit.modifier_quantité_lot("lot-1", 4)
    assert produit.allouer(ligne("c-1", 5)) is None
    produit.ajouter_lot(Lot("lot-2", "LAMPE", 5))

    with pytest.raises(LigneModifiée):
        produit.allouer(ligne("c-1", 4))
    assert produit.allouer(ligne("c-1", 5)) == "lot-2"


def test_un_lot_inconnu_ne_peut_pas_être_modifié() -> None:
    with pytest.raises(LotInconnu):
        produit_avec(Lot("lot-1", "LAMPE", 5)).modifier_quantité_lot("lot-2", 4)


def test_la_même_quantité_ne_change_rien() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 5))
    version = produit.version

    assert produit.modifier_quantité_lot("lot-1", 5) == []
    assert (produit.events, produit.version) == ([], version)


def test_un_lot_dont_les_lignes_ne_sont_pas_chargées_ne_rétrécit_pas_en_silence() -> None:
    produit = Produit("LAMPE", lots=[Lot("lot-1", "LAMPE", 5, quantité_allouée=5)])

    with pytest.raises(LookupError):
        produit.modifier_quantité_lot("lot-1", 4)

    assert produit.events == []
    assert lot_de(produit, "lot-1").quantité == 5


def test_chaque_changement_change_la_version() -> None:
    produit = Produit("LAMPE")
    versions = [produit.version]
    produit.ajouter_lot(Lot("lot-1", "LAMPE", 5))
    versions.append(produit.version)
    produit.allouer(ligne("c-1", 5))
    versions.append(produit.version)
    produit.modifier_quantité_lot("lot-1", 6)
    versions.append(produit.version)

    assert versions == [0, 1, 2, 3]


def test_un_lot_dont_tout_est_parti_rend_toutes_ses_lignes() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 10))
    produit.allouer(ligne("c-1", 4))
    produit.allouer(ligne("c-2", 6))

    assert produit.modifier_quantité_lot("lot-1", 0) == [ligne("c-1", 4), ligne("c-2", 6)]

    assert (lot_de(produit, "lot-1").quantité, lot_de(produit, "lot-1").quantité_allouée) == (0, 0)
    assert produit.allouer(ligne("c-1", 4)) is None


def test_un_lot_dont_tout_est_parti_peut_être_recompté() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 10))
    produit.modifier_quantité_lot("lot-1", 0)
    produit.ajouter_lot(Lot("lot-1", "LAMPE", 10))

    produit.modifier_quantité_lot("lot-1", 3)

    assert produit.allouer(ligne("c-1", 3)) == "lot-1"


def test_par_étapes_les_plus_anciennes_des_lignes_de_trop_partent_les_premières() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 12))
    for numéro in range(1, 6):
        produit.allouer(ligne(f"c-{numéro}", 2))
    lot = lot_de(produit, "lot-1")
    rang = produit.rang_limite(lot, 4)
    étapes = []

    while lot.quantité != 4:
        produit.events.clear()
        étapes.append(produit.modifier_quantité_lot("lot-1", 4, depuis_rang=rang, au_plus=2))

    assert étapes == [[ligne("c-3", 2), ligne("c-4", 2)], [ligne("c-5", 2)]]
    assert produit.events == [
        Désalloué("c-5", "LAMPE", 2, "lot-1", "1"),
        QuantitéLotModifiée("lot-1", "LAMPE", 4, quantité_précédente=6),
    ]


def test_entre_deux_étapes_le_lot_n_a_rien_à_donner_et_n_est_pas_à_sa_quantité() -> None:
    produit = produit_avec(Lot("lot-1", "LAMPE", 20))
    for numéro in range(1, 6):
        produit.allouer(ligne(f"c-{numéro}", 2))

    produit.modifier_quantité_lot("lot-1", 0, depuis_rang=1, au_plus=2)

    lot = lot_de(produit, "lot-1")
    assert (lot.quantité, lot.quantité_allouée) == (6, 6)


def test_en_une_ou_plusieurs_étapes_les_mêmes_lignes_partent() -> None:
    """The oldest line alone would make room enough; the newer ones go all the same."""
    produit = produit_avec(Lot("lot-1", "LAMPE", 12))
    for id_commande, quantité in (("ancienne", 10), ("c-1", 1), ("c-2", 1)):
        produit.allouer(ligne(id_commande, quantité))
    rang = produit.rang_limite(lot_de(produit, "lot-1"), 9)

    parties = [produit.modifier_quantité_lot("lot-1", 9, depuis_rang=rang, au_plus=1) for _ in range(3)]

    assert parties == [[ligne("ancienne", 10)], [ligne("c-1", 1)], [ligne("c-2", 1)]]
    assert lot_de(produit, "lot-1").quantité == 9


class TestRuptureRépétée:
    """A refusal is told once, until something may have changed it."""

    @staticmethod
    def refusé() -> Produit:
        produit = produit_avec(Lot("lot-1", "LAMPE", 5))
        assert produit.allouer(ligne("c-1", 7)) is None
        produit.events.clear()
        return produit

    def test_la_même_demande_ne_l_inscrit_qu_une_fois_et_a_la_même_réponse(self) -> None:
        produit = self.refusé()
        produit.allouer(ligne("c-2", 3))
        produit.events.clear()

        plan = produit.planifier(ligne("c-1", 7))
        produit.appliquer(plan)

        assert produit.events == []
        assert (plan.acquis, plan.quantité_disponible) == (True, 5)

    def test_une_autre_allocation_n_y_change_rien(self) -> None:
        produit = self.refusé()
        produit.allouer(ligne("c-2", 3))
        produit.events.clear()

        assert produit.allouer(ligne("c-1", 7)) is None

        assert produit.events == []

    def test_une_autre_quantité_est_une_autre_demande(self) -> None:
        produit = self.refusé()

        produit.allouer(ligne("c-1", 6))

        assert produit.events == [RuptureDeStock("c-1", "LAMPE", 6, quantité_disponible=5)]

    def test_chaque_ligne_a_la_sienne(self) -> None:
        produit = self.refusé()

        produit.allouer(ligne("c-1", 7, "2"))

        assert len(produit.events) == 1

    @pytest.mark.parametrize(
        "apport",
        [
            lambda produit: produit.ajouter_lot(Lot("lot-2", "LAMPE", 1)),
            lambda produit: produit.modifier_quantité_lot("lot-1", 6),
        ],
    )
    def test_du_stock_qui_ne_suffit_toujours_pas_la_fait_inscrire_de_nouveau(
        self, apport: Callable[[Produit], object]
    ) -> None:
        produit = self.refusé()
        apport(produit)
        produit.events.clear()

        assert [produit.allouer(ligne("c-1", 7)) for _ in range(2)] == [None, None]

        assert [type(event) for event in produit.events] == [RuptureDeStock]

    def test_un_lot_réduit_ne_la_fait_pas_inscrire_de_nouveau(self) -> None:
        produit = self.refusé()
        produit.modifier_quantité_lot("lot-1", 4)
        produit.events.clear()

        produit.allouer(ligne("c-1", 7))

        assert produit.events == []

    def test_une_ligne_qui_perd_son_lot_est_une_autre_cause(self) -> None:
        produit = self.refusé()
        produit.modifier_quantité_lot("lot-1", 7)
        assert produit.allouer(ligne("c-1", 7)) == "lot-1"
        produit.modifier_quantité_lot("lot-1", 0)
        produit.events.clear()

        assert produit.allouer(ligne("c-1", 7)) is None

        assert produit.events == [RuptureDeStock("c-1", "LAMPE", 7, quantité_disponible=0)]
