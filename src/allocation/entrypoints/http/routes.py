"""All routes, as the drivers serve them and as the OpenAPI document describes them."""

from typing import Any

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.read_servers import ReadServers
from allocation.entrypoints.http.commands import HttpCommands
from allocation.entrypoints.http.health import HttpHealth
from allocation.entrypoints.http.history import HttpHistory
from allocation.entrypoints.http.home import HttpHome
from allocation.entrypoints.http.metrics import HttpMetrics
from allocation.entrypoints.http.rebuilds import HttpRebuilds
from allocation.entrypoints.http.route import Route
from allocation.entrypoints.http.views import HttpViews
from allocation.service_layer.bootstrap import declared_projections
from allocation.service_layer.callers import Caller
from allocation.service_layer.messagebus import MessageBus


def all_routes(  # noqa: PLR0913 - one for each part
    bus: MessageBus[Any],
    caller: Caller[Any],
    reads: ReadServers,
    database: Database,
    metrics: HttpMetrics,
    *,
    ready_max_lag: float,
) -> tuple[Route, ...]:
    """Every route but the documentation's. How `caller` and `reads` wait is the driver's business."""
    return (
        *HttpHome().routes(),
        *HttpCommands(bus, caller).routes(),
        *HttpViews(reads).routes(),
        *HttpHistory(reads).routes(),
        *HttpHealth(database, metrics, max_lag_s=ready_max_lag).routes(),
        *HttpRebuilds(database, declared_projections()).routes(),
    )
