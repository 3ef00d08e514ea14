"""Looking after the service: the journal, its readers, the settings."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from allocation.entrypoints.cli.console import out, print_json, print_table

if TYPE_CHECKING:
    from allocation.adapters.database import Database

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]

JOURNAL_BATCH = 1000


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command(epilog="Example: allocation journal --follow --json | jq .data")(journal)
    app.command(epilog="Example: allocation projections --json")(projections)
    app.command(epilog="Example: allocation config")(config)


def journal(
    after: Annotated[int, typer.Option(help="Begin behind this position.", min=0)] = 0,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the events of the journal, in order."""
    from allocation.adapters.configuration import Settings
    from allocation.adapters.journal_listener import JournalListener, Waker
    from allocation.entrypoints.cli.database import open_database

    settings = Settings()
    waker = Waker()
    with (
        open_database(settings) as database,
        JournalListener(database.url, waker) if follow else nullcontext(),
    ):
        while True:
            seen = waker.calls
            reached = _print_batch(database, after, as_json=as_json)
            if reached == after and not follow:
                return
            if reached == after:
                waker.wait(seen, settings.poll_interval)
            after = reached


def projections(*, as_json: AsJson = False) -> None:
    """Show how far projections and subscriptions are, and how late."""
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.cli.database import open_database
    from allocation.views.progress import progress

    with open_database(Settings()) as database:
        readers = [asdict(reader) for reader in progress(database)]
    if as_json:
        for reader in readers:
            print_json(reader)
    else:
        print_table("Readers of the journal", readers)


def config(*, as_json: AsJson = False) -> None:
    """Show the settings in effect, passwords masked, and the variables that change them."""
    from allocation.adapters.configuration import Settings

    settings = Settings()
    shown = settings.shown()
    if as_json:
        print_json(shown)
        return
    fields = type(settings).model_fields
    rows = [
        {"variable": f"ALLOCATION_{name.upper()}", "value": value, "meaning": fields[name].description}
        for name, value in shown.items()
    ]
    print_table("Settings", rows)


def _print_batch(database: "Database", after: int, *, as_json: bool) -> int:
    """Print the next events; the position reached."""
    from allocation.adapters.journal import SqlAlchemyJournal

    with database.reading() as connection:
        batch = SqlAlchemyJournal(connection).read(after, JOURNAL_BATCH)
    for recorded in batch:
        event, kind = recorded.event, type(recorded.event).__name__
        if as_json:
            facts = {
                "id": str(recorded.id),
                "survenu_le": recorded.survenu_le.isoformat(),
                "data": vars(event),
            }
            print_json({"position": recorded.position, "type": kind, "version": event.version, **facts})
        else:
            out.print(
                f"{recorded.position:>8} {recorded.survenu_le:%F %T} {event}", markup=False, soft_wrap=True
            )
    return batch[-1].position if batch else after
