"""The aggregate, its lots, and all the order lines that they hold."""

from dataclasses import dataclass

from benchmarks.naive.events import Alloué, Event, RuptureDeStock


@dataclass(unsafe_hash=True)
class LigneDeCommande:
    """A value: so many units of a SKU for an order."""

    id_commande: str
    sku: str
    quantité: int


class Lot:
    """A batch of stock. What is left of it is counted from its lines."""

    def __init__(self, référence: str, sku: str, quantité: int) -> None:
        self.référence = référence
        self.sku = sku
        self.quantité_initiale = quantité
        self.allocations: set[LigneDeCommande] = set()

    @property
    def quantité_disponible(self) -> int:
        """Units that no line has."""
        return self.quantité_initiale - sum(ligne.quantité for ligne in self.allocations)

    def peut_allouer(self, ligne: LigneDeCommande) -> bool:
        """Whether the line fits."""
        return self.sku == ligne.sku and self.quantité_disponible >= ligne.quantité

    def allouer(self, ligne: LigneDeCommande) -> None:
        """Take the line in."""
        if self.peut_allouer(ligne):
            self.allocations.add(ligne)


class Produit:
    """All lots of one SKU, under one version number."""

    events: list[Event]

    def __init__(self, sku: str, lots: list[Lot] | None = None) -> None:
        self.sku = sku
        self.lots = lots or []
        self.numéro_version = 0
        self.events = []

    def allouer(self, ligne: LigneDeCommande) -> str | None:
        """The reference of the first lot that can take the line; emits Alloué or RuptureDeStock."""
        lot = next(
            (lot for lot in sorted(self.lots, key=lambda lot: lot.référence) if lot.peut_allouer(ligne)), None
        )
        if lot is None:
            self.events.append(RuptureDeStock(ligne.sku))
            return None
        lot.allouer(ligne)
        self.numéro_version += 1
        self.events.append(Alloué(ligne.id_commande, ligne.sku, ligne.quantité, lot.référence))
        return lot.référence
