"""The write model: normalised tables whose constraints refuse what the domain refuses.

Every table has `sku` in its primary key, so that all rows of one allocation can live on one node.
An order line is identified by its natural key, and by `(sku, rang)`, its seniority within the product.
`allocations` ties it to a lot by the latter, which also gives a lot's newest lines without a sort.

Each statement of the write path has one index that serves it. No other index begins in the same way, or gives
its rows in the same order, so the planner can't take a wrong one while it knows nothing of a table that is
still empty.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)

from allocation.adapters.postgresql.metadata import identifier, metadata
from allocation.domain.values import QUANTITÉ_LOT_MIN, QUANTITÉ_MAX, QUANTITÉ_MIN

__all__ = ["allocations", "lots", "order_lines", "produits", "ruptures"]

produits = Table(
    "produits",
    metadata,
    Column("sku", identifier, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("dernier_rang", BigInteger, nullable=False),
    # Null if version 0.1.0, which does not know this column, wrote it, and no lot has gained units since.
    Column("dernier_apport", BigInteger),
)

lots = Table(
    "lots",
    metadata,
    Column("sku", identifier, ForeignKey("produits.sku"), primary_key=True),
    Column("référence", identifier, primary_key=True),
    Column("quantité_initiale", Integer, nullable=False),
    Column("quantité", Integer, nullable=False),
    Column("quantité_allouée", Integer, nullable=False),
    Column("eta", Date),
    # Its seniority: the product's version on receipt.
    Column("rang", BigInteger, nullable=False),
    CheckConstraint(f"quantité BETWEEN {QUANTITÉ_LOT_MIN} AND {QUANTITÉ_MAX}", name="quantité"),
    CheckConstraint("quantité_allouée >= 0", name="alloué"),
    CheckConstraint("quantité - quantité_allouée >= 0", name="libre"),
)

# Several SKUs may have lots of one reference.
Index("lots_référence_idx", lots.c.référence, lots.c.sku)
# Lots with units left: this index has them in the order in which they are used, the last one by what is left.
Index(
    "lots_par_rang_idx",
    lots.c.sku,
    text("coalesce(eta, '-infinity')"),
    lots.c.rang,
    lots.c.référence,
    postgresql_where=text("quantité_allouée < quantité"),
)
Index(
    "lots_par_disponible_idx",
    lots.c.sku,
    text("(quantité - quantité_allouée)"),
    postgresql_where=text("quantité_allouée < quantité"),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("sku", identifier, ForeignKey("produits.sku"), nullable=False),
    Column("id_commande", identifier, nullable=False),
    Column("ligne", identifier, nullable=False),
    Column("quantité", Integer, nullable=False),
    Column("rang", BigInteger, nullable=False),
    PrimaryKeyConstraint("id_commande", "sku", "ligne"),
    UniqueConstraint("rang", "sku"),
    CheckConstraint(f"quantité BETWEEN {QUANTITÉ_MIN} AND {QUANTITÉ_MAX}", name="quantité"),
)

allocations = Table(
    "allocations",
    metadata,
    Column("sku", identifier, primary_key=True),
    Column("rang", BigInteger, primary_key=True, autoincrement=False),
    Column("réf_lot", identifier, nullable=False),
    ForeignKeyConstraint(["sku", "rang"], ["order_lines.sku", "order_lines.rang"]),
    ForeignKeyConstraint(["sku", "réf_lot"], ["lots.sku", "lots.référence"]),
)

# A lot's newest lines first. As an expression, the rank can't make the planner look up ranks in this index.
Index("allocations_du_lot_idx", allocations.c.réf_lot, allocations.c.sku, text("(- rang)"))

# What the caller was told when a line was last refused, and the product's version then.
ruptures = Table(
    "ruptures",
    metadata,
    Column("sku", identifier, ForeignKey("produits.sku"), nullable=False),
    Column("id_commande", identifier, nullable=False),
    Column("ligne", identifier, nullable=False),
    Column("quantité", Integer, nullable=False),
    Column("quantité_disponible", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    PrimaryKeyConstraint("id_commande", "sku", "ligne"),
)
