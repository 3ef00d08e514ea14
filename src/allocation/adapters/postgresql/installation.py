"""Locks and channels of installations that share a database, each with a schema of its own.

The installation in `public` has the plain names; for any other, the name of its schema is added.
"""

# The schema's name as a number, to be combined with the numbers of locks.
_NUMBER = "CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema(), 0) END"
_SUFFIX = "CASE current_schema() WHEN 'public' THEN '' ELSE '.' || current_schema() END"


def advisory_lock(number: int | str, *, shared: bool = False) -> str:
    """SQL that takes an advisory lock of this installation, `shared` or not, until the transaction ends.

    `number` (or SQL for one) may be any that nobody else uses in the same database.
    """
    return f"pg_advisory_xact_lock{'_shared' if shared else ''}({number} # {_NUMBER})"


def channel(name: str) -> str:
    """SQL for the name of this installation's NOTIFY channel; `name` is SQL, too."""
    return f"({name} || {_SUFFIX})"
