"""What has happened. Every change of stock is one of these, so each read model is a fold over them.

An event's `version` is that of its fields: it is stored beside them and goes up when they change.
"""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

__all__ = ["Alloué", "Désalloué", "Event", "LotCréé", "QuantitéLotModifiée", "RuptureDeStock"]


class Event:
    """A fact about one SKU, in the past tense."""

    version: ClassVar[int] = 1

    sku: str


@dataclass(frozen=True)
class LotCréé(Event):
    """A lot of `quantité` units exists, in the warehouse (`eta` None) or arriving on `eta`."""

    réf_lot: str
    sku: str
    quantité: int
    eta: date | None = None


@dataclass(frozen=True)
class QuantitéLotModifiée(Event):
    """A lot holds `quantité` units in all, where it held `quantité_précédente`."""

    réf_lot: str
    sku: str
    quantité: int
    quantité_précédente: int
    eta: date | None = None


@dataclass(frozen=True)
class Alloué(Event):
    """An order line is tied to a lot."""

    id_commande: str
    sku: str
    quantité: int
    réf_lot: str
    ligne: str = "1"


@dataclass(frozen=True)
class Désalloué(Event):
    """An order line is no longer tied to the lot `réf_lot`."""

    id_commande: str
    sku: str
    quantité: int
    réf_lot: str
    ligne: str = "1"


@dataclass(frozen=True)
class RuptureDeStock(Event):
    """No lot could take `quantité` units for this line; the roomiest had `quantité_disponible` left."""

    id_commande: str
    sku: str
    quantité: int
    quantité_disponible: int
    ligne: str = "1"
