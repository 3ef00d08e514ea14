"""The read side: a SELECT, and what it gives."""

from typing import Any

from sqlalchemy import text

from benchmarks.naive.unit_of_work import SqlAlchemyUnitOfWork


def allocations(id_commande: str, uow: SqlAlchemyUnitOfWork) -> list[dict[str, Any]]:
    """The lots that serve an order."""
    with uow:
        rows = uow.session.execute(
            text("SELECT sku, réf_lot FROM allocations_view WHERE id_commande = :id_commande"),
            {"id_commande": id_commande},
        )
        return [dict(row) for row in rows.mappings()]
