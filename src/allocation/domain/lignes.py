"""Lines of orders: what is asked for, and what a product knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from allocation.domain.events import RuptureDeStock
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


@dataclass(slots=True)
class Placement:
    """A line that the product knows: its seniority (`rang`), and its lot, or None when it has none."""

    ligne: LigneDeCommande
    rang: int
    réf_lot: str | None = None


@dataclass(frozen=True, slots=True)
class Rupture:
    """What was told when a line was last refused, and at which version of the product."""

    event: RuptureDeStock
    version: int
