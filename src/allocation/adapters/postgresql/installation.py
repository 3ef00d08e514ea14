"""What keeps installations apart that share a database, each with a schema of its own.

The one in `public` has the plain names; the others' are made of those and the name of their schema.
"""

# The schema's name as a number, to be combined with those of locks.
_NUMBER = "CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema(), 0) END"
_SUFFIX = "CASE current_schema() WHEN 'public' THEN '' ELSE '.' || current_schema() END"


def advisory_lock(number: int | str, *, shared: bool = False) -> str:
    """SQL that takes an advisory lock of this installation until the transaction ends, perhaps with others.

    Any `number` (or SQL that gives one) will do, as long as nobody else has it in the same database.
    """
    return f"pg_advisory_xact_lock{'_shared' if shared else ''}({number} # {_NUMBER})"


def channel(name: str) -> str:
    """SQL that gives what this installation's channel for NOTIFY is called; `name` is SQL, too."""
    return f"({name} || {_SUFFIX})"
