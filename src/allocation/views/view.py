"""A query on a read model, whose answer says which position of the journal it reflects."""

from collections.abc import Mapping, Sequence

from allocation.adapters.postgresql.fetching import Row
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
# A document for each of the keys that are asked for together, all from one snapshot. A checkpoint that is
# missing leaves no row at all.
_DOCUMENTS = """
    SELECT checkpoint.*, (SELECT {document} FROM ({select}) AS line)
    FROM ({checkpoint}) AS checkpoint
    CROSS JOIN ROWS FROM (json_to_recordset($1) AS ({columns})) WITH ORDINALITY AS asked ({names}, place)
    ORDER BY place
"""
_LIST = "json_agg(line ORDER BY {order})"
_OBJECT = "row_to_json(line)"

# The type of identifiers in the tables of read models.
IDENTIFIER = 'text COLLATE "C"'


class View:
    """One SELECT on the table of one projection, in which `{name}` stands for a parameter.

    `parameters` names their types in SQL. If the SELECT also reads tables of other projections, `also` names
    them. Documents are a list of the rows or, where there is never more than one, an `object`.
    """

    def __init__(  # noqa: PLR0913 - one for each part
        self,
        projection: str,
        select: str,
        *,
        parameters: Mapping[str, str],
        order: str,
        also: Sequence[str] = (),
        is_object: bool = False,
    ) -> None:
        names = ", ".join(f"'{name}'" for name in (projection, *also))
        checkpoint = _CHECKPOINT.format(projections=names)
        self._projection = projection
        self._rows = _ROWS.format(
            checkpoint=checkpoint,
            select=select.format(**{name: f"%({name})s" for name in parameters}),
            order=order,
        )
        self._documents = _DOCUMENTS.format(
            checkpoint=checkpoint,
            select=select.format(**{name: f'asked."{name}"' for name in parameters}),
            document=_OBJECT if is_object else _LIST.format(order=order),
            columns=", ".join(f'"{name}" {kind}' for name, kind in parameters.items()),
            names=", ".join(f'"{name}"' for name in parameters),
        )

    async def rows(
        self, parameters: Mapping[str, object], reads: ReadServers, wanted: Freshness
    ) -> Answer[list[Row]]:
        """The rows, in order. Raises like `fresh`."""

        async def ask(server: ReadServer) -> Answer[list[Row]]:
            return _rows_in(await server.fetch(self._rows, parameters))

        return await fresh(reads, self._projection, ask, wanted)

    async def row(
        self, parameters: Mapping[str, object], reads: ReadServers, wanted: Freshness
    ) -> Answer[Row | None]:
        """The only row, or None. Raises like `fresh`."""
        found = await self.rows(parameters, reads, wanted)
        value = found.value[0] if found.value else None
        return Answer(value, found.position, found.pause, found.stale, found.served_by)

    async def document(
        self, parameters: Mapping[str, object], reads: ReadServers, wanted: Freshness
    ) -> Answer[bytes | None]:
        """The rows as a JSON document made by PostgreSQL; None if there are none. Raises like `fresh`."""

        async def ask(server: ReadServer) -> Answer[bytes | None]:
            found = await server.look_up(self._documents, parameters)
            if not found:
                return Answer(None, position=0)
            position, pause, value = found
            return Answer(value, int(position or 0), None if pause is None else pause.decode())

        return await fresh(reads, self._projection, ask, wanted)


def _rows_in(joined: list[Row]) -> Answer[list[Row]]:
    """The rows of the view, without the columns of the checkpoint."""
    if not joined:
        return Answer([], position=0)
    [first, *_] = joined
    found, position, pause = (first[f"checkpoint_{name}"] for name in ("found", "position", "pause"))
    for row in joined:
        del row["checkpoint_found"], row["checkpoint_position"], row["checkpoint_pause"]
    return Answer(joined if found else [], position, pause)
