"""The repository: products in and out of the write tables, never more of them than a command needs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select, tuple_

from allocation.adapters.change_set import ChangeSet, Snapshot
from allocation.adapters.orm import allocations, lots, order_lines, produits
from allocation.domain.model import CléLigne, LigneDeCommande, Lot, Placement, Produit

_SAME_LINE = and_(allocations.c.sku == order_lines.c.sku, allocations.c.rang == order_lines.c.rang)


class AbstractRepository(ABC):
    """Port: the products that one unit of work has loaded or added."""

    def __init__(self) -> None:
        self.seen: dict[str, Produit] = {}

    @abstractmethod
    def add(self, produit: Produit) -> None:
        """Store a new product with the transaction."""

    @abstractmethod
    def get(self, sku: str, *lignes: LigneDeCommande) -> Produit | None:
        """The product with its lots that have units left and what is known of `lignes`; None if unknown."""

    @abstractmethod
    def get_par_réf_lot(self, réf_lot: str, quantité: int | None = None) -> Produit | None:
        """The product of this lot, with the lot, whatever is left in it; None if the lot is unknown.

        With a `quantité`, also with those of the lot's newest lines that no longer fit into that many units.
        """


class SqlAlchemyRepository(AbstractRepository):
    """Products in PostgreSQL, locked from their loading to the end of the transaction."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._snapshots: dict[str, Snapshot] = {}

    def add(self, produit: Produit) -> None:
        self.seen[produit.sku] = produit
        self._snapshots[produit.sku] = Snapshot(version=None)

    def get(self, sku: str, *lignes: LigneDeCommande) -> Produit | None:
        produit = self.seen.get(sku) or self._load(sku)
        if produit is not None:
            clés = [ligne.clé for ligne in lignes if ligne.clé not in produit.placements]
            if clés:
                self._load_placements(produit, _known_lines(sku, clés))
        return produit

    def get_par_réf_lot(self, réf_lot: str, quantité: int | None = None) -> Produit | None:
        sku = self._connection.scalar(select(lots.c.sku).where(lots.c.référence == réf_lot))
        produit = None if sku is None else self.get(sku)
        if produit is None:
            return None
        self._load_lots(produit, lots.c.référence == réf_lot)
        lot = next(lot for lot in produit.lots if lot.référence == réf_lot)
        if quantité is not None and lot.quantité_allouée > quantité:
            excédent = lot.quantité_allouée - quantité
            self._load_placements(produit, _newest_lines(lot, excédent))
        return produit

    def flush(self) -> None:
        """Write what has changed since the loading, in a number of statements that does not depend on it.

        Raises VersionConflict if another writer changed one of the products.
        """
        changes = ChangeSet()
        for sku in sorted(self.seen):
            changes.collect(self.seen[sku], self._snapshots[sku])
        changes.write(self._connection)

    def _load(self, sku: str) -> Produit | None:
        row = self._connection.execute(
            select(produits.c.version, produits.c.dernier_rang)
            .where(produits.c.sku == sku)
            .with_for_update(key_share=True)
        ).one_or_none()
        if row is None:
            return None
        produit = Produit(sku, version=row.version, dernier_rang=row.dernier_rang)
        self.seen[sku] = produit
        self._snapshots[sku] = Snapshot(version=row.version)
        self._load_lots(produit, lots.c.quantité_allouée < lots.c.quantité)
        return produit

    def _load_lots(self, produit: Produit, which: ColumnElement[bool]) -> None:
        connus = {lot.référence for lot in produit.lots}
        rows = self._connection.execute(select(lots).where(lots.c.sku == produit.sku, which))
        for lot in (Lot(**row) for row in rows.mappings() if row["référence"] not in connus):
            produit.lots.append(lot)
            self._snapshots[produit.sku].remember_lot(lot)

    def _load_placements(self, produit: Produit, lines: Select[Any]) -> None:
        for row in self._connection.execute(lines):
            ligne = LigneDeCommande(row.id_commande, produit.sku, row.quantité, row.ligne)
            if ligne.clé not in produit.placements:
                placement = Placement(ligne, row.rang, row.réf_lot)
                produit.placements[ligne.clé] = placement
                self._snapshots[produit.sku].remember_placement(placement)


def _known_lines(sku: str, clés: Sequence[CléLigne]) -> Select[Any]:
    """The lines with these keys that were ever allocated, with their lot if they have one now."""
    return (
        select(order_lines, allocations.c.réf_lot)
        .outerjoin_from(order_lines, allocations, _SAME_LINE)
        .where(order_lines.c.sku == sku, tuple_(order_lines.c.id_commande, order_lines.c.ligne).in_(clés))
    )


def _newest_lines(lot: Lot, excédent: int) -> Select[Any]:
    """The fewest newest lines on the lot that together hold `excédent` units.

    As every line holds a unit at least, no more than `excédent` lines need to be looked at.
    """
    newest = (
        select(order_lines, allocations.c.réf_lot)
        .join_from(allocations, order_lines, _SAME_LINE)
        .where(allocations.c.sku == lot.sku, allocations.c.réf_lot == lot.référence)
        .order_by(allocations.c.rang.desc())
        .limit(excédent)
        .subquery()
    )
    cumul = func.sum(newest.c.quantité).over(order_by=newest.c.rang.desc())
    counted = select(newest, cumul.label("cumul")).subquery()
    return select(counted).where(counted.c.cumul - counted.c.quantité < excédent)
