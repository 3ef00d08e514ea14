"""What a failure is about: the event and its handler, or what both need and what comes back."""

from allocation.adapters.database import StorageUnavailable, VersionConflict
from allocation.adapters.serialization import UnknownEvent

# Trouble outside of the program (database, mail server, a newer program has written what only it can read):
# worth trying again, without end.
PASSING_TROUBLE = (StorageUnavailable, VersionConflict, UnknownEvent, OSError)

# The database can't be written to, or lacks what the handler needs, whichever event it is: transaction states
# (a standby), authorization, and, of class 42, privileges, tables and columns.
_CLASSES = frozenset({"25", "28", "3D", "3F", "53", "57", "58"})
_STATES = frozenset({"42501", "42P01", "42703"})


def is_passing(error: BaseException) -> bool:
    """Whether no event is to be blamed: it fails with any, until something else is mended."""
    return isinstance(error, (*PASSING_TROUBLE, KeyboardInterrupt)) or _is_the_database_s(error)


def _is_the_database_s(error: BaseException) -> bool:
    state = str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")
    return state[:2] in _CLASSES or state in _STATES
