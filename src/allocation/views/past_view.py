"""A question to a read model about an instant of the past, whose answer is the same whenever it is asked."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from allocation.adapters.postgresql.database import Row
from allocation.adapters.postgresql.read_servers import ReadServer, ReadServers
from allocation.views.freshness import Answer, Freshness, fresh_on_primary
from allocation.views.instants import settled_position


class HistoireArchivée(Exception):
    """What was at that instant is no longer told by the journal alone, but by its archive. → 410"""

    def __init__(self, horizon: datetime) -> None:
        super().__init__(
            f"Le journal jusqu'à {horizon.isoformat()} est archivé ; l'état d'avant n'est plus connu"
        )
        self.horizon = horizon


class PastView:
    """One SELECT that leads the table of one projection back to the position `target`, where `at` leads to.

    Each of its rows begins with `horizon`, the last instant that is archived, `reached`, where the projection
    is, and `pause`, why it rests there if it does. They are null in the columns behind where nothing was.
    """

    def __init__(self, projection: str, select: str) -> None:
        self._projection = projection
        self._select = select

    def rows(
        self, parameters: Mapping[str, object], at: datetime, reads: ReadServers, wanted: Freshness
    ) -> Answer[list[Row]]:
        """The rows of that instant, in order, from the primary, as soon as the projection has come to it.

        Raises HistoireArchivée, and as `settled_position` and `fresh_on_primary` do.
        """
        deadline = time.monotonic() + wanted.wait_s
        target = settled_position(reads, at, wanted.wait_s)
        wanted = replace(wanted, wait_s=max(0.0, deadline - time.monotonic()))

        def ask(server: ReadServer) -> Answer[list[Row]]:
            return _answer(server.fetch(self._select, {**parameters, "at": at, "target": target}), at)

        return fresh_on_primary(reads, self._projection, ask, wanted, reaching=target)

    def row(
        self, parameters: Mapping[str, object], at: datetime, reads: ReadServers, wanted: Freshness
    ) -> Answer[Row | None]:
        """The only row of that instant, or None. Raises as `rows`."""
        found = self.rows(parameters, at, reads, wanted)
        value = found.value[0] if found.value else None
        return Answer(value, found.position, found.pause, found.stale, found.served_by)


def _answer(rows: list[Row], at: datetime) -> Answer[list[Row]]:
    """The rows without what comes before them; there are none before the projection is registered."""
    if not rows:
        return Answer([], position=0)
    horizon, position, pause = (rows[0][name] for name in ("horizon", "reached", "pause"))
    if horizon is not None and at < horizon:
        raise HistoireArchivée(horizon)
    found = [dict(list(row.items())[3:]) for row in rows if row["sku"] is not None]
    return Answer(found, position, pause)
