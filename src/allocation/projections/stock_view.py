"""The read model of the stock: what each SKU has in the warehouse, on its way, allocated, and available.

A lot with an arrival date is in transit; the date itself is not compared with today's.
"""

from allocation.adapters.journal.ledger import ETA, entering
from allocation.adapters.read_models.tables import stock_view
from allocation.domain.ledger import Compartiment
from allocation.projections.delivery import Projection, in_sql

STOCK_VIEW = Projection(
    stock_view,
    truth="""
        SELECT sku,
               coalesce(sum(quantité) FILTER (WHERE eta IS NULL), 0) AS en_stock,
               coalesce(sum(quantité) FILTER (WHERE eta IS NOT NULL), 0) AS en_transit,
               sum(quantité_allouée) AS alloué,
               sum(quantité - quantité_allouée) AS disponible,
               min(eta) AS prochaine_eta
        FROM lots WHERE sku > :after AND sku <= :until GROUP BY sku
    """,
)


@in_sql(by=STOCK_VIEW)
def mettre_à_jour_stock_vue(events: str) -> str:
    """Bring the stock of each SKU up to date with these events."""
    return f"""
        WITH movement AS (
            SELECT sku, - {entering(Compartiment.HORS_STOCK)} AS received, {ETA} AS eta,
                   {entering(Compartiment.ALLOUÉ)} AS taken, {entering(Compartiment.LIBRE)} AS freed
            FROM {events}
        )
        INSERT INTO stock_view AS kept (sku, en_stock, en_transit, alloué, disponible, prochaine_eta)
        SELECT sku, coalesce(sum(received) FILTER (WHERE eta IS NULL), 0),
               coalesce(sum(received) FILTER (WHERE eta IS NOT NULL), 0), sum(taken), sum(freed), min(eta)
        FROM movement GROUP BY sku
        ON CONFLICT (sku) DO UPDATE SET
            en_stock = kept.en_stock + excluded.en_stock,
            en_transit = kept.en_transit + excluded.en_transit,
            alloué = kept.alloué + excluded.alloué,
            disponible = kept.disponible + excluded.disponible,
            prochaine_eta = least(kept.prochaine_eta, excluded.prochaine_eta)
    """
