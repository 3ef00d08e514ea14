"""Rebuilding a read model beside the one that serves, and going back to the one that was replaced.

Where a rebuild stands is a row: whoever locks it does the next step, so several processes may share the work,
and what a killed one has done is kept. Until it takes over, the serving table is not touched.
"""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection, func, select, text

from allocation.adapters import shadow_tables
from allocation.adapters.checkpoints import Checkpoint, Checkpoints, projections
from allocation.adapters.database import Database
from allocation.adapters.journal import SqlAlchemyJournal
from allocation.adapters.journal_archive import JournalArchive
from allocation.adapters.rebuilds import Rebuilds, RebuildState, Segments, Source
from allocation.adapters.shadow_tables import BUILDING, PREVIOUS
from allocation.projections.delivery import Projection
from allocation.projections.follower import MAX_TRIES, PASSING_TROUBLE, ProjectionFollower
from allocation.projections.rebuild_steps import ISOLATION, Steps
from allocation.projections.standby_tables import StandbyTable

logger = logging.getLogger(__name__)

# A step that fills from the write model takes as many SKUs as fit into about this time.
STEP_S = 0.5
FIRST_SKUS = 64
MAX_SKUS = 65_536
# After what can't be done at once: somebody else has the rebuild, or readers have the serving table.
RETRY_S = 0.2
# As long as events are parked, it can't go on.
BLOCKED_RETRY_S = 2.0
# So many failures of the database, one after the other, are no longer passing.
MAX_TROUBLES = 50


class RebuildRefused(Exception):
    """What is asked for can't be done; nothing has changed."""


def request(
    database: Database, projection: Projection, *, source: Source | None = None, throttle: int | None = None
) -> RebuildState:
    """Begin a rebuild, or let the one under way go on; its state.

    From the write model, unless the projection has no `truth`; at most `throttle` rows or events a second.
    Raises RebuildRefused when it should be filled with a truth that it does not have.
    """
    if source == "model" and projection.truth is None:
        raise RebuildRefused(f"{projection.name} has no truth in the write model: only the journal has it")
    with database.working() as connection, connection.begin():
        rebuilds = Rebuilds(connection)
        rebuilds.hold_requests()
        state = rebuilds.look_at(projection.name)
        if state is None or not _continues(state, projection, source):
            _begin(connection, projection, source or ("model" if projection.truth else "journal"))
        rebuilds.change(projection.name, débit_max=throttle)
        return rebuilds.get(projection.name)


def find(database: Database, name: str) -> RebuildState | None:
    """The last rebuild of this projection, if there was one."""
    with database.working() as connection:
        return Rebuilds(connection).look_at(name)


def get(database: Database, name: str) -> RebuildState:
    """The last rebuild of this projection. Raises LookupError when there was none."""
    with database.working() as connection:
        return Rebuilds(connection).get(name)


def _continues(state: RebuildState, projection: Projection, source: Source | None) -> bool:
    same = state.version == projection.version and source in {None, state.source}
    return same and state.under_way


def _begin(connection: Connection, projection: Projection, source: Source) -> None:
    from_model = source == "model"
    shadow_tables.create(connection, projection.table, with_keys=not from_model)
    Checkpoints(connection, projections).change(
        projection.name, version_précédente=None, position_précédente=None
    )
    if from_model:
        total = connection.scalar(select(func.count()).select_from(text(projection.name)))
    else:
        total = SqlAlchemyJournal(connection).last_position()
    Rebuilds(connection).start(
        projection.name, version=projection.version, source=source, phase="filling", position=0, total=total
    )


