"""A query on a read model about an instant of the past, whose answer is the same whenever it is asked."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from allocation.adapters.postgresql.fetching import Row
from allocation.adapters.postgresql.read_servers import ReadServer, ReadServers
from allocation.domain.errors import AllocationError
from allocation.views.freshness import Answer, Freshness, fresh_on_primary
from allocation.views.instants import settled_position


class HistoireArchivée(AllocationError):
    """The events after that instant are no longer all in the journal: some have been archived. → 410"""

    def __init__(self, horizon: datetime) -> None:
        super().__init__(
            f"Le journal jusqu'à {horizon.isoformat()} est archivé ; l'état d'avant n'est plus connu"
        )
        self.horizon = horizon


class PastView:
    """One SELECT that reconstructs the table of a projection at the position `target`, which belongs to `at`.

    Each row begins with `horizon`, the last archived instant; `reached`, the position of the projection; and
    `pause`, the reason if it is paused. If there was nothing at that instant, the columns after these are
    null.
    """

    def __init__(self, projection: str, select: str) -> None:
        self._projection = projection
        self._select = select

    async def rows(
        self, parameters: Mapping[str, object], at: datetime, reads: ReadServers, wanted: Freshness
    ) -> Answer[list[Row]]:
        """The rows at that instant, in order, from the primary, once the projection has reached it.

        Raises HistoireArchivée, and what `settled_position` and `fresh_on_primary` raise.
        """
        deadline = time.monotonic() + wanted.wait_s
        target = await settled_position(reads, at, wanted.wait_s)
        wanted = replace(wanted, wait_s=max(0.0, deadline - time.monotonic()))

        async def ask(server: ReadServer) -> Answer[list[Row]]:
            return _answer(await server.fetch(self._select, {**parameters, "at": at, "target": target}), at)

        return await fresh_on_primary(reads, self._projection, ask, wanted, reaching=target)

    async def row(
        self, parameters: Mapping[str, object], at: datetime, reads: ReadServers, wanted: Freshness
    ) -> Answer[Row | None]:
        """The only row at that instant, or None. Raises like `rows`."""
        found = await self.rows(parameters, at, reads, wanted)
        value = found.value[0] if found.value else None
        return Answer(value, found.position, found.pause, found.stale, found.served_by)


def _answer(rows: list[Row], at: datetime) -> Answer[list[Row]]:
    """The rows without their leading columns; none as long as the projection is not registered."""
    if not rows:
        return Answer([], position=0)
    horizon, position, pause = (rows[0][name] for name in ("horizon", "reached", "pause"))
    if horizon is not None and at < horizon:
        raise HistoireArchivée(horizon)
    found = [dict(list(row.items())[3:]) for row in rows if row["sku"] is not None]
    return Answer(found, position, pause)
