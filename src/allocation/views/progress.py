"""How far the readers of the journal have come."""

from dataclasses import dataclass

from allocation.views.views import ReadSource

_PROGRESS = """
    SELECT kind, name, reader.position, reader.erreur,
           newest.position - reader.position AS behind,
           coalesce(extract(epoch FROM clock_timestamp() - next_event.survenu_le), 0)::float8 AS lag_s
    FROM (SELECT 'projection' AS kind, name, position, erreur FROM projections
          UNION ALL
          SELECT 'subscription', name, position, erreur FROM subscriptions) AS reader
    CROSS JOIN (SELECT coalesce(max(position), 0) AS position FROM journal) AS newest
    LEFT JOIN LATERAL (
        SELECT survenu_le FROM journal
        WHERE journal.position > reader.position ORDER BY journal.position LIMIT 1
    ) AS next_event ON true
    ORDER BY kind, name
"""


@dataclass(frozen=True)
class Progress:
    """Where one reader stands; `behind` counts positions, `lag_s` is the age of the next event in seconds."""

    kind: str
    name: str
    position: int
    behind: int
    lag_s: float
    erreur: str | None


def progress(source: ReadSource) -> list[Progress]:
    """The state of every projection and subscription. Raises StorageUnavailable."""
    return [Progress(**row) for row in source.fetch(_PROGRESS, {})]
