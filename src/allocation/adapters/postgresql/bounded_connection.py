"""Connections that are closed when PostgreSQL falls silent, for whatever reason.

From a host that is cut off nothing arrives, and TCP by itself takes a quarter of an hour to notice.
"""

from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg.abc import PQGen

RV = TypeVar("RV")

WAKE_INTERVAL_S = 0.1

# To notice that a host is gone: probes after five silent seconds, and a limit for unacknowledged data. libpq
# ignores these for Unix sockets.
KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer takes longer than `limit_s` seconds.

    The statement under way then raises psycopg.OperationalError; whether it was carried out is unknown.

    `prepared` maps statements that were prepared on the connection to their names.
    """

    limit_s: ClassVar[float]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.prepared: dict[str, str] = {}

    def wait(self, gen: PQGen[RV], interval: float = WAKE_INTERVAL_S, timeout: float | None = None) -> RV:
        """The generator's result, once the server has answered."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.limit_s)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - it has no other name
            self.close()
            raise psycopg.OperationalError(f"PostgreSQL did not answer within {self.limit_s:g} s") from None


def bounded_by(limit_s: float) -> type[BoundedConnection]:
    """The class of connections with this limit."""
    return type("BoundedConnection", (BoundedConnection,), {"limit_s": limit_s})
