"""Whether a failure is due to an event and its handler, or to something outside that may recover."""

from allocation.adapters.journal.serialization import UnknownEvent
from allocation.adapters.postgresql.database import StorageUnavailable, VersionConflict

# Trouble outside the program (with the database or the mail server, or events that only a newer program can
# read): retried without end.
PASSING_TROUBLE = (StorageUnavailable, VersionConflict, UnknownEvent, OSError)

# A schema, a table or a column is missing, whatever the event.
_LACKING = frozenset({"3F000", "42P01", "42703"})


def is_passing(error: BaseException) -> bool:
    """Whether no event is to blame for the failure: any would fail, until something else is repaired."""
    cause = getattr(error, "orig", error)
    lacking = getattr(cause, "sqlstate", None) in _LACKING
    return lacking or isinstance(error, (*PASSING_TROUBLE, KeyboardInterrupt))
