"""What the domain accepts as an identifier and as a quantity."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.errors import ValeurInvalide
from allocation.domain.model import LigneDeCommande, Lot

identifiants = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=255)
quantités = st.integers(1, 1_000_000_000)

MAUVAIS_IDENTIFIANTS = ["", "x" * 256, "a\nb", "a\x00b", "a\x7fb", "a\x85b", "a\ud800b", 3, None]
MAUVAISES_QUANTITÉS = [0, -1, 1_000_000_001, True, 1.0, "1", None]


@given(identifiants, identifiants, quantités, identifiants)
def test_tout_texte_sans_caractère_de_contrôle_est_un_identifiant(
    id_commande: str, sku: str, quantité: int, ligne: str
) -> None:
    commande = Allouer(id_commande, sku, quantité, ligne)

    assert (commande.id_commande, commande.quantité) == (id_commande, quantité)
    assert LigneDeCommande(id_commande, sku, quantité, ligne).clé == (id_commande, ligne)


@pytest.mark.parametrize("mauvais", MAUVAIS_IDENTIFIANTS)
@pytest.mark.parametrize(
    ("champ", "fabrique"),
    [
        ("id_commande", lambda mauvais: Allouer(mauvais, "LAMPE", 1)),
        ("sku", lambda mauvais: Allouer("c-1", mauvais, 1)),
        ("ligne", lambda mauvais: Allouer("c-1", "LAMPE", 1, mauvais)),
        ("réf", lambda mauvais: CréerLot(mauvais, "LAMPE", 1)),
        ("sku", lambda mauvais: CréerLot("lot-1", mauvais, 1)),
        ("réf", lambda mauvais: ModifierQuantitéLot(mauvais, 1)),
        ("id_commande", lambda mauvais: LigneDeCommande(mauvais, "LAMPE", 1)),
        ("ligne", lambda mauvais: LigneDeCommande("c-1", "LAMPE", 1, mauvais)),
        ("réf", lambda mauvais: Lot(mauvais, "LAMPE", 1)),
    ],
)
def test_un_mauvais_identifiant_est_refusé_par_son_nom(mauvais, champ, fabrique) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValeurInvalide) as refus:
        fabrique(mauvais)

    assert refus.value.champ == champ


@pytest.mark.parametrize("mauvaise", MAUVAISES_QUANTITÉS)
@pytest.mark.parametrize(
    "fabrique",
    [
        lambda mauvaise: Allouer("c-1", "LAMPE", mauvaise),
        lambda mauvaise: CréerLot("lot-1", "LAMPE", mauvaise, date(2027, 1, 1)),
        lambda mauvaise: ModifierQuantitéLot("lot-1", mauvaise or -1),
        lambda mauvaise: LigneDeCommande("c-1", "LAMPE", mauvaise),
        lambda mauvaise: Lot("lot-1", "LAMPE", mauvaise),
    ],
)
def test_une_mauvaise_quantité_est_refusée(mauvaise, fabrique) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValeurInvalide) as refus:
        fabrique(mauvaise)

    assert refus.value.champ == "quantité"


def test_un_lot_reçu_peut_ne_plus_rien_tenir() -> None:
    assert ModifierQuantitéLot("lot-1", 0).quantité == 0
    assert Lot("lot-1", "LAMPE", 0, quantité_initiale=4).quantité_disponible == 0
