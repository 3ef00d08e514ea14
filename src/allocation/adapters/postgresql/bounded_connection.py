"""Connections that are given up when nothing comes from PostgreSQL any more, however that comes about.

A host that is cut off says nothing, and TCP alone notices it after a quarter of an hour.
"""

from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg.abc import PQGen

RV = TypeVar("RV")

WAKE_INTERVAL_S = 0.1

# For a host that is gone: unanswered probes after five silent seconds, and data that nobody acknowledges.
# Unix sockets know nothing of it, and libpq leaves it out there.
KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer takes longer than `limit_s` seconds.

    What was asked raises psycopg.OperationalError then; whether it was carried out is not known.

    `prepared` has the names of the statements that were prepared on it.
    """

    limit_s: ClassVar[float]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.prepared: dict[str, str] = {}

    def wait(self, gen: PQGen[RV], interval: float = WAKE_INTERVAL_S, timeout: float | None = None) -> RV:
        """What the generator gives, once the server has answered."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.limit_s)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - it has no other name
            self.close()
            raise psycopg.OperationalError(f"PostgreSQL did not answer within {self.limit_s:g} s") from None


def bounded_by(limit_s: float) -> type[BoundedConnection]:
    """The connections with this limit."""
    return type("BoundedConnection", (BoundedConnection,), {"limit_s": limit_s})
