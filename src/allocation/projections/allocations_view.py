"""The read model of an order page: which lot serves which line."""

from allocation.adapters.read_models.tables import allocations_view
from allocation.projections.delivery import Projection, in_sql

ALLOCATIONS_VIEW = Projection(
    allocations_view,
    truth="""
        SELECT l.id_commande, l.sku, a.réf_lot, l.quantité, l.ligne
        FROM allocations AS a JOIN order_lines AS l ON l.sku = a.sku AND l.rang = a.rang
        WHERE a.sku > :after AND a.sku <= :until AND l.sku > :after AND l.sku <= :until
    """,
)


@in_sql(by=ALLOCATIONS_VIEW)
def ajouter_allocation_vue(alloués: str) -> str:
    """Add a row for each line that got a lot."""
    return f"""
        INSERT INTO allocations_view (id_commande, sku, réf_lot, quantité, ligne)
        SELECT id_commande, sku, réf_lot, quantité, ligne FROM {alloués}
    """


@in_sql(by=ALLOCATIONS_VIEW)
def supprimer_allocation_vue(désalloués: str) -> str:
    """Delete the row of each line that lost its lot."""
    # The second condition adds nothing but an index to read the view by, whatever the planner believes.
    return f"""
        WITH gone AS MATERIALIZED (SELECT id_commande, sku, ligne FROM {désalloués})
        DELETE FROM allocations_view AS view USING gone
        WHERE (view.id_commande, view.sku, view.ligne) = (gone.id_commande, gone.sku, gone.ligne)
          AND view.id_commande = ANY(ARRAY(SELECT id_commande FROM gone))
    """
