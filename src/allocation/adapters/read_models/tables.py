"""The read models: denormalised tables, each shaped by the question that it answers.

They have no business constraints: they record what has already happened.
"""

from sqlalchemy import BigInteger, Column, Date, Identity, Index, Integer, Table, UniqueConstraint, text

from allocation.adapters.postgresql.metadata import identifier, metadata

allocations_view = Table(
    "allocations_view",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("id_commande", identifier, nullable=False),
    Column("sku", identifier, nullable=False),
    Column("réf_lot", identifier, nullable=False),
    Column("quantité", Integer, nullable=False),
    Column("ligne", identifier, nullable=False),
    UniqueConstraint("id_commande", "sku", "ligne"),
)

lots_view = Table(
    "lots_view",
    metadata,
    Column("réf", identifier, primary_key=True),
    Column("sku", identifier, primary_key=True, index=True),
    Column("quantité", Integer, nullable=False),
    Column("quantité_allouée", Integer, nullable=False),
    Column("eta", Date),
)

# Arrivals with free units, by their day.
Index(
    "lots_view_arrivées_idx",
    lots_view.c.sku,
    lots_view.c.eta,
    postgresql_where=text("eta IS NOT NULL AND quantité_allouée < quantité"),
)

stock_view = Table(
    "stock_view",
    metadata,
    Column("sku", identifier, primary_key=True),
    Column("en_stock", BigInteger, nullable=False),
    Column("en_transit", BigInteger, nullable=False),
    Column("alloué", BigInteger, nullable=False),
    Column("disponible", BigInteger, nullable=False),
    Column("prochaine_eta", Date),
)
