"""How far the readers of the journal have come."""

from dataclasses import dataclass

from allocation.adapters.serialization import as_json, readable_versions
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

# So many of the newest: an index on what is unknown would cost every event that is written.
UNKNOWN_AMONG = 10_000
_UNKNOWN = """
    SELECT type, version, count(*) AS events FROM journal
    WHERE position > (SELECT max(position) FROM journal) - %(among)s
      AND NOT EXISTS (
          SELECT FROM json_to_recordset(%(known)s) AS known (type text, version int)
          WHERE known.type = journal.type AND known.version = journal.version
      )
    GROUP BY type, version ORDER BY type, version
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


@dataclass(frozen=True)
class UnknownEvents:
    """How many of the newest events are of a type and version that this program can't read, and skips."""

    type: str
    version: int
    events: int


def unknown_events(source: ReadSource) -> list[UnknownEvents]:
    """What a newer program writes, among the newest events. Raises StorageUnavailable."""
    known = as_json([{"type": type_name, "version": version} for type_name, version in readable_versions()])
    return [UnknownEvents(**row) for row in source.fetch(_UNKNOWN, {"known": known, "among": UNKNOWN_AMONG})]
