"""Order lines: what is asked for, and what a product knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from allocation.domain.errors import LigneModifiée
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
    """A line that the product knows: its seniority (`rang`) and its lot, or None if it has none."""

    ligne: LigneDeCommande
    rang: int
    réf_lot: str | None = None

    def vérifier(self, ligne: LigneDeCommande) -> None:
        """Raise LigneModifiée unless this is the line as it is asked for now."""
        if self.ligne != ligne:
            raise LigneModifiée(
                id_commande=ligne.id_commande,
                sku=ligne.sku,
                ligne=ligne.ligne,
                quantité_connue=self.ligne.quantité,
                quantité_demandée=ligne.quantité,
            )


@dataclass(frozen=True, slots=True)
class Rupture:
    """The answer when a line was last refused, and the version of the product then."""

    event: RuptureDeStock
    version: int

    def vaut_pour(self, ligne: LigneDeCommande, dernier_apport: int) -> bool:
        """Whether it still holds: the line asks for the same, and no lot has gained free units since."""
        return self.event.quantité == ligne.quantité and self.version >= dernier_apport
