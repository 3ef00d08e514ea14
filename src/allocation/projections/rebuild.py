"""Rebuilding a read model beside the one in use.

The state of a rebuild is a row, and whoever locks it does the next step. So several processes can share the
work, and what a killed process has done is kept. The table in use is not touched until it is replaced.
"""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection, func, select, text

from allocation.adapters.journal.archive import JournalArchive
from allocation.adapters.journal.checkpoints import Checkpoints, projections
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.snapshots import has_snapshot
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.rights import RightMissing
from allocation.adapters.read_models import shadow_tables
from allocation.adapters.read_models.rebuilds import Rebuilds, RebuildSource, RebuildState
from allocation.adapters.read_models.shadow_tables import BUILDING, PREVIOUS
from allocation.domain.errors import AllocationError
from allocation.projections import standby_tables
from allocation.projections.delivery import Projection
from allocation.projections.follower import MAX_TRIES, ProjectionFollower
from allocation.projections.rebuild_steps import ISOLATION, TAKING_OVER, Steps, StepSize
from allocation.projections.troubles import is_passing

logger = logging.getLogger(__name__)


# The pause while somebody else holds the rebuild.
RETRY_S = 0.2
# The pause while the rebuild can't go on: events are parked, or queries hold the table in use.
BLOCKED_RETRY_S = 2.0
# This many database failures in a row count as lasting.
MAX_TROUBLES = 50


class RebuildRefused(AllocationError):
    """The request can't be carried out; nothing has changed."""


def request(
    database: Database,
    projection: Projection,
    *,
    source: RebuildSource | None = None,
    throttle: int | None = None,
) -> RebuildState:
    """Begin a rebuild, or resume the one under way; return its state.

    Unless another source is requested, it reads the write model or, if the projection has no `truth`, the
    journal; at most `throttle` rows or events a second. Raises RebuildRefused if the requested source does
    not exist.
    """
    if source == "model" and projection.truth is None:
        raise RebuildRefused(f"{projection.name} has no truth in the write model: only the journal has it")
    with database.working() as connection, connection.begin():
        if source == "snapshot" and not has_snapshot(connection):
            raise RebuildRefused(
                "there is no snapshot: it comes with an archive, and the journal is still whole"
            )
        rebuilds = Rebuilds(connection)
        rebuilds.hold_requests(projection.name)
        # Waits until a step under way is finished.
        state = rebuilds.take(projection.name, wait=True)
        if state is None or not _continues(state, projection, source):
            _begin(connection, projection, source or ("model" if projection.truth else "journal"))
        rebuilds.change(projection.name, débit_max=throttle)
        return rebuilds.get(projection.name)


def find(database: Database, name: str) -> RebuildState | None:
    """The last rebuild of this projection, if there was one."""
    with database.following() as connection:
        return Rebuilds(connection).look_at(name)


def get(database: Database, name: str) -> RebuildState:
    """The last rebuild of this projection. Raises LookupError when there was none."""
    with database.working() as connection:
        return Rebuilds(connection).get(name)


def _continues(state: RebuildState, projection: Projection, source: RebuildSource | None) -> bool:
    same = state.version == projection.version and source in {None, state.source}
    return same and state.under_way


def _begin(connection: Connection, projection: Projection, source: RebuildSource) -> None:
    from_model = source == "model"
    try:
        shadow_tables.make_schemas(connection)
    except RightMissing as missing:
        raise RebuildRefused(str(missing)) from missing
    for schema in (BUILDING, PREVIOUS):
        standby_tables.discard(connection, projection.name, schema)
    shadow_tables.create(connection, projection.table, with_keys=not from_model)
    Checkpoints(connection, projections).change(
        projection.name, version_précédente=None, position_précédente=None
    )
    if from_model:
        total = connection.scalar(select(func.count()).select_from(text(projection.name)))
    else:
        total = PostgreSQLJournal(connection).last_position()
    Rebuilds(connection).start(
        projection.name, version=projection.version, source=source, phase="filling", position=0, total=total
    )


