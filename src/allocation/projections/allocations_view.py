"""The read model of an order page: which lot serves which line."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert

from allocation.adapters.read_tables import allocations_view
from allocation.domain.events import Alloué, Désalloué
from allocation.projections.delivery import Projection, delivered

ALLOCATIONS_VIEW = Projection(
    name="allocations_view",
    columns=("id_commande", "sku", "réf_lot", "quantité", "ligne"),
    truth="""
        SELECT id_commande, sku, réf_lot, quantité, ligne
        FROM allocations JOIN order_lines USING (sku, rang)
    """,
)

_DELETE = delete(allocations_view).where(
    *(allocations_view.c[key] == bindparam(f"of_{key}") for key in ("id_commande", "sku", "ligne"))
)


@delivered(by=ALLOCATIONS_VIEW)
def ajouter_allocation_vue(events: Sequence[Alloué], connection: Connection) -> None:
    """One row more for each line that got a lot."""
    connection.execute(insert(allocations_view), [vars(event) for event in events])


@delivered(by=ALLOCATIONS_VIEW)
def supprimer_allocation_vue(events: Sequence[Désalloué], connection: Connection) -> None:
    """One row less for each line that lost its lot."""
    connection.execute(
        _DELETE,
        [
            {"of_id_commande": event.id_commande, "of_sku": event.sku, "of_ligne": event.ligne}
            for event in events
        ],
    )
