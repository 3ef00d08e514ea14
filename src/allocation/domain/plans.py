"""Plans: which units of which lots would serve a line, and why others would not.

Making a plan changes nothing: deciding is separate from doing. A plan that is shown but not applied is a
simulation, and a refusal that follows from a plan has changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import takewhile
from typing import NamedTuple

from allocation.domain.errors import StockInsuffisant
from allocation.domain.lignes import LigneDeCommande
from allocation.domain.lots import Lot


class Raison(StrEnum):
    """A reason why a lot is passed over for a line."""

    AUTRE_SKU = "autre_sku"
    ÉPUISÉ = "épuisé"
    """Nothing is left in it."""
    INSUFFISANT = "insuffisant"
    """Less is left in it than the whole line."""


def raison_d_écarter(lot: Lot, ligne: LigneDeCommande) -> Raison | None:
    """Why the lot can't serve the line; None if it can."""
    if lot.peut_allouer(ligne):
        return None
    if lot.sku != ligne.sku:
        return Raison.AUTRE_SKU
    return Raison.INSUFFISANT if lot.quantité_disponible else Raison.ÉPUISÉ


class Affectation(NamedTuple):
    """Units of a lot that would serve a line."""

    réf_lot: str
    quantité: int


class Plan(NamedTuple):
    """What allocating a line would do, as long as its product stays at `version`.

    `candidats` are tried in this order. `affectations` serve the line; if there are none, it stays short, and
    `quantité_disponible` is what the roomiest lot has left. If `acquis`, this result is recorded already, and
    there is nothing to do.
    """

    ligne: LigneDeCommande
    version: int
    candidats: Sequence[Lot] = ()
    affectations: tuple[Affectation, ...] = ()
    quantité_disponible: int = 0
    acquis: bool = False

    @property
    def écartés(self) -> Mapping[str, Raison]:
        """Why lots were passed over, by reference: each loaded lot that was tried before one could serve."""
        servent = [each.réf_lot for each in self.affectations]
        avant = takewhile(lambda lot: lot.référence not in servent, self.candidats)
        return {lot.référence: raison for lot in avant if (raison := raison_d_écarter(lot, self.ligne))}

    @property
    def manque(self) -> int:
        """The units of the line that no lot would serve."""
        return self.ligne.quantité - sum(each.quantité for each in self.affectations)

    @property
    def réf_lot(self) -> str | None:
        """The lot that would serve the line, or None."""
        return self.affectations[0].réf_lot if self.affectations else None

    @property
    def refus(self) -> StockInsuffisant | None:
        """The refusal of the line if it stays short, else None."""
        if self.affectations:
            return None
        return StockInsuffisant(
            id_commande=self.ligne.id_commande,
            sku=self.ligne.sku,
            ligne=self.ligne.ligne,
            quantité_demandée=self.ligne.quantité,
            quantité_disponible=self.quantité_disponible,
        )
