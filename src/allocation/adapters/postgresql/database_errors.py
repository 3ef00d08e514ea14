"""What errors of the database mean: it is away, another writer was first, or it refuses a value."""

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

import psycopg
from sqlalchemy import ExceptionContext

from allocation.domain.errors import AllocationError, Refus

# Another writer was first: serialization_failure, deadlock_detected.
_CONFLICTS = frozenset({"40001", "40P01"})
# Writers insert a row only after checking that it is absent, so unique_violation means a conflict, too; a
# changed version surfaces as not_null_violation.
_WRITE_CONFLICTS = _CONFLICTS | {"23505", "23502"}
# The database can't be used at the moment: no connection (08), a read-only server (25006), a session or
# transaction ended for taking too long (25P03, 25P04), no access for the role or to the database (28, 3D,
# 42501), no resources (53), a missing prerequisite (55), operator intervention (57), a system error (58),
# a configuration file error (F0).
_AWAY = frozenset({"08", "25006", "25P03", "25P04", "28", "3D", "42501", "53", "55", "57", "58", "F0"})
_LOCKED = "55P03"
# The values of a statement are refused: data exceptions, constraint violations, program limits.
_VALUES = frozenset({"22", "23", "54"})


class StorageUnavailable(AllocationError):
    """The database is away, or too busy to answer in time: nothing was changed."""


class OutcomeUnknown(StorageUnavailable):
    """The connection was lost during a commit, and whether it succeeded could not be found out in time."""


class Locked(StorageUnavailable):
    """Somebody held a lock for too long: nothing was changed."""


class VersionConflict(AllocationError):
    """Another writer changed the same product first: nothing was changed; a retry may succeed."""


class ValueRefused(Refus):
    """The database refuses a value that a command would write: nothing was changed. → 422"""


def translate(context: ExceptionContext) -> Exception | None:
    """An event listener for SQLAlchemy that raises conflicts and outages as what they mean."""
    return _meaning(context.original_exception, _of_conflicts)


@contextmanager
def read_errors_translated() -> Iterator[None]:
    """Turn the driver's errors into StorageUnavailable where they mean that."""
    with _translated(lambda _error: None):
        yield


@contextmanager
def conflicts_translated() -> Iterator[None]:
    """Turn the driver's errors into VersionConflict or StorageUnavailable where they mean that."""
    with _translated(_of_conflicts):
        yield


@contextmanager
def write_errors_translated() -> Iterator[None]:
    """Turn the driver's errors into VersionConflict, ValueRefused, Locked or StorageUnavailable."""
    with _translated(_of_writing):
        yield


@contextmanager
def _translated(particular: Callable[[psycopg.Error], Exception | None]) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        meaning = _meaning(error, particular)
        if meaning is None:
            raise
        raise meaning from error


def _meaning(
    error: BaseException, particular: Callable[[psycopg.Error], Exception | None]
) -> Exception | None:
    """What an error of the driver means to the program; None for a programming error."""
    if not isinstance(error, psycopg.Error):
        return None
    return particular(error) or (StorageUnavailable(str(error)) if _is_away(error) else None)


def _of_conflicts(error: psycopg.Error) -> Exception | None:
    return VersionConflict(str(error)) if error.sqlstate in _CONFLICTS else None


def _of_writing(error: psycopg.Error) -> Exception | None:
    if error.sqlstate in _WRITE_CONFLICTS:
        return VersionConflict(str(error))
    if error.sqlstate == _LOCKED:
        return Locked(str(error))
    return ValueRefused(str(error)) if _is_one_of(_VALUES, error.sqlstate) else None


def _is_away(error: psycopg.Error) -> bool:
    if error.sqlstate is None:
        # Without a state, the error is not from PostgreSQL: there is no connection, or it was lost.
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return _is_one_of(_AWAY, error.sqlstate)


def _is_one_of(states: Set[str], state: str | None) -> bool:
    """Whether the state, or its class (the first two characters), is among these."""
    return state is not None and (state in states or state[:2] in states)
