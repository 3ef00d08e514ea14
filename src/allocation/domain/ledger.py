"""The ledger of stock: every change moves units of one lot from one compartment to another."""

from dataclasses import dataclass
from enum import StrEnum


class Compartiment(StrEnum):
    """Where units of a lot can be; `hors_stock` is wherever they come from and wherever they end up."""

    HORS_STOCK = "hors_stock"
    LIBRE = "libre"
    ALLOUÉ = "alloué"


@dataclass(frozen=True, slots=True)
class Mouvement:
    """At least one unit goes from one compartment of its lot to another."""

    quantité: int
    de: Compartiment
    vers: Compartiment
