"""What trouble with the database means: it is away, others were first, or it refuses what is written."""

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

import psycopg
from sqlalchemy import ExceptionContext

from allocation.domain.errors import ErreurAllocation

# Another writer was first: serialization_failure, deadlock_detected.
_CONFLICTS = frozenset({"40001", "40P01"})
# Where rows are only ever added after a look that they are not there, unique_violation means the same; a
# changed version becomes not_null_violation.
_WRITE_CONFLICTS = _CONFLICTS | {"23505", "23502"}
# Neither broken nor wrong, but not as it should be: no connection (08), a server that only reads (25006), a
# session or transaction ended for its length (25P03, 25P04), a role or database that may not be used (28, 3D,
# 42501), no resources (53), a prerequisite that is missing (55), an intervention (57), a damaged system (58),
# settings that can't be read (F0).
_AWAY = frozenset({"08", "25006", "25P03", "25P04", "28", "3D", "42501", "53", "55", "57", "58", "F0"})
_LOCKED = "55P03"
# What the values of a statement are refused for: data exceptions, constraints, limits of the program.
_VALUES = frozenset({"22", "23", "54"})


class StorageUnavailable(Exception):
    """The database is away, or too busy to answer in time: nothing was changed."""


class OutcomeUnknown(StorageUnavailable):
    """The connection was lost during a commit, and it can't be found out in time whether it has happened."""


class Locked(StorageUnavailable):
    """Somebody holds a lock, and did not release it in time: nothing was changed."""


class VersionConflict(Exception):
    """Another writer changed the same product first: nothing was changed, and trying again may succeed."""


class ValueRefused(ErreurAllocation):
    """The database does not take what a command would write: nothing was changed. → 422"""


def translate(context: ExceptionContext) -> Exception | None:
    """For SQLAlchemy: let conflicts and outages surface as what they mean, wherever they happen."""
    return _meaning(context.original_exception, _of_conflicts)


@contextmanager
def read_errors_translated() -> Iterator[None]:
    """Let what the driver raises surface as StorageUnavailable, where it means that."""
    with _translated(lambda _error: None):
        yield


@contextmanager
def write_errors_translated() -> Iterator[None]:
    """Let what the driver raises surface as VersionConflict, ValueRefused, Locked or StorageUnavailable."""
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
    """What an error of the driver means to the program; None for what only a programmer can mend."""
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
        # It is not PostgreSQL that says so: there is no connection, or there is none any more.
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return _is_one_of(_AWAY, error.sqlstate)


def _is_one_of(states: Set[str], state: str | None) -> bool:
    """Whether the state, or the class that it begins with, is among these."""
    return state is not None and (state in states or state[:2] in states)
