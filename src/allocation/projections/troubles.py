"""What a failure is about: the event and its handler, or what both need and what comes back."""

from allocation.adapters.journal.serialization import UnknownEvent
from allocation.adapters.postgresql.database import StorageUnavailable, VersionConflict

# Trouble outside of the program (database, mail server, a newer program has written what only it can read):
# worth trying again, without end.
PASSING_TROUBLE = (StorageUnavailable, VersionConflict, UnknownEvent, OSError)

# A schema, a table or a column is not there, whichever event it is.
_LACKING = frozenset({"3F000", "42P01", "42703"})


def is_passing(error: BaseException) -> bool:
    """Whether no event is to be blamed: it fails with any, until something else is mended."""
    cause = getattr(error, "orig", error)
    lacking = getattr(cause, "sqlstate", None) in _LACKING
    return lacking or isinstance(error, (*PASSING_TROUBLE, KeyboardInterrupt))
