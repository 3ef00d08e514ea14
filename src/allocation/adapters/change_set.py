"""What a unit of work has changed, as rows: how the products differ from what was loaded of them."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Connection, bindparam, delete, insert, update

from allocation.adapters.database import VersionConflict
from allocation.adapters.orm import allocations, lots, order_lines, produits
from allocation.domain.model import CléLigne, Lot, Placement, Produit

_Rows: TypeAlias = list[dict[str, Any]]

_UPDATE_PRODUIT = (
    update(produits)
    .where(produits.c.sku == bindparam("of_sku"), produits.c.version == bindparam("loaded_version"))
    .values(version=bindparam("version"), dernier_rang=bindparam("dernier_rang"))
)
_UPDATE_LOT = (
    update(lots)
    .where(lots.c.sku == bindparam("of_sku"), lots.c.référence == bindparam("of_lot"))
    .values(quantité=bindparam("quantité"), quantité_allouée=bindparam("quantité_allouée"))
)
_DELETE_ALLOCATION = delete(allocations).where(
    allocations.c.sku == bindparam("of_sku"), allocations.c.rang == bindparam("of_rang")
)


@dataclass
class Snapshot:
    """What the tables hold of one product; `version` is None for a product that they do not have yet."""

    version: int | None
    lots: dict[str, tuple[int, int]] = field(default_factory=dict)
    placements: dict[CléLigne, str | None] = field(default_factory=dict)

    def remember_lot(self, lot: Lot) -> None:
        """Note the lot as the tables have it."""
        self.lots[lot.référence] = (lot.quantité, lot.quantité_allouée)

    def remember_placement(self, placement: Placement) -> None:
        """Note the line and its lot as the tables have them."""
        self.placements[placement.ligne.clé] = placement.réf_lot


@dataclass
class ChangeSet:
    """The rows to insert, update and delete for any number of products, written table by table."""

    new_produits: _Rows = field(default_factory=list)
    changed_produits: _Rows = field(default_factory=list)
    new_lots: _Rows = field(default_factory=list)
    changed_lots: _Rows = field(default_factory=list)
    new_lines: _Rows = field(default_factory=list)
    removed_allocations: _Rows = field(default_factory=list)
    new_allocations: _Rows = field(default_factory=list)

    def collect(self, produit: Produit, loaded: Snapshot) -> None:
        """Add what differs between the product and what was loaded of it."""
        self._collect_produit(produit, loaded)
        for lot in produit.lots:
            self._collect_lot(lot, loaded)
        for placement in produit.placements.values():
            self._collect_placement(placement, loaded)

    def write(self, connection: Connection) -> None:
        """Execute the changes. Raises VersionConflict if a product has another version than when loaded."""
        self._write_versions(connection)
        for statement, rows in (
            (insert(produits), self.new_produits),
            (insert(lots), self.new_lots),
            (_UPDATE_LOT, self.changed_lots),
            (insert(order_lines), self.new_lines),
            (_DELETE_ALLOCATION, self.removed_allocations),
            (insert(allocations), self.new_allocations),
        ):
            if rows:
                connection.execute(statement, rows)

    def _write_versions(self, connection: Connection) -> None:
        if self.changed_produits:
            result = connection.execute(_UPDATE_PRODUIT, self.changed_produits)
            if result.rowcount != len(self.changed_produits):
                skus = ", ".join(row["of_sku"] for row in self.changed_produits)
                raise VersionConflict(f"another writer changed one of: {skus}")

    def _collect_produit(self, produit: Produit, loaded: Snapshot) -> None:
        row = {"version": produit.version, "dernier_rang": produit.dernier_rang}
        if loaded.version is None:
            self.new_produits.append({"sku": produit.sku, **row})
        elif produit.version != loaded.version:
            self.changed_produits.append({"of_sku": produit.sku, "loaded_version": loaded.version, **row})

    def _collect_lot(self, lot: Lot, loaded: Snapshot) -> None:
        before = loaded.lots.get(lot.référence)
        row = {"quantité": lot.quantité, "quantité_allouée": lot.quantité_allouée}
        if before is None:
            key = {"sku": lot.sku, "référence": lot.référence}
            self.new_lots.append({**key, "quantité_initiale": lot.quantité_initiale, "eta": lot.eta, **row})
        elif before != (lot.quantité, lot.quantité_allouée):
            self.changed_lots.append({"of_sku": lot.sku, "of_lot": lot.référence, **row})

    def _collect_placement(self, placement: Placement, loaded: Snapshot) -> None:
        ligne, key = placement.ligne, {"sku": placement.ligne.sku, "rang": placement.rang}
        if ligne.clé not in loaded.placements:
            line = {"id_commande": ligne.id_commande, "ligne": ligne.ligne, "quantité": ligne.quantité}
            self.new_lines.append({**key, **line})
        before = loaded.placements.get(ligne.clé)
        if before == placement.réf_lot:
            return
        if before is not None:
            self.removed_allocations.append({"of_sku": ligne.sku, "of_rang": placement.rang})
        if placement.réf_lot is not None:
            self.new_allocations.append({**key, "réf_lot": placement.réf_lot})
