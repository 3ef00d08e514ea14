"""Lots of stock, and the order in which they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from allocation.domain.errors import RéférenceAmbiguë
from allocation.domain.lignes import LigneDeCommande
from allocation.domain.values import QUANTITÉ_LOT_MIN, enregistrable, vérifier_quantité

Ordre: TypeAlias = tuple[bool, date, int, str]


@dataclass(eq=False, slots=True)
class Lot:
    """A batch of stock: `quantité` units, of which `quantité_allouée` are tied to order lines.

    It was received with at least one unit (`quantité_initiale`); a later count may find that none is left.
    Its reference identifies it within its product. `rang` is its seniority, which the product sets on
    receipt.
    """

    référence: str
    sku: str
    quantité: int
    eta: date | None = None
    quantité_allouée: int = 0
    quantité_initiale: int = 0
    rang: int = 0

    def __post_init__(self) -> None:
        enregistrable("réf", self.référence)
        enregistrable("sku", self.sku)
        vérifier_quantité("quantité", self.quantité, au_moins=QUANTITÉ_LOT_MIN)
        self.quantité_initiale = self.quantité_initiale or self.quantité
        vérifier_quantité("quantité", self.quantité_initiale)

    @property
    def quantité_disponible(self) -> int:
        """Units that are not tied to any line."""
        return self.quantité - self.quantité_allouée

    @property
    def ordre(self) -> Ordre:
        """What to sort lots by: warehouse stock first, then by date of arrival, then by receipt."""
        return self.eta is not None, self.eta or date.min, self.rang, self.référence

    def peut_allouer(self, ligne: LigneDeCommande) -> bool:
        """Whether the whole line fits into what is left."""
        return self.quantité - self.quantité_allouée >= ligne.quantité and self.sku == ligne.sku

    def créé_comme(self, autre: Lot) -> bool:
        """Whether the same command creates both, whatever has become of their quantities since."""
        return (self.référence, self.sku, self.quantité_initiale, self.eta) == (
            autre.référence,
            autre.sku,
            autre.quantité_initiale,
            autre.eta,
        )


def seul_sku(réf_lot: str, skus: Set[str]) -> str | None:
    """The SKU that is meant by a lot's reference alone, given all `skus` that have such a lot; None if none.

    Raises RéférenceAmbiguë if there are several.
    """
    if len(skus) > 1:
        raise RéférenceAmbiguë(réf_lot, skus)
    return next(iter(skus), None)


# A policy orders lots by what never changes in them: a product calls it again only when it has other lots.
Politique: TypeAlias = Callable[[Iterable[Lot]], Iterable[Lot]]


def entrepôt_d_abord(lots: Iterable[Lot]) -> list[Lot]:
    """The lots in the order to try them: warehouse stock first, then by date of arrival, then by receipt."""
    return sorted(lots, key=lambda lot: lot.ordre)


def premier_qui_peut(lots: Iterable[Lot], ligne: LigneDeCommande) -> Lot | None:
    """The first of the lots that can take the whole line, or None."""
    for lot in lots:
        if lot.peut_allouer(ligne):
            return lot
    return None
