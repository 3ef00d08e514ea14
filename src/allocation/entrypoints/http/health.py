"""The state of the service, for orchestrators, load balancers and monitoring."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from allocation.adapters.postgresql import schema
from allocation.adapters.postgresql.database import Database, StorageUnavailable
from allocation.entrypoints.http.messages import Request, Response, json_response
from allocation.entrypoints.http.metrics import MEDIA_TYPE, HttpMetrics
from allocation.entrypoints.http.route import Route
from allocation.entrypoints.http.schemas.read_models import EtatDuService, Vivant
from allocation.views.progress import Progress, progress

logger = logging.getLogger(__name__)


class HttpHealth:
    """The routes for operators' programs.

    The service is not ready while the database can't be written to, a projection keeps failing or is more
    than `max_lag_s` late, or a reader of the journal has no running thread.
    """

    def __init__(self, database: Database, metrics: HttpMetrics, *, max_lag_s: float) -> None:
        self._database = database
        self._metrics = metrics
        self._max_lag_s = max_lag_s

    def routes(self) -> Sequence[Route]:
        """The methods below, and what is promised about them."""
        return (
            Route("GET", "/health/live", self.live, answers={200: Vivant}),
            Route(
                "GET",
                "/health/ready",
                self.ready,
                answers={200: EtatDuService, 503: EtatDuService},
                blocks=True,
            ),
            Route("GET", "/metrics", self.metrics, answers={200: "text/plain"}, blocks=True),
        )

    async def live(self, _: Request) -> Response:
        """Whether this process answers."""
        return json_response({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Whether requests can be served: the state of the database, its schema and the read models."""
        state = self._state()
        return json_response(
            state, HTTPStatus.OK if state["status"] == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
        )

    async def metrics(self, _: Request) -> Response:
        """The metrics of all worker processes, in Prometheus' text format."""
        return Response(self._metrics.exposition(), media_type=MEDIA_TYPE)

    def _state(self) -> dict[str, Any]:
        try:
            with self._database.reading() as connection:
                usable = schema.is_usable(connection)
            readers = progress(self._database) if usable else []
            writes = self._database.write_state()
        except StorageUnavailable as error:
            logger.warning("not ready: %s", error)
            return _report("unavailable", database="unavailable", migrations="unknown", readers=[])
        if not usable:
            return _report("pending", database="ok", migrations="pending", readers=[])
        if writes != "ok":
            return _report(writes, database=writes, migrations="ok", readers=readers)
        return _report(self._status(readers), database="ok", migrations="ok", readers=readers)

    def _status(self, readers: Sequence[Progress]) -> str:
        projections = [reader for reader in readers if reader.kind == "projection"]
        if any(reader.state == "silent" for reader in readers):
            return "silent"
        # A failing subscription, for instance without its mail server, is no reason not to sell.
        if any(reader.state == "failing" for reader in projections):
            return "failing"
        return "late" if any(reader.lag_s > self._max_lag_s for reader in projections) else "ok"


def _report(status: str, *, database: str, migrations: str, readers: Sequence[Progress]) -> dict[str, Any]:
    return {
        "status": status,
        "database": database,
        "migrations": migrations,
        "readers": [asdict(reader) for reader in readers],
    }
