"""The read model of one lot: what it holds and how much of it is taken."""

from allocation.adapters.journal.ledger import ETA, entering
from allocation.adapters.read_models.tables import lots_view
from allocation.domain.ledger import Compartiment
from allocation.projections.delivery import Projection, in_sql

LOTS_VIEW = Projection(
    lots_view,
    truth="""
        SELECT référence AS réf, sku, quantité, quantité_allouée, eta
        FROM lots WHERE sku > :after AND sku <= :until
    """,
    version=2,
)


@in_sql(by=LOTS_VIEW)
def mettre_à_jour_lots_vue(events: str) -> str:
    """Bring each lot up to date with these events."""
    return f"""
        INSERT INTO lots_view AS kept (réf, sku, quantité, quantité_allouée, eta)
        SELECT réf_lot, sku, - sum({entering(Compartiment.HORS_STOCK)}), sum({entering(Compartiment.ALLOUÉ)}),
               max({ETA})
        FROM {events} GROUP BY réf_lot, sku
        ON CONFLICT (réf, sku) DO UPDATE SET
            quantité = kept.quantité + excluded.quantité,
            quantité_allouée = kept.quantité_allouée + excluded.quantité_allouée
    """
