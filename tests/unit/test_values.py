"""What the domain accepts as an identifier and as a quantity."""

import re
import sys
import unicodedata
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.errors import ValeurInvalide
from allocation.domain.model import LigneDeCommande, Lot
from allocation.domain.values import BLANCS, Enregistré, identifiant
from allocation.domain.values import CARACTÈRES_INVISIBLES as INVISIBLES


def visible(texte: str) -> bool:
    """Whether there is something to see in the text, and nothing that can't be seen."""
    cachés = (
        c for c in texte if unicodedata.category(c) in {"Cf", "Zl", "Zp"} or re.search(f"[{INVISIBLES}]", c)
    )
    return bool(texte.strip()) and not any(cachés) and texte.strip() not in {".", ".."}


identifiants = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60).filter(
    visible
)
quantités = st.integers(1, 1_000_000_000)

MAUVAIS_IDENTIFIANTS = [
    *("", " ", "\u00a0\u3000", ".", "..", " .. ", "x" * 256, "é" * 128 + "e\u0301" * 64 + "x"),
    *("a\nb", "a\x00b", "a\x7fb", "a\x85b", "a\ud800b", "LAMPE\n", "\tLAMPE"),
    *("LAM\u200bPE", "\ufeffLAMPE", "LAMPE\u200e", "\u202eEPMAL", "LAM\u00adPE", "LAM\u2028PE"),
    *("LAMPE\ufe0f", "LAMPE\U000e0100", "\u3164", "\u2800", "LAMPE\uffff", "LAMPE\U000e0041"),
    *("\U0001f6cb" * 192, 3, None),
]
MAUVAISES_QUANTITÉS = [0, -1, 1_000_000_001, True, 1.0, "1", None]


@given(identifiants, identifiants, quantités, identifiants)
def test_tout_texte_visible_est_un_identifiant_sous_sa_forme_normale(
    id_commande: str, sku: str, quantité: int, ligne: str
) -> None:
    commande = Allouer(id_commande, sku, quantité, ligne)

    assert commande.id_commande == unicodedata.normalize("NFC", id_commande.strip())
    assert commande == Allouer(commande.id_commande, commande.sku, quantité, commande.ligne)
    assert commande == Allouer(f" {id_commande}\u00a0", unicodedata.normalize("NFD", sku), quantité, ligne)
    connue = LigneDeCommande(id_commande, sku, quantité, ligne)
    assert connue.clé == (id_commande, ligne)


def test_la_forme_et_les_blancs_ne_font_pas_deux_identifiants() -> None:
    écritures = ["ÉTAGÈRE 1", "É" + "TAGE\u0300RE 1", " ÉTAGÈRE 1", "\u2003E\u0301TAGÈRE 1\u00a0\u202f"]

    assert {CréerLot(écrit, écrit, 1) for écrit in écritures} == {CréerLot("ÉTAGÈRE 1", "ÉTAGÈRE 1", 1)}
    assert {ModifierQuantitéLot(écrit, 1).réf for écrit in écritures} == {"ÉTAGÈRE 1"}


def test_aucun_caractère_de_format_ni_de_contrôle_ne_passe() -> None:
    """The whole of Unicode, as the running Python knows it: whatever version it has."""
    cachés = [
        c
        for c in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    ]
    passés = []
    for caché in cachés:
        with suppress(ValeurInvalide):
            passés.append(identifiant("sku", f"LAM{caché}PE"))

    assert len(cachés) > 2000
    assert passés == []


def test_tout_blanc_d_unicode_est_enlevé_aux_bords_et_gardé_au_milieu() -> None:
    blancs = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) == "Zs"]

    assert {identifiant("sku", f"{blanc}A B{blanc}") for blanc in blancs} == {"A B"}
    assert re.fullmatch(f"[{BLANCS}]+", "".join(blancs))


def test_le_caractère_invisible_est_nommé() -> None:
    with pytest.raises(ValeurInvalide, match=r"sku : le caractère invisible U\+200B est refusé"):
        Allouer("c-1", "LAM\u200bPE", 1)


@pytest.mark.parametrize("caractère", ["x", "é", "灯"])
def test_255_caractères_passent_et_765_octets(caractère: str) -> None:
    assert identifiant("sku", caractère * 255) == caractère * 255


def test_ce_qui_est_enregistré_d_avant_la_règle_reste_nommable() -> None:
    ancien = Enregistré(" LAM\u200bPE")

    assert ModifierQuantitéLot(ancien, 1).réf == " LAM\u200bPE"
    assert LigneDeCommande(ancien, "e\u0301", 1).sku == "e\u0301"
    assert Lot(ancien, "..", 1).référence == ancien


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
    ],
)
def test_un_mauvais_identifiant_est_refusé_par_son_nom(mauvais, champ, fabrique) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValeurInvalide) as refus:
        fabrique(mauvais)

    assert refus.value.champ == champ


@pytest.mark.parametrize("impossible", ["", "x" * 256, "a\nb", "a\ud800b", 3, None])
@pytest.mark.parametrize(
    ("champ", "fabrique"),
    [
        ("id_commande", lambda impossible: LigneDeCommande(impossible, "LAMPE", 1)),
        ("ligne", lambda impossible: LigneDeCommande("c-1", "LAMPE", 1, impossible)),
        ("réf", lambda impossible: Lot(impossible, "LAMPE", 1)),
    ],
)
def test_ce_qui_ne_peut_être_enregistré_est_refusé_partout(impossible, champ, fabrique) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValeurInvalide) as refus:
        fabrique(impossible)

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
