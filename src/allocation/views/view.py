"""A query on a read model, whose answer says which position of the journal it reflects."""

from collections.abc import Mapping, Sequence

from allocation.adapters.postgresql.database import Row
from allocation.adapters.postgresql.read_servers import ReadServer, ReadServers
from allocation.views.freshness import Answer, Freshness, fresh

# Answer and checkpoint come from one statement, hence from one snapshot, so they match. The checkpoint is on
# the left of the join, so that there is a row even if the view has none. Of several read models, the one with
# the lowest position counts.
_CHECKPOINT = """
    SELECT position AS checkpoint_position,
           CASE WHEN en_pause THEN coalesce(erreur, '') END AS checkpoint_pause
    FROM projections WHERE name IN ({projections}) ORDER BY position LIMIT 1
"""
_ROWS = """
    SELECT * FROM ({checkpoint}) AS checkpoint
    LEFT JOIN (SELECT true AS checkpoint_found, * FROM ({select}) AS found) AS view ON true
    ORDER BY {order}
"""
_DOCUMENT = """
    SELECT checkpoint.*, (SELECT json_agg(line ORDER BY {order}) FROM ({select}) AS line)
    FROM ({checkpoint}) AS checkpoint
"""


class View:
    """One SELECT on the table of one projection, in which `{name}` stands for a parameter.

    If it also reads tables of other projections, `also` names them.
    """

    def __init__(
        self, projection: str, select: str, *, parameters: Sequence[str], order: str, also: Sequence[str] = ()
    ) -> None:
        names = ", ".join(f"'{name}'" for name in (projection, *also))
        checkpoint = _CHECKPOINT.format(projections=names)
        named = select.format(**{name: f"%({name})s" for name in parameters})
        numbered = select.format(**{name: f"${number}" for number, name in enumerate(parameters, start=1)})
        self._projection = projection
        self._rows = _ROWS.format(checkpoint=checkpoint, select=named, order=order)
        self._document = _DOCUMENT.format(checkpoint=checkpoint, select=numbered, order=order)

    def rows(
        self, parameters: Mapping[str, object], reads: ReadServers, wanted: Freshness
    ) -> Answer[list[Row]]:
        """The rows, in order. Raises like `fresh`."""
        return fresh(
            reads, self._projection, lambda server: _rows_in(server.fetch(self._rows, parameters)), wanted
        )

    def row(
        self, parameters: Mapping[str, object], reads: ReadServers, wanted: Freshness
    ) -> Answer[Row | None]:
        """The only row, or None. Raises like `fresh`."""
        found = self.rows(parameters, reads, wanted)
        value = found.value[0] if found.value else None
        return Answer(value, found.position, found.pause, found.stale, found.served_by)

    def document(self, parameter: str, reads: ReadServers, wanted: Freshness) -> Answer[bytes | None]:
        """The rows for the only parameter, as a JSON document made by PostgreSQL; None if there are none.

        Raises like `fresh`.
        """

        def ask(server: ReadServer) -> Answer[bytes | None]:
            found = server.fetch_values(self._document, parameter)
            if not found:
                return Answer(None, position=0)
            position, pause, value = found
            return Answer(value, int(position or 0), None if pause is None else pause.decode())

        return fresh(reads, self._projection, ask, wanted)


def _rows_in(joined: list[Row]) -> Answer[list[Row]]:
    """The rows of the view, without the columns of the checkpoint."""
    if not joined:
        return Answer([], position=0)
    [first, *_] = joined
    found, position, pause = (first[f"checkpoint_{name}"] for name in ("found", "position", "pause"))
    for row in joined:
        del row["checkpoint_found"], row["checkpoint_position"], row["checkpoint_pause"]
    return Answer(joined if found else [], position, pause)
