"""The tables, and the classes of the model mapped onto them."""

from functools import cache

from sqlalchemy import Column, ForeignKey, Integer, String, Table, event
from sqlalchemy.orm import registry, relationship

from benchmarks.naive.model import LigneDeCommande, Lot, Produit

mapper_registry = registry()
metadata = mapper_registry.metadata

produits = Table(
    "produits",
    metadata,
    Column("sku", String(255), primary_key=True),
    Column("numéro_version", Integer, nullable=False),
)
lots = Table(
    "lots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("référence", String(255), unique=True),
    Column("sku", ForeignKey("produits.sku"), index=True),
    Column("quantité_initiale", Integer, nullable=False),
)
order_lines = Table(
    "order_lines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sku", String(255)),
    Column("quantité", Integer, nullable=False),
    Column("id_commande", String(255)),
)
allocations = Table(
    "allocations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("orderline_id", ForeignKey("order_lines.id")),
    Column("batch_id", ForeignKey("lots.id"), index=True),
)
allocations_view = Table(
    "allocations_view",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("id_commande", String(255), index=True),
    Column("sku", String(255)),
    Column("réf_lot", String(255)),
)


@cache
def start_mappers() -> None:
    """Map the model, once in a process."""
    lignes = mapper_registry.map_imperatively(LigneDeCommande, order_lines)
    lot = mapper_registry.map_imperatively(
        Lot,
        lots,
        properties={"allocations": relationship(lignes, secondary=allocations, collection_class=set)},
    )
    mapper_registry.map_imperatively(
        Produit,
        produits,
        version_id_col=produits.c.numéro_version,
        version_id_generator=False,
        properties={"lots": relationship(lot)},
    )
    event.listen(Produit, "load", _without_events)


def _without_events(produit: Produit, _: object) -> None:
    produit.events = []
