"""What may be asked for."""

from dataclasses import dataclass


class Command:
    """An intention."""


@dataclass(frozen=True)
class CréerLot(Command):
    """Receive a lot."""

    réf: str
    sku: str
    quantité: int


@dataclass(frozen=True)
class Allouer(Command):
    """Tie an order line to a lot."""

    id_commande: str
    sku: str
    quantité: int
