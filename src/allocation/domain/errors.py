"""Why the business says no: each refusal is a type that carries its facts.

The root of all exceptions of this program is here, too; docs/reference/errors.md draws their tree.
"""

from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "AllocationError",
    "LigneModifiée",
    "LotExistant",
    "LotInconnu",
    "Refus",
    "RéférenceAmbiguë",
    "SkuInconnu",
    "StockInsuffisant",
    "ValeurInvalide",
]


class AllocationError(Exception):
    """Whatever this program raises on its own account."""


class Refus(AllocationError):
    """The business says no: no stock has changed."""


class ValeurInvalide(Refus):
    """A value is outside what the business accepts. → 422

    With `faits`, the reason is a template that they fill, so that it can be said in other words, too.
    """

    def __init__(self, champ: str, raison: str, **faits: object) -> None:
        self.champ = champ
        self.raison = raison.format_map(faits) if faits else raison
        super().__init__(f"{champ} : {self.raison}")
        self.gabarit = raison
        self.faits = faits


class SkuInconnu(Refus):
    """No lot of this SKU was ever created. → 400"""

    def __init__(self, sku: str) -> None:
        super().__init__(f"SKU inconnu : {sku}")
        self.sku = sku


class LotInconnu(Refus):
    """The lot does not exist. → 404"""

    def __init__(self, réf_lot: str) -> None:
        super().__init__(f"Lot inconnu : {réf_lot}")
        self.réf_lot = réf_lot


class LotExistant(Refus):
    """Another lot of the SKU `sku` already has this reference. → 409"""

    def __init__(self, réf_lot: str, sku: str) -> None:
        super().__init__(f"Un autre lot du SKU {sku} porte déjà cette référence : {réf_lot}")
        self.réf_lot = réf_lot
        self.sku = sku


class RéférenceAmbiguë(Refus):
    """Several SKUs have a lot with this reference: `skus`, in order, and perhaps more. → 409"""

    SKUS_MAX: ClassVar = 100

    def __init__(self, réf_lot: str, skus: Iterable[str]) -> None:
        super().__init__(f"Des lots de plusieurs SKU portent cette référence, précisez le SKU : {réf_lot}")
        self.réf_lot = réf_lot
        self.skus = tuple(sorted(skus)[: self.SKUS_MAX])


class StockInsuffisant(Refus):
    """No lot can take the whole line; the roomiest has `quantité_disponible` units left. → 409"""

    def __init__(
        self, *, id_commande: str, sku: str, ligne: str, quantité_demandée: int, quantité_disponible: int
    ) -> None:
        super().__init__(
            f"Rupture de stock : {quantité_demandée} unités de {sku} sont demandées, "
            f"le lot le mieux fourni en a {quantité_disponible}"
        )
        self.id_commande = id_commande
        self.sku = sku
        self.ligne = ligne
        self.quantité_demandée = quantité_demandée
        self.quantité_disponible = quantité_disponible


class LigneModifiée(Refus):
    """The order line is already known with another quantity. → 409"""

    def __init__(
        self, *, id_commande: str, sku: str, ligne: str, quantité_connue: int, quantité_demandée: int
    ) -> None:
        super().__init__(
            f"La ligne {ligne} de la commande {id_commande} pour {sku} "
            f"est connue avec la quantité {quantité_connue}, non {quantité_demandée}"
        )
        self.id_commande = id_commande
        self.sku = sku
        self.ligne = ligne
        self.quantité_connue = quantité_connue
        self.quantité_demandée = quantité_demandée
