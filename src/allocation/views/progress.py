"""How far the readers of the journal have come."""

from dataclasses import dataclass

from allocation.adapters.journal.checkpoints import RATE_NOW
from allocation.adapters.journal.serialization import as_json, readable_versions
from allocation.views.views import ReadSource

# After this many failures in a row, the trouble lasts: an event that a handler can't apply is parked by then.
FAILING_AFTER = 3

_PROGRESS = f"""
    SELECT kind, name, position, newest - position AS behind,
           greatest(extract(epoch FROM clock_timestamp() - next_event.survenu_le), 0)::float8 AS lag_s,
           round(({RATE_NOW})::numeric, 1)::float8 AS rate,
           CASE WHEN attendu_avant < clock_timestamp() THEN 'silent'
                WHEN en_pause THEN 'paused'
                WHEN erreur IS NOT NULL AND échecs >= %(failures)s THEN 'failing'
                WHEN rebuild_phase IS NOT NULL THEN 'rebuilding'
                ELSE 'following' END AS state,
           (SELECT count(DISTINCT sku) FROM parked WHERE lecteur = name) AS parked,
           coalesce(erreur, rebuild_erreur) AS erreur
    FROM (SELECT 'projection' AS kind, projections.name, projections.position, projections.erreur, en_pause,
                 échecs, attendu_avant, débit, projections.mis_à_jour_le,
                 phase AS rebuild_phase, rebuilds.erreur AS rebuild_erreur
          FROM projections
          LEFT JOIN rebuilds ON rebuilds.name = projections.name AND phase NOT IN ('done', 'failed')
          UNION ALL
          SELECT 'subscription', name, position, erreur, en_pause, échecs, attendu_avant, débit,
                 mis_à_jour_le, NULL, NULL
          FROM subscriptions) AS reader
    CROSS JOIN (SELECT coalesce(max(journal.position), 0) AS newest FROM journal) AS journal_end
    LEFT JOIN LATERAL (
        SELECT survenu_le FROM journal
        WHERE journal.position > reader.position ORDER BY journal.position LIMIT 1
    ) AS next_event ON true
    ORDER BY kind, name
"""  # noqa: S608 - our own text

# Only this many of the newest events are searched: an index for all would make every append dearer.
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
    """The state of one reader of the journal.

    `behind` is its distance to the end in positions, `lag_s` the age of its next event in seconds, `rate` its
    recent number of events a second. `state` is following, failing (repeatedly; `erreur` says why), silent
    (no thread has shown up for it), rebuilding (beside the table in use) or paused. `parked` counts the SKUs
    that have parked events.
    """

    kind: str
    name: str
    position: int
    behind: int
    lag_s: float
    rate: float
    state: str
    parked: int
    erreur: str | None

    @property
    def trouble(self) -> str | None:
        """Why the reader does not work, in one word; None if it works or is paused."""
        if self.state not in {"failing", "silent"}:
            return None
        return "silent" if self.state == "silent" else (self.erreur or "").partition(":")[0]


def progress(source: ReadSource) -> list[Progress]:
    """The state of every projection and subscription. Raises StorageUnavailable."""
    parameters = {"failures": FAILING_AFTER}
    return [Progress(**row) for row in source.fetch(_PROGRESS, parameters)]


@dataclass(frozen=True)
class UnknownEvents:
    """How many of the newest events have a type and version that this program can't read and skips."""

    type: str
    version: int
    events: int


def unknown_events(source: ReadSource) -> list[UnknownEvents]:
    """The events of a newer program among the newest events. Raises StorageUnavailable."""
    known = as_json([{"type": type_name, "version": version} for type_name, version in readable_versions()])
    return [UnknownEvents(**row) for row in source.fetch(_UNKNOWN, {"known": known, "among": UNKNOWN_AMONG})]
