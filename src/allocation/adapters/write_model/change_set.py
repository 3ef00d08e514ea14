"""What a unit of work has changed, as rows: how its products differ from what was loaded of them.

Any number of products is written by one statement for each kind of change. Its rows travel as one JSON
document, which PostgreSQL turns into rows of the table. Rows that change are found by the primary key,
whatever the planner believes about the size of their tables: statements also name the keys in arrays, or
insert the rows and let the conflict find them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Table

from allocation.adapters.journal.serialization import as_json
from allocation.adapters.postgresql.messages import Statement
from allocation.adapters.write_model import tables
from allocation.domain.model import CléLigne, Lot, Placement, Produit, Rupture

_Rows: TypeAlias = list[dict[str, Any]]


def _insert(table: Table) -> str:
    """SQL: insert the columns that this program knows; what a newer one has added is left to its default."""
    columns = ", ".join(column.name for column in table.columns)
    return (
        f"INSERT INTO {table.name} ({columns})"  # noqa: S608 - our own text
        f" SELECT {columns} FROM json_populate_recordset(NULL::{table.name}, %s)"
    )


# The journal's lock is taken after all of these statements. Each of them waits for rows of other writers in
# the same order, that of the products. If a product has changed since it was loaded, its version is set to
# NULL, which the column refuses.
_UPDATE_PRODUITS = """
    UPDATE produits
    SET version = CASE WHEN produits.version = row.loaded_version THEN row.version END,
        dernier_rang = row.dernier_rang, dernier_apport = row.dernier_apport
    FROM json_to_recordset(%s) AS row (
        sku text, loaded_version bigint, version bigint, dernier_rang bigint, dernier_apport bigint
    )
    WHERE produits.sku = row.sku AND produits.sku = ANY(%s)
"""
_INSERT_PRODUITS = f"{_insert(tables.produits)} ORDER BY sku"
_INSERT_LOTS = _insert(tables.lots)
# All of these lots exist, so each is found by its conflict on the primary key. The planner might carry out an
# UPDATE that names both columns by the index on references, and thousands of lots may share a reference.
_UPDATE_LOTS = f"""
    {_INSERT_LOTS} ON CONFLICT (sku, référence) DO UPDATE
    SET quantité = excluded.quantité, quantité_allouée = excluded.quantité_allouée
"""  # noqa: S608 - our own text
_INSERT_LINES = _insert(tables.order_lines)
_DELETE_ALLOCATIONS = """
    DELETE FROM allocations USING json_populate_recordset(NULL::allocations, %s) AS row
    WHERE allocations.sku = row.sku AND allocations.rang = row.rang
      AND allocations.sku = ANY(%s) AND allocations.rang = ANY(%s)
"""
_INSERT_ALLOCATIONS = _insert(tables.allocations)
_UPSERT_RUPTURES = f"""
    {_insert(tables.ruptures)} ON CONFLICT (id_commande, sku, ligne) DO UPDATE
    SET quantité = excluded.quantité, quantité_disponible = excluded.quantité_disponible,
        version = excluded.version
"""  # noqa: S608 - our own text


@dataclass
class Snapshot:
    """What the tables hold of one product; `version` is None if they do not have it yet."""

    version: int | None
    lots: dict[str, tuple[int, int]] = field(default_factory=dict)
    placements: dict[CléLigne, str | None] = field(default_factory=dict)
    ruptures: dict[CléLigne, Rupture] = field(default_factory=dict)

    def remember_lot(self, lot: Lot) -> None:
        """Note the lot as the tables have it."""
        self.lots[lot.référence] = (lot.quantité, lot.quantité_allouée)

    def remember_placement(self, placement: Placement) -> None:
        """Note the line and its lot as the tables have them."""
        self.placements[placement.ligne.clé] = placement.réf_lot

    def remember(self, produit: Produit) -> None:
        """Note the whole product: the tables have it now."""
        self.version = produit.version
        for lot in produit.lots:
            self.remember_lot(lot)
        for placement in produit.placements.values():
            self.remember_placement(placement)
        self.ruptures |= produit.ruptures


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
    new_ruptures: _Rows = field(default_factory=list)

    def collect(self, produit: Produit, loaded: Snapshot) -> None:
        """Add what differs between the product and what was loaded of it."""
        self._collect_produit(produit, loaded)
        for lot in produit.lots:
            self._collect_lot(lot, loaded)
        for placement in produit.placements.values():
            self._collect_placement(placement, loaded)
        for clé, rupture in produit.ruptures.items():
            if loaded.ruptures.get(clé) != rupture:
                self.new_ruptures.append({**vars(rupture.event), "version": rupture.version})

    def statements(self) -> Iterator[Statement]:
        """The statements that store the changes, in the order in which to execute them."""
        for statement, rows, keys in (
            (_UPDATE_PRODUITS, self.changed_produits, ("sku",)),
            (_INSERT_PRODUITS, self.new_produits, ()),
            (_INSERT_LOTS, self.new_lots, ()),
            (_UPDATE_LOTS, self.changed_lots, ()),
            (_INSERT_LINES, self.new_lines, ()),
            (_DELETE_ALLOCATIONS, self.removed_allocations, ("sku", "rang")),
            (_INSERT_ALLOCATIONS, self.new_allocations, ()),
            (_UPSERT_RUPTURES, self.new_ruptures, ()),
        ):
            if rows:
                yield statement, [as_json(rows), *([row[key] for row in rows] for key in keys)]

    def _collect_produit(self, produit: Produit, loaded: Snapshot) -> None:
        row = {
            "sku": produit.sku,
            "version": produit.version,
            "dernier_rang": produit.dernier_rang,
            "dernier_apport": produit.dernier_apport,
        }
        if loaded.version is None:
            self.new_produits.append(row)
        elif produit.version != loaded.version:
            self.changed_produits.append({**row, "loaded_version": loaded.version})

    def _collect_lot(self, lot: Lot, loaded: Snapshot) -> None:
        before = loaded.lots.get(lot.référence)
        if before == (lot.quantité, lot.quantité_allouée):
            return
        row = {
            "sku": lot.sku,
            "référence": lot.référence,
            "quantité_initiale": lot.quantité_initiale,
            "quantité": lot.quantité,
            "quantité_allouée": lot.quantité_allouée,
            "eta": lot.eta,
            "rang": lot.rang,
        }
        (self.new_lots if before is None else self.changed_lots).append(row)

    def _collect_placement(self, placement: Placement, loaded: Snapshot) -> None:
        ligne, key = placement.ligne, {"sku": placement.ligne.sku, "rang": placement.rang}
        if ligne.clé not in loaded.placements:
            line = {"id_commande": ligne.id_commande, "ligne": ligne.ligne, "quantité": ligne.quantité}
            self.new_lines.append({**key, **line})
        before = loaded.placements.get(ligne.clé)
        if before == placement.réf_lot:
            return
        if before is not None:
            self.removed_allocations.append(key)
        if placement.réf_lot is not None:
            self.new_allocations.append({**key, "réf_lot": placement.réf_lot})
