"""What has happened."""

from dataclasses import dataclass


class Event:
    """A fact."""


@dataclass(frozen=True)
class Alloué(Event):
    """An order line is tied to a lot."""

    id_commande: str
    sku: str
    quantité: int
    réf_lot: str


@dataclass(frozen=True)
class RuptureDeStock(Event):
    """No lot could take an order line."""

    sku: str
