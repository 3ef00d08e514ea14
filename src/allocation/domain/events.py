"""What has happened. Every change of stock is one of these events, so each read model is a fold over them.

The `version` of a type of event is that of its fields: it is stored with them, and goes up when they change.
"""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from allocation.domain.ledger import Compartiment, Mouvement

__all__ = ["Alloué", "Désalloué", "Event", "LotCréé", "QuantitéLotModifiée", "RuptureDeStock"]


class Event:
    """A fact about one SKU, in the past tense."""

    version: ClassVar[int] = 1

    sku: str

    @property
    def mouvement(self) -> Mouvement | None:
        """How many units of the lot go from which compartment to which; None if none do."""
        return None


@dataclass(frozen=True)
class LotCréé(Event):
    """A lot of `quantité` units exists, in the warehouse (`eta` None) or arriving on `eta`."""

    réf_lot: str
    sku: str
    quantité: int
    eta: date | None = None

    @property
    def mouvement(self) -> Mouvement:
        return Mouvement(self.quantité, Compartiment.HORS_STOCK, Compartiment.LIBRE)


@dataclass(frozen=True)
class QuantitéLotModifiée(Event):
    """A lot now holds `quantité` units in all, instead of `quantité_précédente`."""

    réf_lot: str
    sku: str
    quantité: int
    quantité_précédente: int
    eta: date | None = None

    @property
    def mouvement(self) -> Mouvement:
        ajoutées = self.quantité - self.quantité_précédente
        if ajoutées < 0:
            return Mouvement(-ajoutées, Compartiment.LIBRE, Compartiment.HORS_STOCK)
        return Mouvement(ajoutées, Compartiment.HORS_STOCK, Compartiment.LIBRE)


@dataclass(frozen=True)
class Alloué(Event):
    """An order line is tied to a lot."""

    id_commande: str
    sku: str
    quantité: int
    réf_lot: str
    ligne: str = "1"

    @property
    def mouvement(self) -> Mouvement:
        return Mouvement(self.quantité, Compartiment.LIBRE, Compartiment.ALLOUÉ)


@dataclass(frozen=True)
class Désalloué(Event):
    """An order line is no longer tied to the lot `réf_lot`."""

    id_commande: str
    sku: str
    quantité: int
    réf_lot: str
    ligne: str = "1"

    @property
    def mouvement(self) -> Mouvement:
        return Mouvement(self.quantité, Compartiment.ALLOUÉ, Compartiment.LIBRE)


@dataclass(frozen=True)
class RuptureDeStock(Event):
    """No lot could take `quantité` units for this line; the roomiest had `quantité_disponible` left."""

    id_commande: str
    sku: str
    quantité: int
    quantité_disponible: int
    ligne: str = "1"
