"""The tables, importable from where the chapter has them."""

from allocation.adapters.read_models.tables import allocations_view, lots_view, stock_view
from allocation.adapters.write_model.tables import allocations, lots, order_lines, produits, ruptures

__all__ = [
    "allocations",
    "allocations_view",
    "lots",
    "lots_view",
    "order_lines",
    "produits",
    "ruptures",
    "stock_view",
]