class Rebuilder:
    """Carries on with the rebuilds of one projection."""

    def __init__(self, database: Database, follower: ProjectionFollower) -> None:
        self.name = follower.name
        self._database = database
        self._follower = follower
        self._archive, self._snapshot = JournalArchive(), JournalArchive(from_snapshot=True)
        self._skus = FIRST_SKUS
        self._failures = 0

    def begin_if_changed(self) -> None:
        """Ask for a rebuild if this program's version of the projection is newer than what serves."""
        projection = self._follower.projection
        with self._database.working() as connection:
            served = Checkpoints(connection, projections).look_at(self.name)
            known = Rebuilds(connection).look_at(self.name)
        if served is None or served.version >= projection.version:
            return
        if known is None or known.version < projection.version:
            logger.info("%s: version %s replaces %s", self.name, projection.version, served.version)
            request(self._database, projection)

    def advance(self) -> float | None:
        """Do the next step, if there is one; after how many seconds to come back, None if all is done.

        Raises PASSING_TROUBLE. What else goes wrong is noted, and tried again.
        """
        known = find(self._database, self.name)
        if known is None or not known.under_way or known.version != self._follower.projection.version:
            return None
        if known.repos_s:
            return known.repos_s
        began = time.monotonic()
        try:
            after = self._step(known)
        except PASSING_TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001 - it is noted beside the rebuild
            return self._give_up_or_try_again(error)
        self._failures = 0
        if after is None:
            return RETRY_S
        if known.phase == "filling":
            self._adapt(time.monotonic() - began)
        return BLOCKED_RETRY_S if after.erreur and after.under_way else after.repos_s

    def _step(self, known: RebuildState) -> RebuildState | None:
        """The state after the next step; None if somebody else does it."""
        with self._database.following() as connection:
            connection.execution_options(isolation_level=ISOLATION[known.phase])
            with connection.begin():
                rebuilds = Rebuilds(connection)
                held = rebuilds.take(self.name, wait=False)
                if held is None or (held.phase, held.version) != (known.phase, known.version):
                    return None
                archive = self._snapshot if held.source == "snapshot" else self._archive
                steps = Steps(connection, self._follower, archive, failures=self._failures)
                changes = steps.take(held, self._skus)
                rebuilds.change(self.name, **changes)
                if held.débit_max is not None:
                    rebuilds.rest(self.name, (changes.get("fait", held.fait) - held.fait) / held.débit_max)
                return rebuilds.get(self.name)

    def _give_up_or_try_again(self, error: Exception) -> float:
        """Handlers park what they fail on at the third try: what fails then is something else."""
        logger.error("a step of the rebuild of %s failed", self.name, exc_info=error)
        self._failures += 1
        failed = {"phase": "failed"} if self._failures > MAX_TRIES else {}
        with self._database.working() as connection, connection.begin():
            Rebuilds(connection).change(self.name, erreur=f"{type(error).__name__}: {error}", **failed)
        return RETRY_S

    def _adapt(self, seconds: float) -> None:
        if seconds < STEP_S / 2:
            self._skus = min(2 * self._skus, MAX_SKUS)
        elif seconds > STEP_S:
            self._skus = max(1, self._skus // 2)


def run(rebuilder: Rebuilder, on_progress: Callable[[], None]) -> None:
    """Carry on until the rebuild has ended, whoever does the steps; `on_progress` is told of each.

    Raises StorageUnavailable when the database is away for long.
    """
    troubles = 0
    while True:
        try:
            pause = rebuilder.advance()
            troubles = 0
        except PASSING_TROUBLE:
            troubles += 1
            if troubles > MAX_TROUBLES:
                raise
            pause = RETRY_S
        on_progress()
        if pause is None:
            return
        time.sleep(pause)


def rebuild(database: Database, follower: ProjectionFollower) -> RebuildState:
    """Begin a rebuild or go on with one, and carry it to its end; how it stands then."""
    request(database, follower.projection)
    run(Rebuilder(database, follower), lambda: None)
    return get(database, follower.name)


def undo(database: Database, follower: ProjectionFollower) -> None:
    """Let the table that the last rebuild replaced serve again, as soon as it has caught up.

    Raises RebuildRefused when there is none that this program can keep.
    """
    archive = JournalArchive()
    while not _catch_up_previous(database, follower, archive):
        pass
    with database.working() as connection, connection.begin():
        table = StandbyTable(connection, follower, PREVIOUS, archive)
        served = table.hold_serving()
        position = _position_of_previous(connection, follower, served)
        table.serve(table.apply_all(position, Segments([]), until=served.position), served)


def _catch_up_previous(database: Database, follower: ProjectionFollower, archive: JournalArchive) -> bool:
    """Let the replaced table have the next batch of events; whether it is nearly up to date."""
    with database.working() as connection, connection.begin():
        checkpoints = Checkpoints(connection, projections)
        position = _position_of_previous(connection, follower, checkpoints.look_at(follower.name))
        table = StandbyTable(connection, follower, PREVIOUS, archive)
        end = table.apply_batch(position, Segments([]))
        if end is not None:
            checkpoints.change(follower.name, position_précédente=end)
        return table.is_nearly_up_to_date(position if end is None else end)


def _position_of_previous(
    connection: Connection, follower: ProjectionFollower, served: Checkpoint | None
) -> int:
    """Where the table that was replaced stands. Raises RebuildRefused."""
    name = follower.name
    if shadow_tables.exists(connection, name, BUILDING):
        raise RebuildRefused(f"a rebuild of {name} is under way, or has failed")
    if served is None or served.position_précédente is None:
        raise RebuildRefused(f"{name} has not been rebuilt: there is no earlier table")
    if served.version_précédente != follower.projection.version:
        raise RebuildRefused(
            f"the earlier table of {name} has version {served.version_précédente}, "
            f"and this program keeps version {follower.projection.version}"
        )
    return served.position_précédente
