"""`allocation migrate`: the schema of the database."""

from typing import Annotated

import typer

from allocation.entrypoints.cli.console import out
from allocation.entrypoints.cli.exit_status import ATTENTION


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command(epilog="Example: allocation migrate --check || allocation migrate")(migrate)


def migrate(
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only say what would be done; the exit status is 3 if there is any."),
    ] = False,
) -> None:
    """Bring the database's schema up to date. Only `serve` and `worker` do so by themselves."""
    from allocation.adapters.configuration import Settings
    from allocation.adapters.postgresql import schema
    from allocation.entrypoints.database import connected, prepare

    settings = Settings()
    with connected(settings) as database:
        pending = schema.pending(database)
        if not check:
            prepare(database, settings)
    for each in pending:
        out.print(f"{each.revision}: {each.purpose}", markup=False, soft_wrap=True)
    if check and pending:
        raise typer.Exit(ATTENTION)
    out.print("The schema is up to date.")
