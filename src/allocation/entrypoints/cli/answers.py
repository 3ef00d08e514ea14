"""What a failing command tells the shell: one sentence and an exit status."""

import logging
import os

from allocation.entrypoints.cli.console import fail
from allocation.entrypoints.cli.exit_status import FAILED, MISUSED

PREFIX = "ALLOCATION_"


def answer(error: Exception) -> int:
    """Print what went wrong; return the exit status."""
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
    """Warn of variables that look like settings but are none: a misspelt one would have no effect."""
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
            warn(f"{name} is not a setting{f'; {PREFIX}{nearest[0]} is' if nearest else ''}")


def _misuses() -> tuple[type[Exception], ...]:
    """Errors that the user can correct in the command."""
    from allocation.entrypoints.csv_files.errors import ImportRefused
    from allocation.projections.parked import UnknownReader
    from allocation.projections.rebuild import RebuildRefused

    return ImportRefused, RebuildRefused, UnknownReader


def _failures() -> tuple[type[Exception], ...]:
    """Errors that are no defect of the program: its own, and those whose cause lies outside of it."""
    from psycopg import Error
    from sqlalchemy.exc import SQLAlchemyError

    from allocation.domain.errors import AllocationError

    return AllocationError, Error, SQLAlchemyError, OSError


def _sentence(error: Exception) -> str:
    """The error's message on one line, without the statement and values that SQLAlchemy adds."""
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines()
    return " ".join(line.strip() for line in lines) or type(original).__name__


def _tell_defect(error: Exception) -> None:
    if os.environ.get(f"{PREFIX}LOG_LEVEL", "").upper() == "DEBUG":
        logging.getLogger(__name__).error("a defect of allocation", exc_info=error)
    fail(
        f"a defect of allocation: {type(error).__name__}: {_sentence(error)}. "
        f"Set {PREFIX}LOG_LEVEL=DEBUG to see where."
    )
