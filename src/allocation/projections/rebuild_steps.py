"""The steps of a rebuild. Each happens in one transaction, and returns what to note about the rebuild.

filling ─▶ indexing ─▶ catching up ─▶ comparing ─▶ taking over ─▶ done
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, text

from allocation.adapters.journal.archive import JournalArchive
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.read_models import shadow_tables
from allocation.adapters.read_models.rebuilds import Rebuilds, RebuildState, Segments
from allocation.adapters.read_models.shadow_tables import BUILDING
from allocation.projections.comparison import fill, first_difference
from allocation.projections.follower import ProjectionFollower
from allocation.projections.standby_tables import StandbyTable

Changes: TypeAlias = Mapping[str, Any]
Isolation: TypeAlias = Literal["READ COMMITTED", "REPEATABLE READ"]

TAKING_OVER = "taking over"

# Rows copied from the write model match one position of the journal, so both must be read at one snapshot.
# The step that replaces the table in use must instead see what was committed while it waited for the lock.
ISOLATION: Mapping[str, Isolation] = {
    "filling": "REPEATABLE READ",
    "indexing": "READ COMMITTED",
    "catching up": "READ COMMITTED",
    "comparing": "REPEATABLE READ",
    TAKING_OVER: "READ COMMITTED",
}

# A step that fills the table from the write model takes as many SKUs as fit into about this time.
STEP_S = 0.5
FIRST_SKUS = 64
MAX_SKUS = 65_536

_NEXT_SKUS = """
    SELECT max(sku) FROM (SELECT sku FROM produits WHERE sku > :after ORDER BY sku LIMIT :limit) AS next
"""


class StepSize:
    """How many SKUs the next step takes from the write model; each step shows how many fit into STEP_S."""

    def __init__(self) -> None:
        self.skus = FIRST_SKUS

    def adapt(self, seconds: float) -> None:
        """Take more or fewer SKUs next time, after a step that lasted `seconds`."""
        if seconds < STEP_S / 2:
            self.skus = min(2 * self.skus, MAX_SKUS)
        elif seconds > STEP_S:
            self.skus = max(1, self.skus // 2)


class Steps:
    """The steps, in one transaction; `failures` says how often a handler has failed on the next events."""

    def __init__(
        self,
        connection: Connection,
        follower: ProjectionFollower,
        archive: JournalArchive,
        *,
        failures: int,
    ) -> None:
        self._connection = connection
        self._projection = follower.projection
        self._building = shadow_tables.qualified(connection, follower.name, BUILDING)
        self._table = StandbyTable(connection, follower, BUILDING, archive, failures=failures)
        self._rebuilds = Rebuilds(connection)

    def take(self, state: RebuildState, skus: int) -> Changes:
        """Do the next step, with at most `skus` SKUs of the write model; return what to note."""
        match state.phase:
            case "filling" if state.source == "model":
                return self._fill_from_model(state, skus)
            case "filling":
                return self._fill_from_journal(state)
            case "indexing":
                return self._index(state)
            case "catching up":
                return self._catch_up(state)
            case "comparing":
                return self._compare(state)
            case _:
                return self._take_over(state)

    def _fill_from_model(self, state: RebuildState, skus: int) -> Changes:
        after = state.jusqu_au_sku or ""
        until = self._connection.scalar(text(_NEXT_SKUS), {"after": after, "limit": skus})
        if until is None:
            return {"phase": "indexing", "position": self._rebuilds.segments(state.name).first_position}
        filled = fill(self._connection, self._projection, self._building, after, until)
        self._rebuilds.add_segment(state.name, until, PostgreSQLJournal(self._connection).last_position())
        return {"jusqu_au_sku": until, "fait": state.fait + filled}

    def _fill_from_journal(self, state: RebuildState) -> Changes:
        end, at_end = self._apply_batch(state)
        phase = "indexing" if at_end else state.phase
        return {"phase": phase, "position": end, "fait": state.fait + end - state.position}

    def _index(self, state: RebuildState) -> Changes:
        from_model = state.source == "model"
        shadow_tables.complete(self._connection, self._projection.table, with_keys=from_model)
        return {"phase": "catching up"}

    def _catch_up(self, state: RebuildState) -> Changes:
        end, at_end = self._apply_batch(state)
        return {"phase": "comparing" if at_end else state.phase, "position": end}

    def _compare(self, state: RebuildState) -> Changes:
        position = self._table.apply_all(state.position, self._segments(state))
        if obstacle := self._table.obstacle():
            return {"position": position, "erreur": obstacle}
        difference = first_difference(self._connection, self._projection, self._building)
        if difference is not None:
            return {
                "position": position,
                "phase": "failed",
                "erreur": f"unlike the write model: {difference}",
            }
        return {"position": position, "phase": TAKING_OVER}

    def _take_over(self, state: RebuildState) -> Changes:
        segments = self._segments(state)
        # Done before the lock, so that the projector waits only for what is left.
        position = self._table.apply_all(state.position, segments, until=state.position + 1)
        served = self._table.hold_serving()
        position = self._table.apply_all(position, segments, until=served.position)
        if self._table.obstacle():
            return {"position": position, "phase": "comparing"}
        self._table.serve(position, served)
        return {"position": position, "phase": "done", "total": state.fait}

    def _apply_batch(self, state: RebuildState) -> tuple[int, bool]:
        """Apply one batch; return the position reached, and whether that is nearly the end of the journal."""
        end = self._table.apply_batch(state.position, self._segments(state))
        reached = state.position if end is None else end
        return reached, self._table.is_nearly_up_to_date(reached)

    def _segments(self, state: RebuildState) -> Segments:
        return self._rebuilds.segments(state.name)
