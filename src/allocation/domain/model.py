"""The aggregate: a product with its lots, and the lines of orders that are tied to them.

`Produit` is what one transaction changes: all rules hold within it, and its version tells two writers apart.
Its methods check first and change last: after a refusal (an exception), nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import TypeAlias

from allocation.domain.errors import LigneModifiée, LotExistant, LotInconnu, ValeurInvalide
from allocation.domain.events import (
    Alloué,
    Désalloué,
    Event,
    LotCréé,
    QuantitéLotModifiée,
    RuptureDeStock,
)
from allocation.domain.values import enregistrable, vérifier_quantité

CléLigne: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LigneDeCommande:
    """A line of an order: `quantité` units of `sku`. `(id_commande, sku, ligne)` identifies it.

    Raises ValeurInvalide on a malformed value.
    """

    id_commande: str
    sku: str
    quantité: int
    ligne: str = "1"

    def __post_init__(self) -> None:
        enregistrable("id_commande", self.id_commande)
        enregistrable("sku", self.sku)
        vérifier_quantité("quantité", self.quantité)
        enregistrable("ligne", self.ligne)

    @property
    def clé(self) -> CléLigne:
        """What identifies the line within its product."""
        return self.id_commande, self.ligne


@dataclass(eq=False, slots=True)
class Lot:
    """A batch of stock: `quantité` units, of which `quantité_allouée` are tied to order lines."""

    référence: str
    sku: str
    quantité: int
    eta: date | None = None
    quantité_allouée: int = 0
    quantité_initiale: int = 0

    def __post_init__(self) -> None:
        enregistrable("réf", self.référence)
        enregistrable("sku", self.sku)
        vérifier_quantité("quantité", self.quantité)
        self.quantité_initiale = self.quantité_initiale or self.quantité

    @property
    def quantité_disponible(self) -> int:
        """Units that are not tied to any line."""
        return self.quantité - self.quantité_allouée

    def peut_allouer(self, ligne: LigneDeCommande) -> bool:
        """Whether the whole line fits into what is left."""
        return self.sku == ligne.sku and self.quantité_disponible >= ligne.quantité

    def créé_comme(self, autre: Lot) -> bool:
        """Whether both were created by the same command, whatever became of their quantities since."""
        return (self.référence, self.sku, self.quantité_initiale, self.eta) == (
            autre.référence,
            autre.sku,
            autre.quantité_initiale,
            autre.eta,
        )


Politique: TypeAlias = Callable[[Iterable[Lot]], Iterable[Lot]]


def entrepôt_d_abord(lots: Iterable[Lot]) -> list[Lot]:
    """The lots in the order to try: warehouse stock, then the earliest arrival, then the reference."""
    return sorted(lots, key=lambda lot: (lot.eta is not None, lot.eta or date.min, lot.référence))


@dataclass(slots=True)
class Placement:
    """A line that the product knows: its seniority (`rang`), and its lot, or None when it has none."""

    ligne: LigneDeCommande
    rang: int
    réf_lot: str | None = None


@dataclass(eq=False)
class Produit:
    """Everything that one SKU's allocations depend on.

    A repository may load it in part: `lots` must then hold every lot with units left, and `placements`
    every line that the next call is about. `dernier_rang` is the seniority of the newest line.
    """

    sku: str
    lots: list[Lot] = field(default_factory=list)
    version: int = 0
    dernier_rang: int = 0
    placements: dict[CléLigne, Placement] = field(default_factory=dict)
    politique: Politique = entrepôt_d_abord
    events: list[Event] = field(default_factory=list)

    def ajouter_lot(self, lot: Lot) -> None:
        """Take in a lot; the same lot again changes nothing. Raises LotExistant; emits LotCréé."""
        connu = self._chercher_lot(lot.référence)
        if connu is not None:
            if not connu.créé_comme(lot):
                raise LotExistant(lot.référence)
            return
        if lot.sku != self.sku:
            raise ValeurInvalide("sku", "{attendu} est attendu, non {reçu}", attendu=self.sku, reçu=lot.sku)
        self.lots.append(lot)
        self.version += 1
        self.events.append(LotCréé(lot.référence, lot.sku, lot.quantité, lot.eta))

    def allouer(self, ligne: LigneDeCommande) -> str | None:
        """The reference of the lot that the line is tied to, or None when no lot can take it whole.

        The same line again changes nothing and gives the same lot. Raises LigneModifiée when it is known
        with another quantity. Emits Alloué, or RuptureDeStock.
        """
        placement = self.placements.get(ligne.clé)
        if placement is not None and placement.ligne != ligne:
            raise LigneModifiée(
                id_commande=ligne.id_commande,
                sku=ligne.sku,
                ligne=ligne.ligne,
                quantité_connue=placement.ligne.quantité,
                quantité_demandée=ligne.quantité,
            )
        if placement is not None and placement.réf_lot is not None:
            return placement.réf_lot
        lot = next((lot for lot in self.politique(self.lots) if lot.peut_allouer(ligne)), None)
        if lot is None:
            self._constater_rupture(ligne)
            return None
        self._placer(ligne, lot)
        return lot.référence

    def modifier_quantité_lot(self, réf_lot: str, quantité: int) -> list[LigneDeCommande]:
        """The lines taken off the lot so that the rest fits into `quantité` units, oldest first.

        The newest lines go first, by the order in which the product first knew them. Raises LotInconnu.
        Emits Désalloué for each line, then QuantitéLotModifiée: at no point of the journal does a lot
        hold more than its quantity.
        """
        vérifier_quantité("quantité", quantité)
        lot = self._chercher_lot(réf_lot)
        if lot is None:
            raise LotInconnu(réf_lot)
        if quantité == lot.quantité:
            return []
        retirés = self._plus_récents(lot, excédent=lot.quantité_allouée - quantité)
        for placement in retirés:
            self._retirer(placement, lot)
        self.events.append(QuantitéLotModifiée(réf_lot, self.sku, quantité, lot.quantité, lot.eta))
        lot.quantité = quantité
        self.version += 1
        return [placement.ligne for placement in retirés]

    def _chercher_lot(self, réf_lot: str) -> Lot | None:
        return next((lot for lot in self.lots if lot.référence == réf_lot), None)

    def _constater_rupture(self, ligne: LigneDeCommande) -> None:
        disponible = max((lot.quantité_disponible for lot in self.lots), default=0)
        self.events.append(
            RuptureDeStock(ligne.id_commande, ligne.sku, ligne.quantité, disponible, ligne.ligne)
        )

    def _placer(self, ligne: LigneDeCommande, lot: Lot) -> None:
        placement = self.placements.get(ligne.clé)
        if placement is None:
            self.dernier_rang += 1
            placement = self.placements[ligne.clé] = Placement(ligne, self.dernier_rang)
        placement.réf_lot = lot.référence
        lot.quantité_allouée += ligne.quantité
        self.version += 1
        self.events.append(Alloué(ligne.id_commande, ligne.sku, ligne.quantité, lot.référence, ligne.ligne))

    def _plus_récents(self, lot: Lot, excédent: int) -> list[Placement]:
        """The fewest newest placements on the lot that together free `excédent` units, oldest first."""
        choisis: list[Placement] = []
        du_lot = (p for p in self.placements.values() if p.réf_lot == lot.référence)
        for placement in sorted(du_lot, key=lambda p: p.rang, reverse=True):
            if excédent <= 0:
                break
            choisis.append(placement)
            excédent -= placement.ligne.quantité
        if excédent > 0:
            raise LookupError(f"the newest lines of lot {lot.référence} were not loaded")
        return choisis[::-1]

    def _retirer(self, placement: Placement, lot: Lot) -> None:
        ligne = placement.ligne
        placement.réf_lot = None
        lot.quantité_allouée -= ligne.quantité
        self.events.append(
            Désalloué(ligne.id_commande, ligne.sku, ligne.quantité, lot.référence, ligne.ligne)
        )
