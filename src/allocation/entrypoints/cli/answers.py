"""What the shell is told when a command can't do what it was asked for: one sentence, and an exit status."""

import logging
import os

from allocation.entrypoints.cli.console import fail
from allocation.entrypoints.cli.exit_status import FAILED, MISUSED

PREFIX = "ALLOCATION_"


def answer(error: Exception) -> int:
    """Say what went wrong; the exit status."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        for each in error.errors():
            fail(f"{PREFIX}{str(each['loc'][0]).upper()}: {each['msg'].removeprefix('Value error, ')}")
        return MISUSED
    if isinstance(error, _misuses()):
        fail(str(error))
        return MISUSED
    if isinstance(error, _failures()):
        fail(_sentence(error))
        return FAILED
    _tell_defect(error)
    return FAILED


def warn_of_unknown_variables() -> None:
    """Say which variables look like settings and are none: a misspelt one would have no effect."""
    given = {name for name in os.environ if name.upper().startswith(PREFIX)}
    if not given:
        return
    from difflib import get_close_matches

    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.cli.console import warn

    known = [name.upper() for name in Settings.model_fields]
    for name in sorted(given):
        field = name.upper().removeprefix(PREFIX)
        if field not in known:
            nearest = get_close_matches(field, known, n=1)
            warn(f"{name} is no setting{f'; {PREFIX}{nearest[0]} is one' if nearest else ''}")


def _misuses() -> tuple[type[Exception], ...]:
    """What the user can mend in the command."""
    from allocation.entrypoints.csv_files.errors import ImportRefused
    from allocation.projections.parked import UnknownReader
    from allocation.projections.rebuild import RebuildRefused

    return ImportRefused, RebuildRefused, UnknownReader


def _failures() -> tuple[type[Exception], ...]:
    """What the world around is to blame for."""
    from psycopg import Error
    from sqlalchemy.exc import SQLAlchemyError

    from allocation.adapters.journal.archive import ArchiveTrouble
    from allocation.adapters.postgresql.database import StorageUnavailable, VersionConflict
    from allocation.adapters.postgresql.schema import SchemaTrouble
    from allocation.adapters.postgresql.sessions import UnsuitableServer
    from allocation.domain.errors import ErreurAllocation
    from allocation.entrypoints.csv_files.errors import FileUnreadable
    from allocation.service_layer.group_commit import GaveUp, QueueFull

    busy = (StorageUnavailable, VersionConflict, QueueFull, GaveUp)
    refused = (UnsuitableServer, SchemaTrouble, ArchiveTrouble, FileUnreadable, ErreurAllocation)
    return (*busy, *refused, Error, SQLAlchemyError, OSError)


def _sentence(error: Exception) -> str:
    """What an error says, on one line: drivers add the statement and its values below."""
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines()
    return " ".join(line.strip() for line in lines) or type(original).__name__


def _tell_defect(error: Exception) -> None:
    if os.environ.get(f"{PREFIX}LOG_LEVEL", "").upper() == "DEBUG":
        logging.getLogger(__name__).error("a defect of allocation", exc_info=error)
    fail(
        f"a defect of allocation: {type(error).__name__}: {_sentence(error)}. "
        f"With {PREFIX}LOG_LEVEL=DEBUG, it is shown where."
    )