class Rebuilder:
    """Carries out the rebuilds of one projection, step by step."""

    def __init__(self, database: Database, follower: ProjectionFollower) -> None:
        self.name = follower.name
        self._database = database
        self._follower = follower
        self._archive, self._snapshot = JournalArchive(), JournalArchive(from_snapshot=True)
        self._step_size = StepSize()
        self._failures = 0

    def begin_if_changed(self) -> None:
        """Request a rebuild if this program's version of the projection is newer than the table in use."""
        projection = self._follower.projection
        with self._database.following() as connection:
            served = Checkpoints(connection, projections).look_at(self.name)
            known = Rebuilds(connection).look_at(self.name)
        if served is None or served.version >= projection.version:
            return
        if known is None or known.version < projection.version:
            logger.info("%s: version %s replaces %s", self.name, projection.version, served.version)
            request(self._database, projection)

    def advance(self) -> float | None:
        """Do the next step, if there is one; return the seconds until the one after, or None if all is done.

        Failures are noted in the rebuild's row. Those that no event is to blame for are raised; after any
        other, the step is tried again.
        """
        known = find(self._database, self.name)
        if known is None or not known.under_way or known.version != self._follower.projection.version:
            return None
        if known.repos_s:
            return known.repos_s
        began = time.monotonic()
        try:
            after = self._step(known)
        except Exception as error:
            pause = self._note_failure(known, error)
            if pause is None:
                raise
            return pause
        self._failures = 0
        if after is None:
            return RETRY_S
        if known.phase == "filling":
            self._step_size.adapt(time.monotonic() - began)
        return after.repos_s

    def _step(self, known: RebuildState) -> RebuildState | None:
        """Do the next step; return the state after it, or None if somebody else holds the rebuild."""
        with self._database.working() as connection:
            connection.execution_options(isolation_level=ISOLATION[known.phase])
            with connection.begin():
                rebuilds = Rebuilds(connection)
                held = rebuilds.take(self.name, wait=False)
                if held is None or (held.phase, held.version) != (known.phase, known.version):
                    return None
                archive = self._snapshot if held.source == "snapshot" else self._archive
                steps = Steps(connection, self._follower, archive, failures=self._failures)
                changes = steps.take(held, self._step_size.skus)
                rebuilds.change(self.name, **changes)
                after = rebuilds.get(self.name)
                rebuilds.rest(self.name, _rest_after(after, after.fait - held.fait))
                if after.phase == "failed":
                    self._give_up(connection)
                return rebuilds.get(self.name)

    def _note_failure(self, known: RebuildState, error: Exception) -> float | None:
        """Note in the rebuild's row what holds it up; return the seconds to wait, or None if unknown.

        At the third try, the events that a handler fails on are parked, so a failure after that has another
        cause.
        """
        passing = is_passing(error)
        self._failures += not passing
        with self._database.working() as connection, connection.begin():
            rebuilds = Rebuilds(connection)
            held = rebuilds.take(self.name, wait=False)
            if held is None or held.demandé_le != known.demandé_le:
                return RETRY_S
            if (
                passing
                and held.phase == TAKING_OVER
                and (users := shadow_tables.users(connection, self.name))
            ):
                # Queries hold the table for a while; other rebuilds go on.
                rebuilds.change(self.name, erreur=f"waits until {self.name} is free: {'; '.join(users)}")
                rebuilds.rest(self.name, BLOCKED_RETRY_S)
                return BLOCKED_RETRY_S
            rebuilds.change(self.name, erreur=f"{type(error).__name__}: {error}")
            if self._failures > MAX_TRIES:
                self._give_up(connection)
        if passing:
            return None
        logger.error("a step of the rebuild of %s failed", self.name, exc_info=error)
        return RETRY_S

    def _give_up(self, connection: Connection) -> None:
        """Drop the table under construction; the reason has been noted."""
        Rebuilds(connection).fail(self.name)
        standby_tables.discard(connection, self.name, BUILDING)
        self._failures = 0


def _rest_after(state: RebuildState, done: int) -> float:
    """The seconds until the next step, after one that has processed `done` rows or events."""
    throttled = 0.0 if state.débit_max is None else done / state.débit_max
    return max(throttled, BLOCKED_RETRY_S) if state.erreur and state.under_way else throttled


def run(rebuilder: Rebuilder, on_progress: Callable[[], None]) -> None:
    """Carry on until the rebuild has ended, whoever does its steps; call `on_progress` after each try.

    Raises lasting failures that no event is to blame for, such as StorageUnavailable.
    """
    troubles = 0
    while True:
        try:
            pause = rebuilder.advance()
            troubles = 0
        except Exception as error:
            troubles += 1
            if troubles > MAX_TROUBLES or not is_passing(error):
                raise
            pause = RETRY_S
        on_progress()
        if pause is None:
            return
        time.sleep(pause)


def rebuild(database: Database, follower: ProjectionFollower) -> RebuildState:
    """Begin or resume a rebuild, and carry it to its end; return its final state."""
    request(database, follower.projection)
    run(Rebuilder(database, follower), lambda: None)
    return get(database, follower.name)
