"""The read model of an order page: which lot serves which line."""

from collections.abc import Sequence

from sqlalchemy import Connection

from allocation.adapters.journal.serialization import as_json
from allocation.adapters.read_models.tables import allocations_view
from allocation.domain.events import Alloué, Désalloué
from allocation.projections.delivery import Projection, delivered

ALLOCATIONS_VIEW = Projection(
    allocations_view,
    truth="""
        SELECT l.id_commande, l.sku, a.réf_lot, l.quantité, l.ligne
        FROM allocations AS a JOIN order_lines AS l ON l.sku = a.sku AND l.rang = a.rang
        WHERE a.sku > :after AND a.sku <= :until AND l.sku > :after AND l.sku <= :until
    """,
)

_INSERT = """
    INSERT INTO allocations_view (id_commande, sku, réf_lot, quantité, ligne)
    SELECT id_commande, sku, réf_lot, quantité, ligne
    FROM json_populate_recordset(NULL::allocations_view, %s)
"""
# The orders are named once more, so that the view is read by index, whatever the planner believes.
_DELETE = """
    DELETE FROM allocations_view AS view USING json_populate_recordset(NULL::allocations_view, %s) AS gone
    WHERE (view.id_commande, view.sku, view.ligne) = (gone.id_commande, gone.sku, gone.ligne)
      AND view.id_commande = ANY(%s)
"""


@delivered(by=ALLOCATIONS_VIEW)
def ajouter_allocation_vue(events: Sequence[Alloué], connection: Connection) -> None:
    """One row more for each line that got a lot."""
    connection.exec_driver_sql(_INSERT, (as_json([vars(event) for event in events]),))


@delivered(by=ALLOCATIONS_VIEW)
def supprimer_allocation_vue(events: Sequence[Désalloué], connection: Connection) -> None:
    """One row less for each line that lost its lot."""
    rows = as_json([vars(event) for event in events])
    connection.exec_driver_sql(_DELETE, (rows, [event.id_commande for event in events]))
